"""How good the clerk is: invented people tell it facts and ask, now and in a new process.

Not a test: `python tests/benchmarks/bench_clerk.py [--people N] [--seed S] [--verbose]` prints what was saved, quoted,
said to be unknown and greeted, and the CPU seconds a turn. `... fit` prints the weights for `memos/llm/labeller.py`,
fitted on the labelled examples alone, never on the people in here. None of these phrasings stands in a prompt.
`... changes` corrects and deletes: facts and phrasings nothing was fitted on.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_cache_path

from memos.llm.decomposed import KIND_SLOT, NAME_SLOT, NOTHING, SLOTS, Decomposed
from memos.llm.embedded import LARGER_BYTES
from memos.llm.engine import Engine, default_threads
from memos.llm.labeller import KIND, OWN_NAME, Labeller, LabelSet, Similarity, examples, prompt_text
from memos.llm.weights import builtin_weights
from memos.memory.index import builtin_similarity
from memos.messages import Block, Counters, EventKind, FunctionCall, FunctionSchema, Message, Prompt

HERE = Path(__file__).parent
NAME_QUESTIONS = (
    "What is my name?", "Who am I?", "Do you know what I'm called?", "Do you remember my name?",
    "what's my name again?", "Tell me my name.",
)  # fmt: skip
TALK = (
    "Hello!", "Good evening.", "hi there", "How are you?", "Thanks, that's kind.", "Morning!", "Nice to meet you.",
    "What a day.", "Goodbye, see you tomorrow.", "Who are you?", "What can you do?", "Tell me a joke.",
    "How was your night?", "ok", "great, thank you", "Are you a human?", "I'm back.", "lol", "Good to see you again.",
    "Hey, you awake?", "Buenos días", "Cheers!", "see you later", "Have a good one!",
)  # fmt: skip


def _schema(name: str, *parameters: str) -> FunctionSchema:
    properties = {parameter: {"type": "string"} for parameter in (*parameters, "request_heartbeat")}
    return FunctionSchema(name, "", {"type": "object", "properties": properties})


FUNCTIONS = (
    FunctionSchema("send_message", "", {"type": "object", "properties": {"message": {"type": "string"}}}),
    _schema("core_memory_append", "name", "content"),
    _schema("core_memory_replace", "name", "old_content", "new_content"),
    _schema("archival_memory_insert", "content"),
    _schema("conversation_search", "query"),
    _schema("conversation_search_date", "start_date", "end_date", "page"),
    _schema("archival_memory_search", "query"),
)


@dataclass
class World:
    """One agent's memory, just enough of it: a block of 2,000 characters, an archive, and what the user said."""

    clerk: Decomposed
    similarity: Similarity | None
    limit_chars: int = 2000
    human: str = ""
    archive: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def turn(self, text: str, kind: EventKind = EventKind.USER_MESSAGE) -> str:
        """Let the clerk answer one event and return what it said."""
        queue = [Message("user", text, "a", "t", kind=kind)]
        for _ in range(16):
            blocks = (Block("persona", "A clerk.", 2000), Block("human", self.human, self.limit_chars))
            counters = Counters(datetime(2026, 11, 23, 14, 5, tzinfo=UTC), len(self.said), len(self.archive))
            reply = self.clerk.reply(Prompt("", FUNCTIONS, blocks, tuple(queue), counters))
            call = reply.calls[0]
            self.calls[call.name] += 1
            if call.name == "send_message":
                self.said.append(text)
                return str(json.loads(call.arguments)["message"])
            ok, result = self._run(call)
            queue.append(Message("assistant", reply.monologue, "a", "t", calls=(call,)))
            queue.append(Message("tool", result, "a", "t", name=call.name, call_id=call.id, ok=ok))
        return "(no answer)"

    def _run(self, call: FunctionCall) -> tuple[bool, str]:
        arguments = json.loads(call.arguments)
        match call.name:
            case "core_memory_append":
                joined = f"{self.human}\n{arguments['content']}".strip()
                if len(joined) > self.limit_chars:
                    return False, "human would be too long"
                self.human = joined
            case "core_memory_replace":
                if self.human.count(arguments["old_content"]) != 1:
                    return False, "not found"
                self.human = self.human.replace(arguments["old_content"], arguments["new_content"]).strip()
            case "archival_memory_insert":
                self.archive.append(arguments["content"])
            case "conversation_search_date":
                return True, self._page("", self.said, "user: ")
            case "conversation_search":
                return True, self._page(arguments["query"], self.said, "user: ")
            case "archival_memory_search":
                return True, self._page(arguments["query"], self.archive, "")
        return True, "Done."

    def _page(self, query: str, texts: list[str], speaker: str) -> str:
        if not texts:
            return "No results."
        near = self.similarity(query, texts) if self.similarity else [0.0] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: -near[i])[:5]
        lines = [f"[2026-11-20 10:00] {speaker}{' '.join(texts[i].split())}" for i in order]
        return "\n".join([f"Showing 1-{len(lines)} of {len(texts)} results (page 0):", *lines])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("people", "changes", "fit"), default="people")
    parser.add_argument("--people", type=int, default=22)
    parser.add_argument("--facts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=user_cache_path("memos", appauthor=False))
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--no-embedder", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    path = options.gguf or builtin_weights(options.cache, lambda _: None)
    began = time.process_time()
    engine = Engine(path, threads=default_threads(), window_tokens=2048, slots=SLOTS)
    similarity = None if options.no_embedder else builtin_similarity()
    clerk = Decomposed(engine, similarity, larger=path.stat().st_size > LARGER_BYTES)
    clerk.warm_up()
    print(f"start: {time.process_time() - began:.2f} cpu-s")
    if options.what == "fit":
        fit(engine, similarity, KIND, KIND_SLOT)
        fit(engine, similarity, OWN_NAME, NAME_SLOT)
    elif options.what == "changes":
        changes(options, lambda: World(clerk, similarity))
    else:
        people(options, lambda: World(clerk, similarity))


def changes(options: argparse.Namespace, new_world: Callable[[], World]) -> None:
    """Let every person tell eight facts, correct four, have two forgotten, and ask for all of these."""
    random.seed(options.seed)
    rows = [line.split("\t") for line in (HERE / "clerk_changes.tsv").read_text("utf-8").splitlines()]
    score: Counter[str] = Counter()

    def note(what: str, good: bool, *detail: str) -> None:
        score[what] += good
        score[f"{what} of"] += 1
        if options.verbose or not good:
            print(f"{'  ok ' if good else 'MISS '}{what}: " + " | ".join(detail).replace("\n", " / "))

    for _ in range(options.people):
        world = new_world()
        told = random.sample(rows, 8)
        for statement, _, _, _, value, _ in told:
            answer = world.turn(statement)
            note("saved", value in world.human, statement, answer)
        for statement, correction, *_ in told[:4]:
            answer = world.turn(correction)
            note("replaced", statement not in world.human and correction in world.human, correction, answer)
        others = [statement for statement, *_ in told[6:]]
        for statement, _, _, _, _, deletion in told[4:6]:
            answer = world.turn(deletion)
            note("forgotten", statement not in world.human, deletion, answer)
        note("others kept", all(statement in world.human for statement in others), world.human)
        asked = replace(world, said=list(world.said))
        for _, _, new, question, old, _ in told[:4]:
            answer = asked.turn(question)
            note("new value", new in answer, question, answer)
            note("new value alone or first", new in answer.split("Earlier:")[0] and old != new, question, answer)
        for statement, _, _, question, _, _ in told[4:6]:
            answer = asked.turn(question)
            note("not quoted when forgotten", statement not in answer, question, answer)
        for row in random.sample([row for row in rows if row not in told], 4):
            answer = asked.turn(row[3])
            note("unknown", answer == NOTHING, row[3], answer)
    for what in [what for what in score if not what.endswith(" of")]:
        print(f"{what:26} {score[what]}/{score[f'{what} of']}  {score[what] / score[f'{what} of']:.1%}")


def people(options: argparse.Namespace, new_world: Callable[[], World]) -> None:
    """Let every person tell, ask, ask for what was never said, and talk."""
    random.seed(options.seed)
    facts = [line.split("\t") for line in (HERE / "clerk_facts.tsv").read_text("utf-8").splitlines()]
    names = [line.split("\t") for line in (HERE / "clerk_names.tsv").read_text("utf-8").splitlines()]
    topics = sorted({fact[0] for fact in facts})
    score: Counter[str] = Counter()
    costs: list[float] = []
    talk = list(TALK) * 10

    def turn(world: World, text: str) -> str:
        began = time.process_time()
        answer = world.turn(text)
        costs.append(time.process_time() - began)
        return answer

    def note(what: str, good: bool, *detail: str) -> None:
        score[what] += good
        score[f"{what} of"] += 1
        if options.verbose or (not good and what != "talk"):
            print(f"{'  ok ' if good else 'MISS '}{what}: " + " | ".join(detail).replace("\n", " / "))

    for number, (_, introduction, name) in enumerate(names[: options.people]):
        world = new_world()
        random.shuffle(topics)
        told = [random.choice([f for f in facts if f[0] == topic]) for topic in topics[: options.facts]]
        unknown = [random.choice([f for f in facts if f[0] == topic]) for topic in topics[options.facts :]][:5]
        for key, statement in [(name, introduction), *((f[2], f[1]) for f in told)]:
            answer = turn(world, statement)
            note("saved", key in world.human + " ".join(world.archive), statement, answer)
        asked = replace(world, said=list(world.said))
        for key, question in [(name, NAME_QUESTIONS[number % len(NAME_QUESTIONS)]), *((f[2], f[3]) for f in told)]:
            answer = turn(asked, question)
            note("quoted", key in answer, question, answer)
        for fact in unknown:
            answer = turn(asked, fact[3])
            note("unknown", answer == NOTHING, fact[3], answer)
        for who, block in ((name.split()[0], asked.human), ("", "\n".join(asked.human.splitlines()[1:]))):
            hello = replace(asked, human=block).turn("", EventKind.LOGIN)
            note("greeted", hello.startswith(f"Hello, {who}" if who else "Hello. "), introduction, hello)
        for text in (talk.pop(), talk.pop()):
            answer = turn(asked, text)
            note("talk", "You told me" not in answer and "Filed" not in answer and answer != NOTHING, text, answer)
    costs.sort()
    for what in ("saved", "quoted", "unknown", "greeted", "talk"):
        print(f"{what:8} {score[what]}/{score[f'{what} of']}  {score[what] / score[f'{what} of']:.1%}")
    median, high = costs[len(costs) // 2], costs[len(costs) * 95 // 100]
    print(f"cpu-s a turn: median {median:.2f}, 95 % {high:.2f}, {len(costs)} turns")


def fit(engine: Engine, similarity: Similarity | None, label_set: LabelSet, slot: int) -> None:
    """Fit the weights of both witnesses by logistic regression on the examples that are not shown to the model."""
    import numpy as np

    labeller = Labeller(engine, similarity, label_set, slot=slot)
    shown = prompt_text(f"{label_set.name}.txt")
    rows, truth = [], []
    for index, label in enumerate(label_set.labels):
        for text in examples(label_set)[label]:
            if f"\n{text} =>" not in shown:
                model, near = labeller.witnesses(text, leave_out=text)
                rows.append([*model, *near])
                truth.append(index)
    count = len(label_set.labels)
    table, wanted = np.array(rows), np.array(truth)
    for name, with_examples in (("together", 1.0), ("model_alone", 0.0)):
        model_weight, examples_weight, offsets = 1.0, 10.0 * with_examples, np.zeros(count)
        for _ in range(6000):
            sums = model_weight * table[:, :count] + examples_weight * table[:, count:] + offsets
            slope = np.exp(sums - sums.max(1, keepdims=True))
            slope /= slope.sum(1, keepdims=True)
            wrong = int((sums.argmax(1) != wanted).sum())
            slope[np.arange(len(wanted)), wanted] -= 1
            slope /= len(wanted)
            model_weight -= 0.3 * (slope * table[:, :count]).sum()
            examples_weight -= 30 * with_examples * (slope * table[:, count:]).sum()
            offsets -= 0.5 * slope.sum(0)
        rounded = tuple(round(float(offset), 2) for offset in offsets - offsets.mean())
        weights = f"Weights({model_weight:.2f}, {examples_weight:.2f}, {rounded})"
        print(f"{label_set.name}: {name}={weights}  # {wrong} of {len(wanted)} wrong")


if __name__ == "__main__":
    main()

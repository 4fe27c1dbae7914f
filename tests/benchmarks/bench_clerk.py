"""How good the clerk is: invented people tell it facts, correct some, and ask.

`python tests/benchmarks/bench_clerk.py` measures what was saved, quoted, corrected, said to be unknown and how talk was
answered, and the CPU seconds a turn. `... misses [--people N]` prints what went wrong, `... fit` the weights for
`memos/llm/labeller.py` and `memos/llm/nearness.py` (`--gguf FILE`: another model). The people (`clerk_people.json`)
were written by hands other than those that wrote the prompts and the sentences the layer was trained on; the weights
are fitted on them, so the number to believe is that of `memos bench agent` (`bench_agent.py`), on which nothing was
fitted.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from benchmarks.figures import Figure, Size, run_alone, skipped, spread
from benchmarks.given import NO_WEIGHTS, cache_folder, has_weights

from memos.llm.decomposed import KIND_SLOT, SLOTS, Decomposed
from memos.llm.embedded import LARGER_BYTES
from memos.llm.engine import Engine, default_threads
from memos.llm.finding import NOT_READ, NOTHING
from memos.llm.labeller import KIND, Labeller, kinds_read_by
from memos.llm.meaning import CORRECTION, FACT, GREETING, KINDS, QUESTION, TALK, Meaning
from memos.llm.nearness import Nearness
from memos.llm.sentences import joined, sentences, single_facts
from memos.llm.weights import builtin_weights
from memos.memory.index import builtin_embedder
from memos.messages import Block, Counters, EventKind, FunctionCall, FunctionSchema, Message, Prompt

HERE = Path(__file__).parent


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
    meaning: Meaning
    limit_chars: int = 2000
    human: str = ""
    archive: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> str:
        """All that is in block and archive."""
        return "\n".join([self.human, *self.archive])

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
        near = self.meaning.similarity(query, texts)
        order = sorted(range(len(texts)), key=lambda i: -near[i])[:5]
        lines = [f"[2026-11-20 10:00] {speaker}{' '.join(texts[i].split())}" for i in order]
        return "\n".join([f"Showing 1-{len(lines)} of {len(texts)} results (page 0):", *lines])


PEOPLE: dict[Size, int] = {"quick": 2, "usual": 99, "full": 99}


def figures(size: Size) -> list[Figure]:
    """Return how much went well with these people, and what a turn costs."""
    what = "clerk, hard people it was fitted on"
    if not has_weights():
        return [skipped(3, what, NO_WEIGHTS)]
    began = time.process_time()
    _, meaning, clerk = loaded(builtin_weights(cache_folder(), lambda _: None))
    start_s = time.process_time() - began
    everyone = invented()[: PEOPLE[size]]
    score, costs = people(everyone, lambda: World(clerk, meaning), misses=False)
    parts = [name for name in score if not name.endswith(" of")]
    return [
        *(
            Figure(
                *(3, f"{what}: {name}", 100 * score[name] / score[f"{name} of"], "%", None, "higher"),
                baseline=f"{score[name]} of {score[f'{name} of']}; {len(everyone)} people",
            )
            for name in parts
        ),
        Figure(3, f"{what}: CPU of a turn, median", statistics.median(costs), "s", 1.5, baseline=spread(costs, "s")),
        Figure(3, "clerk, start of model, embedder and layer", start_s, "s", baseline="CPU, once"),
    ]


def loaded(path: Path) -> tuple[Engine, Meaning, Decomposed]:
    """Return the parts of a clerk that is ready."""
    engine = Engine(path, threads=default_threads(), window_tokens=2048, slots=SLOTS)
    meaning = Meaning(builtin_embedder().token_states)
    clerk = Decomposed(engine, meaning, larger=is_larger(path))
    clerk.warm_up()
    return engine, meaning, clerk


def is_larger(path: Path) -> bool:
    """Return whether it is one of the models that phrase quotes."""
    return path.stat().st_size > LARGER_BYTES


def invented() -> list[dict[str, Any]]:
    """Return the people."""
    everyone: list[dict[str, Any]] = json.loads((HERE / "clerk_people.json").read_text("utf-8"))
    return everyone


def main() -> None:
    """Show what went wrong with whom, or fit the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("misses", "fit"))
    parser.add_argument("--people", type=int, default=99)
    parser.add_argument("--gguf", type=Path)
    options = parser.parse_args()
    path = options.gguf or builtin_weights(cache_folder(), lambda _: None)
    engine, meaning, clerk = loaded(path)
    everyone = invented()[: options.people]
    if options.what == "fit":
        fit_kind(
            Labeller(engine, kinds_read_by(meaning), KIND, slot=KIND_SLOT, larger=is_larger(path)), everyone, meaning
        )
        fit_nearness(Nearness(meaning), everyone, meaning)
    else:
        people(everyone, lambda: World(clerk, meaning), misses=True)


def people(
    everyone: list[dict[str, Any]], new_world: Callable[[], World], *, misses: bool
) -> tuple[Counter[str], list[float]]:
    """Let every person greet, tell, correct and ask; return how much of it went well and each turn's CPU seconds."""
    score: Counter[str] = Counter()
    costs: list[float] = []

    def turn(world: World, text: str) -> str:
        began = time.process_time()
        answer = world.turn(text)
        costs.append(time.process_time() - began)
        return answer

    def note(what: str, good: bool, *detail: str) -> None:
        score[what] += good
        score[f"{what} of"] += 1
        if misses and not good:
            print(f"MISS {what}: " + " | ".join(detail).replace("\n", " / "))

    for person in everyone:
        world = new_world()
        for text in [*person["greetings"], *person.get("talk", ())]:
            answer, before = turn(world, text), world.kept
            quiet = "You told me" not in answer and "Filed" not in answer and world.kept == before
            note("talk", quiet and answer not in (NOTHING, NOT_READ), text, answer)
            if misses:
                print(f"  talk: {text} -> {answer}")
        for told in person["tell"]:
            answer = turn(world, told["say"])
            for fact in told["facts"]:
                note("saved", stands(fact["key"], world.kept), told["say"], fact["key"], answer)
        new = {}
        for correction in person["correct"]:
            answer = turn(world, correction["say"])
            new[correction["id"]] = correction["key"]
            note("correction saved", stands(correction["key"], world.kept), correction["say"], answer)
        keys = {fact["id"]: fact["key"] for told in person["tell"] for fact in told["facts"]} | new
        for asked in person["ask"]:
            answer, key = turn(world, asked["say"]), keys[asked["id"]]
            note("recalled", stands(key, answer), asked["say"], key, answer)
            if asked["id"] in new:
                note("corrected", stands(key, answer.split("Earlier:")[0]), asked["say"], key, answer)
        for asked in person["unknown"]:
            answer = turn(world, asked)
            note("unknown", answer in (NOTHING, NOT_READ), asked, answer)
    return score, costs


def stands(key: str, text: str) -> bool:
    """Whether the words of `key` stand in `text`, as whole words."""
    return re.search(rf"(?<!\w){re.escape(key.casefold())}(?!\w)", text.casefold()) is not None


# --- weights -------------------------------------------------------------------------------------------------


def told_lines(person: dict[str, Any], meaning: Meaning) -> list[tuple[str, set[str]]]:
    """Return the lines a person's messages leave, and the ids of the facts in each."""
    keys = [(told["say"], [(fact["id"], fact["key"]) for fact in told["facts"]]) for told in person["tell"]]
    keys += [(correction["say"], [(correction["id"], correction["key"])]) for correction in person["correct"]]
    return [
        (fact, {identity for identity, key in known if stands(key, fact)})
        for say, known in keys
        for sentence in joined(sentences(say), meaning)
        for fact in single_facts(sentence, meaning)
    ]


def fit_kind(labeller: Labeller, everyone: list[dict[str, Any]], meaning: Meaning) -> None:
    """Print how much the model counts beside the layer, fitted on what these people want."""
    told = [[sentence for row in person["tell"] for sentence in sentences(row["say"])] for person in everyone]
    rows = [(FACT, text) for texts in told for text in texts]
    rows += [(CORRECTION, row["say"]) for person in everyone for row in person["correct"]]
    rows += [(QUESTION, row["say"]) for person in everyone for row in person["ask"]]
    rows += [(QUESTION, text) for person in everyone for text in person["unknown"]]
    rows += [(GREETING, text) for person in everyone for text in person["greetings"]]
    rows += [(TALK, text) for person in everyone for text in person.get("talk", ())]
    seen = [labeller.witnesses(text) for _, text in rows]
    model, reader = np.array([m for m, _ in seen]), np.array([r for _, r in seen])
    wanted = np.array([KINDS.index(kind) for kind, _ in rows])
    alike = [{FACT, CORRECTION}, {GREETING, TALK}]
    for weight in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5):
        got = (weight * model + reader).argmax(1)
        wrong = [
            (kind, KINDS[g], text)
            for (kind, text), g in zip(rows, got, strict=True)
            if KINDS[g] != kind and {KINDS[g], kind} not in alike
        ]
        logs = weight * model + reader
        logs = logs - logs.max(1, keepdims=True)
        loss = -(logs[np.arange(len(rows)), wanted] - np.log(np.exp(logs).sum(1))).mean()
        print(f"model {weight}: {len(wrong)} of {len(rows)} wrong, loss {loss:.3f}", [w for w in wrong][:12])


def fit_nearness(nearness: Nearness, everyone: list[dict[str, Any]], meaning: Meaning) -> None:
    """Print weights for "this line answers that question" and "this fact replaces that line"."""
    answers, replaces = [], []
    for number, person in enumerate(everyone):
        lines = told_lines(person, meaning)
        for asked in [*person["ask"], *({"id": "", "say": text} for text in person["unknown"])]:
            for words, ids in lines:
                answers.append((number, nearness.features(asked["say"], words), asked["id"] in ids))
        old = lines[: len(lines) - len(person["correct"])]
        for correction in person["correct"]:
            for words, ids in old:
                replaces.append((number, nearness.features(correction["say"], words), correction["id"] in ids))
        for place, (words, ids) in enumerate(old):
            for before, known in old[:place]:
                if not ids & known:
                    replaces.append((number, nearness.features(words, before), False))
    for what, rows in (("answers", answers), ("replaces", replaces)):
        features, truth = np.array([f for _, f, _ in rows]), np.array([t for *_, t in rows])
        weights = logistic(features, truth)
        shown = tuple(round(float(weight), 2) for weight in weights)
        print(f"{what}: {shown[:-1]}, offset {shown[-1]}, over {len(rows)} pairs, {int(truth.sum())} true")


def logistic(features: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return weights and offset of a logistic regression, a little drawn to zero."""
    table = np.hstack([features, np.ones((len(features), 1))])
    weights = np.zeros(table.shape[1])
    for _ in range(60):  # Newton's steps
        chance = 1 / (1 + np.exp(-table @ weights))
        slope = table.T @ (chance - truth) + 0.3 * np.append(weights[:-1], 0)
        curve = table.T @ (table * (chance * (1 - chance))[:, None]) + 0.3 * np.eye(len(weights))
        weights -= np.linalg.solve(curve, slope)
    return weights


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("misses", "fit"):
        main()
    else:
        sys.exit(run_alone(figures))

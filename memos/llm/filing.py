"""What the clerk writes: new lines, lines that take the place of others, lines taken out, lines put in the archive.

The user's own words are filed, never a rewording, each fact as a line. One call a step; a plan is made anew at every
step from the turn's words and the block as it was, so it comes out the same after a crash. When it is not sure that a
fact replaces a line, or the line tells more than one, both stay, and the newer is quoted first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memos.llm.filed_lines import FiledLine
from memos.llm.nearness import ANSWERS, REPLACES, Near, Nearness
from memos.llm.turn import Decision, Turn, human_block, lines_before, offers
from memos.messages import Block, Prompt

NOT_FILED = "I could not file that: my memory took it neither in the block nor in the archive."
NOTHING_TO_FORGET = "I have no line about that, so there is nothing to take out."
_ROOM_CHARS = 400
"""How much is moved to the archive when the block is full: one passage that a page of search results shows whole."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a message wants written, each fact by itself, and how much one reads like a correction."""

    facts: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    deletions: tuple[str, ...] = ()
    correction: Callable[[str], float] = lambda _: 0.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done with the block: lines taken out, (old, new) pairs, lines added; and what needs nothing."""

    removed: tuple[FiledLine, ...]
    replaced: tuple[tuple[FiledLine, FiledLine], ...]
    added: tuple[FiledLine, ...]
    known: tuple[FiledLine, ...]


class Filing:
    """Decides the next call that writes, and says afterwards what was written."""

    def __init__(self, nearness: Nearness, single_facts: Callable[[str], Sequence[str]]) -> None:
        """`single_facts` cuts a line into the facts it tells."""
        self._nearness = nearness
        self._single_facts = single_facts

    def next_call(self, prompt: Prompt, turn: Turn, told: Told) -> Decision | None:
        """Return the next call, or None where all is done, needless or impossible."""
        block = human_block(prompt)
        day = f"{prompt.counters.now:%Y-%m-%d}"
        plan = self._plan(turn, told, lines_before(turn, block) if block else [], day)
        if told.archived and offers(prompt, "archival_memory_insert"):
            content = " ".join(FiledLine(fact, day).as_written for fact in told.archived)
            if not turn.tried("archival_memory_insert", content=content):
                return Decision("This belongs into the archive.", "archival_memory_insert", {"content": content})
        if block and offers(prompt, "core_memory_replace") and (decision := _next_change(block, turn, plan)):
            return decision
        missed = [new for old, new in plan.replaced if not turn.done("core_memory_replace", old_content=old.as_written)]
        return _next_addition(prompt, block, turn, [*plan.added, *missed])

    def spoken(self, prompt: Prompt, turn: Turn, told: Told) -> str:
        """Return what was written, in words for the user."""
        block = human_block(prompt)
        plan = self._plan(turn, told, lines_before(turn, block) if block else [], f"{prompt.counters.now:%Y-%m-%d}")
        said = [_removal_words(turn, line) for line in plan.removed]
        said += [NOTHING_TO_FORGET] * (len(told.deletions) > 0 and not plan.removed)
        said += [words for old, new in plan.replaced if (words := _replacement_words(turn, old, new))]
        missed = [new for old, new in plan.replaced if not turn.done("core_memory_replace", old_content=old.as_written)]
        if added := [*plan.added, *missed]:
            said.append(_addition_words(turn, added))
        if told.archived:
            quoted = ", ".join(f'"{fact}"' for fact in told.archived)
            done = turn.done("archival_memory_insert")
            said.append(f"Filed in the archive: {quoted}" if done else NOT_FILED)
        if plan.known and not said:
            said.append(f"I have that already: {plan.known[-1].as_written}")
        return "\n".join(said)

    def _plan(self, turn: Turn, told: Told, before: list[FiledLine], day: str) -> _Plan:
        left = list(before)
        removed = []
        for deletion in told.deletions:
            near = next(iter(self._nearness.answers(deletion, left)), None)
            if near and near.score >= ANSWERS:
                left.remove(near.line)
                removed.append(near.line)
        replaced, added, known = [], [], []
        for fact in told.facts:
            line = FiledLine(fact, day)
            if same := [old for old in left if old.words == fact]:
                known.append(same[-1])
            elif old := self._replaced(fact, told.correction(fact), left):
                left.remove(old)
                replaced.append((old, line))
            else:
                added.append(line)
        return _Plan(tuple(removed), tuple(replaced), tuple(added), tuple(known))

    def _replaced(self, fact: str, correction: float, lines: Sequence[FiledLine]) -> FiledLine | None:
        """Return the line whose place `fact` takes, if that is sure and nothing else would be lost with it."""
        best: Near | None = next(iter(self._nearness.replaced(fact, correction, lines)), None)
        if best is None or best.score < REPLACES:
            return None
        return best.line if len(self._single_facts(best.line.words)) == 1 else None


def _next_change(block: Block, turn: Turn, plan: _Plan) -> Decision | None:
    """Return the next replacement or removal in the block, or None."""
    changes = [*((old, "") for old in plan.removed), *((old, new.as_written) for old, new in plan.replaced)]
    for old, new in changes:
        if not turn.tried("core_memory_replace", old_content=old.as_written):
            thought = "That changes a line I have." if new else "A line is to be taken out."
            arguments = {"name": block.label, "old_content": old.as_written, "new_content": new}
            return Decision(thought, "core_memory_replace", arguments)
    return None


def _next_addition(prompt: Prompt, block: Block | None, turn: Turn, added: Sequence[FiledLine]) -> Decision | None:
    """Return the call that files `added`: in the block, with room made for them if need be, else in the archive."""
    content = "\n".join(line.as_written for line in added)
    archived = " ".join(line.as_written for line in added)
    if not added or turn.done("core_memory_append", content=content):
        return None
    if turn.done("archival_memory_insert", content=archived):
        return None
    if block and offers(prompt, "core_memory_append") and not turn.tried("core_memory_append", content=content):
        missing_chars = len(block.value) + 1 + len(content) - block.limit_chars
        if missing_chars > 0 and (decision := _make_room(prompt, block, turn, missing_chars)):
            return decision
        arguments = {"name": block.label, "content": content}
        return Decision("That tells me something to keep.", "core_memory_append", arguments)
    if offers(prompt, "archival_memory_insert") and not turn.tried("archival_memory_insert", content=archived):
        thought = "The block cannot take it, so it goes to the archive."
        return Decision(thought, "archival_memory_insert", {"content": archived})
    return None


def _make_room(prompt: Prompt, block: Block, turn: Turn, missing_chars: int) -> Decision | None:
    """Return the step that moves the oldest dated lines of the block to the archive, or None where none can go."""
    if not offers(prompt, "archival_memory_insert") or not offers(prompt, "core_memory_replace"):
        return None
    oldest = _oldest_lines(block.value, _ROOM_CHARS)
    moved, text = " ".join(oldest), "\n".join(oldest)
    if len(text) < missing_chars or turn.tried("core_memory_replace", old_content=text):
        return None
    if not turn.tried("archival_memory_insert", content=moved):
        return Decision("The block is full: its oldest lines go to the archive.", "archival_memory_insert", {
            "content": moved
        })  # fmt: skip
    if not turn.done("archival_memory_insert", content=moved):
        return None  # what the archive did not take stays in the block
    arguments = {"name": block.label, "old_content": text, "new_content": ""}
    return Decision("They are in the archive; the block has room again.", "core_memory_replace", arguments)


def _oldest_lines(value: str, limit_chars: int) -> list[str]:
    """Return the first dated lines that stand together and have at most `limit_chars`, as they stand."""
    found: list[str] = []
    for text in value.splitlines():
        dated = bool(FiledLine.read(text).day)
        if not dated and not found:
            continue
        if not dated or len("\n".join([*found, text])) > limit_chars:
            break
        found.append(text)
    return found


def _removal_words(turn: Turn, line: FiledLine) -> str:
    if turn.done("core_memory_replace", old_content=line.as_written):
        return f'Taken out of my notes: "{line.words}" What was said before stays in the record of our conversation.'
    return f'I could not take this out of my notes: "{line.words}"'


def _replacement_words(turn: Turn, old: FiledLine, new: FiledLine) -> str:
    if turn.done("core_memory_replace", old_content=old.as_written):
        return f'Changed: "{old.words}" is now "{new.words}"'
    return ""


def _addition_words(turn: Turn, added: Sequence[FiledLine]) -> str:
    quoted = ", ".join(f'"{line.words}"' for line in added)
    if turn.done("core_memory_append", content="\n".join(line.as_written for line in added)):
        return f"Filed: {quoted}"
    if turn.done("archival_memory_insert", content=" ".join(line.as_written for line in added)):
        return f"Filed in the archive: {quoted}"
    return NOT_FILED

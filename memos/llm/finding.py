"""What the clerk answers: a stored line with its date, all the lines it has, what was said on some days, or nothing.

Blocks first, then recall storage, then the archive: one search a step, each an ordinary call. A line is quoted only if
it is near enough (`nearness`); what the user took back is not quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta

from memos.llm.filed_lines import FiledLine, filed_lines, search_hits
from memos.llm.introduction import LIKELY, Introduction
from memos.llm.labeller import MONTH, TODAY, WEEK, YESTERDAY, Labeller
from memos.llm.meaning import DELETION, FACT
from memos.llm.nearness import ANSWERS, SAME, Near, Nearness
from memos.llm.turn import Decision, Turn, human_block, offers, say
from memos.messages import Block, Prompt

NOTHING = "I have nothing about that."
NOT_READ = "I have nothing about that, or I did not understand it: I read English best."
NOTHING_YET = "I have nothing about you yet. Tell me something and I file it."
_CLERKS_OWN_BLOCKS = ("persona",)
_PAGES = 3
"""How many pages of a day's messages are read for an answer: each is one step."""
_HITS_A_PAGE = 5
_LISTED_LINES = 60
_DAYS_BACK = {TODAY: (0, 0), YESTERDAY: (1, 1), WEEK: (13, 0), MONTH: (61, 0)}
"""First and last day, counted back from today, for what a question about the past means."""


class Finding:
    """Decides the next search, or the answer."""

    def __init__(
        self,
        nearness: Nearness,
        introduction: Introduction,
        days: Labeller,
        *,
        kind_of: Callable[[str], str],
        correction: Callable[[str], float],
        reads: Callable[[str], bool],
    ) -> None:
        """`kind_of` tells "fact", "deletion" and so on of one message; `correction` how much it corrects another."""
        self._nearness = nearness
        self._introduction = introduction
        self._days = days
        self._kind_of = kind_of
        self._correction = correction
        self._reads = reads

    def answer(self, prompt: Prompt, turn: Turn, question: str, filed: str) -> Decision:
        """Answer from the blocks, else from recall storage, else from the archive, else say that there is nothing."""
        lines = [line for line in _lines_of(prompt) if line.words not in turn.event.content]
        if found := self._nearest(question, lines):
            return say("A line of my block answers that.", joined(filed, quotes(found)))
        for name, spoken, count in (
            ("conversation_search", True, prompt.counters.recall_count),
            ("archival_memory_search", False, prompt.counters.archival_count),
        ):
            if not turn.tried(name) and count and offers(prompt, name):
                return Decision("I look whether that is kept.", name, {"query": question})
            result = turn.done(name)
            hits = search_hits(result.text if result else "", spoken=spoken)
            if found := self._nearest(question, self._said_as_fact(hits) if spoken else hits):
                return say("I have found the line.", joined(filed, quotes(found)))
        return say("Nothing I have is near to that.", joined(filed, NOTHING if self._reads(question) else NOT_READ))

    def everything(self, prompt: Prompt, filed: str) -> Decision:
        """List the lines of the blocks, and say what else there is."""
        lines = _lines_of(prompt)
        count = prompt.counters.archival_count
        more = f"\nThe archive holds {count} more; ask me about something in particular." if count else ""
        if not lines:
            return say("There is nothing yet.", joined(filed, NOTHING_YET + more))
        listed = "\n".join(f"- {line.as_written}" for line in lines[-_LISTED_LINES:])
        return say("I read out my block.", joined(filed, f"These are my notes about you:\n{listed}{more}"))

    def past(self, prompt: Prompt, turn: Turn, question: str, filed: str) -> Decision:
        """Quote what the user told on the days the question means; where it names none, answer it as any other."""
        span = self._span(prompt, question)
        if span is None or not offers(prompt, "conversation_search_date"):
            return self.answer(prompt, turn, question, filed)
        first, last = span
        pages = [step for step in turn.steps if step.name == "conversation_search_date"]
        more = not pages or (pages[-1].ok and _more_pages(pages[-1].text, len(pages)))
        if more and len(pages) < _PAGES:
            arguments = {"start_date": first, "end_date": last, "page": len(pages)}
            return Decision("I look what was said then.", "conversation_search_date", arguments)
        hits = [hit for step in pages if step.ok for hit in search_hits(step.text, spoken=True)]
        told = list(dict.fromkeys(self._said_as_fact(hits)))
        days = f"On {first}" if first == last else f"Between {first} and {last}"
        if not told:
            return say("Nothing was told then.", joined(filed, f"{days} you told me nothing that I could find."))
        listed = " ".join(f'"{line.words}"' for line in told)
        return say("That was said then.", joined(filed, f"{days} you told me: {listed}"))

    def _nearest(self, question: str, lines: Sequence[FiledLine]) -> list[FiledLine]:
        """Return the line that answers, or two that may be about the same, the newer first; [] where none does."""
        if self._introduction.is_asked_for(question):
            said = self._introduction.line([line.words for line in lines], LIKELY)
            if named := [line for line in lines if said and line.words == said]:
                return named[-1:]
        near = [found for found in self._nearness.answers(question, lines) if found.score >= ANSWERS]
        return self._with_newer(near, list(lines)) if near else []

    def _with_newer(self, near: Sequence[Near], lines: list[FiledLine]) -> list[FiledLine]:
        best = near[0].line
        order = {line: place for place, line in enumerate(lines)}
        for other in (found.line for found in near[1:]):
            older, newer = sorted((best, other), key=lambda line: (line.day, order[line]))
            same = self._nearness.replaced(newer.words, self._correction(newer.words), [older])[0].score
            if same >= SAME:
                return [newer, older]
        return [best]

    def _said_as_fact(self, hits: Sequence[FiledLine]) -> list[FiledLine]:
        """Return what the user told, oldest first, without what is no fact and what they took back later."""
        said = sorted({hit for hit in hits if hit.speaker == "user"}, key=lambda hit: hit.day)
        kinds = {hit: self._kind_of(hit.words) for hit in said}
        taken_back = [hit for hit in said if kinds[hit] == DELETION]
        facts = [hit for hit in said if kinds[hit] == FACT]
        return [fact for fact in facts if not any(self._takes_back(deletion, fact) for deletion in taken_back)]

    def _takes_back(self, deletion: FiledLine, fact: FiledLine) -> bool:
        return deletion.day >= fact.day and self._nearness.answers(deletion.words, [fact])[0].score >= ANSWERS

    def _span(self, prompt: Prompt, question: str) -> tuple[str, str] | None:
        """Return first and last day (local, YYYY-MM-DD), or None for "before"."""
        named = re.findall(r"\b\d{4}-\d\d-\d\d\b", question)
        if named:
            return min(named), max(named)
        back = _DAYS_BACK.get(self._days.label(question))
        if back is None:
            return None
        first, last = (prompt.counters.now - timedelta(days=days) for days in back)
        return f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"


def quotes(lines: Sequence[FiledLine]) -> str:
    """Return stored lines as an answer, the newest first."""
    return "\n".join([quote(lines[0]), *(f"Earlier: {quote(line)}" for line in lines[1:])])


def quote(line: FiledLine) -> str:
    """Return a stored line as an answer, with the day it was said."""
    return f'You told me on {line.day}: "{line.words}"' if line.day else f'My notes say: "{line.words}"'


def joined(first: str, second: str) -> str:
    """Return both, a line each."""
    return f"{first}\n{second}" if first and second else first or second


def users_lines(prompt: Prompt) -> list[FiledLine]:
    """Return the lines of the block about the user."""
    block = human_block(prompt)
    return filed_lines(block.value) if block else []


def _lines_of(prompt: Prompt) -> list[FiledLine]:
    blocks: list[Block] = [block for block in prompt.blocks if block.label not in _CLERKS_OWN_BLOCKS]
    return [line for block in blocks for line in filed_lines(block.value)]


def _more_pages(result: str, read: int) -> bool:
    found = re.match(r"Showing \d+-\d+ of (\d+) results", result)
    return found is not None and int(found[1]) > read * _HITS_A_PAGE

"""What a reply could rest on, as lines: block lines, found messages and passages, summary, queue, each with its source.

Words that stand in the reply too stand out: a hint at what mattered, found without asking any model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from memos.memory.pages import excerpt
from memos.memory.prompt_records import BlockLine, Finding, FoundPassage, Grounds, Source, SummarySeen
from memos.safe_text import safe_line
from memos.terminal.amounts import counted
from memos.terminal.drawing import call_text, clipped
from memos.terminal.highlighting import highlighted
from memos.terminal.marks import Marks

QUEUE_SHOWN = 6
_SNIPPET_CHARS = 100
_REPLY_CHARS = 200
_EVENTS = {
    "login": "your login",
    "timer": "a timed heartbeat",
    "heartbeat": "a heartbeat",
    "memory_pressure": "a warning of memory pressure",
    "user_liked": "your /like",
    "system_alert": "a notice of memos",
    "answer": "your answer",
}


def grounds_lines(grounds: Grounds, marks: Marks, *, everything: bool) -> Iterator[Text]:
    """Yield the lines of `/why`; of a long queue the newest, unless `everything` is wanted."""
    reply = grounds.reply
    yield Text(f"Message {reply.seq}, {_when(reply.at)}: ", style="dim").append(
        clipped(reply.text, _REPLY_CHARS, marks.more), style="not dim"
    )
    yield Text("Its prompt held:", style="bold")
    yield from _block_lines(grounds.lines, reply.text, marks)
    for finding in grounds.findings:
        yield from _finding_lines(finding, reply.text, marks)
    if grounds.summary:
        yield from _summary_lines(grounds.summary, marks)
    yield from _queue_lines(grounds, marks, everything)


def _block_lines(lines: Sequence[BlockLine], reply: str, marks: Marks) -> Iterator[Text]:
    yield _heading(f"Core memory: {counted(len(lines), 'line')}")
    for line in lines:
        yield Text(f"  {safe_line(line.label)}: ").append_text(highlighted(line.text, reply))
        if line.at is None:
            yield _origin("there from the start")
        else:
            by = f"{line.author}, {_when(line.at)}, edit {line.revision}"
            yield _origin(f"{by}; {_cause(line.source, marks)}" if line.source else by)


def _finding_lines(finding: Finding, reply: str, marks: Marks) -> Iterator[Text]:
    call = call_text(finding.call, marks.more)
    if not finding.kept:
        yield _heading(f"{call}: what it found was not noted")
        return
    found = [counted(len(finding.messages), "message")] * bool(finding.messages)
    found += [counted(len(finding.passages), "passage")] * bool(finding.passages)
    yield _heading(f"{call}: {' and '.join(found) or 'nothing found'}")
    for message in finding.messages:
        yield _message_line(message, reply)
    for passage in finding.passages:
        yield from _passage_lines(passage, reply, marks)


def _passage_lines(passage: FoundPassage, reply: str, marks: Marks) -> Iterator[Text]:
    head = Text(f"  passage {passage.seq}, {_when(passage.at)}: ", style="dim")
    yield head.append_text(_not_dim(highlighted(excerpt(passage.text, reply), reply)))
    if passage.source:
        yield _origin(_cause(passage.source, marks))


def _summary_lines(summary: SummarySeen, marks: Marks) -> Iterator[Text]:
    yield _heading(f"The summary of what left the queue, up to message {summary.last_seq}")
    yield Text(f"  {clipped(summary.text, _SNIPPET_CHARS, marks.more)}")
    yield _origin(f"{safe_line(summary.author)}, {_when(summary.at)}")


def _queue_lines(grounds: Grounds, marks: Marks, everything: bool) -> Iterator[Text]:
    said = grounds.queue
    others = grounds.queue_rows - len(said)
    beside = f", and {counted(others, 'event or result', 'events and results')}" * bool(others)
    yield _heading(f"The queue: {counted(len(said), 'message')}{beside}")
    left_out = 0 if everything else max(0, len(said) - QUEUE_SHOWN)
    if left_out:
        yield Text(f"  {marks.more} {left_out} before these; /why all shows them", style="dim")
    for message in said[left_out:]:
        yield _message_line(message, grounds.reply.text)


def _message_line(message: Source, reply: str) -> Text:
    head = Text(f"  message {message.seq}, {_when(message.at)}, {safe_line(message.speaker)}: ", style="dim")
    return head.append_text(_not_dim(highlighted(excerpt(message.text, reply), reply)))


def _cause(source: Source, marks: Marks) -> str:
    """Return what began the turn in which something was written."""
    if not source.text:
        return f"in the turn of {_EVENTS.get(source.speaker, source.speaker)}, message {source.seq}"
    return f'message {source.seq}, {safe_line(source.speaker)}: "{clipped(source.text, _SNIPPET_CHARS, marks.more)}"'


def _heading(text: str) -> Text:
    return Text(text, style="cyan")


def _origin(text: str) -> Text:
    return Text(f"    {text}", style="dim")


def _not_dim(text: Text) -> Text:
    text.stylize_before("not dim")
    return text


def _when(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"

"""The live tail: what a reply has brought so far and the scrollback does not hold yet.

A piece is provisional until the kernel says what it was: words that stream as monologue may turn out to be the
message. So monologue stays here until it is settled; speech leaves row by row, so that a resize has little to mend.
Whatever left is remembered, so that the whole text, when it comes, is shown once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from memos.terminal.markdown_blocks import finished_end
from memos.terminal.wrapping import displayable, wrap

Kind = Literal["thought", "speech"]


@dataclass(slots=True)
class _Segment:
    kind: Kind
    text: str


class Tail:
    """The pieces of the running step, in order, and how much of them already left."""

    def __init__(self) -> None:
        self._segments: list[_Segment] = []
        self._left: dict[Kind, str] = {"thought": "", "speech": ""}
        self._may_end = False

    def add(self, kind: Kind, text: str) -> None:
        """Take a further piece as it arrives."""
        if not self._segments or self._segments[-1].kind != kind:
            self._segments.append(_Segment(kind, ""))
        segment, arrived = self._segments[-1], displayable(text)
        if not segment.text and not self._left[kind] and not self.pending(kind):
            arrived = arrived.lstrip()
        # A block can end only with a line, or where the line after an empty one begins.
        self._may_end = self._may_end or "\n" in arrived or segment.text.endswith("\n")
        segment.text += arrived

    def pending(self, kind: Kind) -> str:
        """Return what arrived of `kind` and has not left."""
        return "".join(segment.text for segment in self._segments if segment.kind == kind)

    @property
    def begins_with_thought(self) -> bool:
        """Whether what is here begins with inner monologue."""
        return bool(self._segments) and self._segments[0].kind == "thought"

    def has_left(self, kind: Kind) -> bool:
        """Return whether part of the running text of `kind` is in the scrollback."""
        return bool(self._left[kind])

    def last_rows(self, width_cells: Mapping[Kind, int], limit_rows: int) -> list[tuple[Kind, str]]:
        """Return the newest rows to draw, at most `limit_rows`, wrapped at the width for their kind."""
        rows: list[tuple[Kind, str]] = []
        for segment in reversed(self._segments):
            # A row is at least half a character per cell wide or ends in a newline: more text cannot be seen.
            newest = segment.text[-2 * (width_cells[segment.kind] + 1) * limit_rows :]
            rows[:0] = [(segment.kind, row.rstrip()) for row in wrap(newest, width_cells[segment.kind])]
            if len(rows) >= limit_rows:
                break
        return rows[-limit_rows:] if limit_rows > 0 else []

    def take_finished_rows(self, width_cells: int | None) -> list[str]:
        """Take the speech rows that cannot change any more, to be printed for good; the one being written stays."""
        if not self._segments or self._segments[0].kind != "speech":
            return []
        first = self._segments[0]
        rows = wrap(first.text, width_cells)
        unfinished = rows.pop() if rows and not rows[-1].endswith("\n") else ""
        while rows and not (rows[-1].strip() or unfinished.strip()):
            rows.pop()  # empty rows count only once something follows them
        gone = "".join(rows)
        first.text = first.text[len(gone) :]
        self._left["speech"] += gone
        return rows

    def take_finished_blocks(self) -> str:
        """Take the blocks of Markdown that cannot change any more; the one being written stays."""
        if not self._may_end or not self._segments or self._segments[0].kind != "speech":
            return ""
        self._may_end = False
        first = self._segments[0]
        end = finished_end(first.text)
        gone, first.text = first.text[:end], first.text[end:]
        self._left["speech"] += gone
        return gone

    def settle_speech(self, whole: str) -> str:
        """Return the part of the final message `whole` that is still to be printed, and forget it here.

        What arrived beyond `whole` (a second message in the same reply) stays.
        """
        whole = displayable(whole).strip()
        left, pending = self._left["speech"], self.pending("speech")
        arrived = left + pending
        if arrived.startswith(whole):
            self._left["speech"] = left[len(whole) :].lstrip()
            beyond = pending[max(0, len(whole) - len(left)) :]
            self._replace("speech", beyond if self._left["speech"] else beyond.lstrip())
        else:
            self.drop("speech")
        if left.startswith(whole):
            return ""
        return whole[len(left) :] if whole.startswith(left) else whole

    def settle_thought(self, whole: str, message: str) -> str:
        """Return the monologue that is still to be printed, and forget it here.

        It is what arrived, without its end where that turned out to be the `message`; `whole` if nothing arrived.
        """
        arrived, message = self.pending("thought").rstrip(), displayable(message).strip()
        unseen = not arrived and not self._left["thought"]
        self.drop("thought")
        if unseen:
            return whole
        return arrived.removesuffix(message)

    def take_thought(self) -> str:
        """Take the monologue as it stands: what follows it is no monologue."""
        text = self.pending("thought")
        self._left["thought"] += text
        self._replace("thought", "")
        return text

    def drop(self, kind: Kind) -> None:
        """Forget what is here of `kind`."""
        self._left[kind] = ""
        self._replace(kind, "")

    def take_all(self) -> list[tuple[Kind, str]]:
        """Take everything in order, as it stands: the reply was stopped, or its end was never told."""
        taken = [(segment.kind, segment.text) for segment in self._segments]
        self.clear()
        return taken

    def clear(self) -> None:
        """Forget everything: the reply begins again, or the next step does."""
        self._segments.clear()
        self._left = {"thought": "", "speech": ""}

    def _replace(self, kind: Kind, text: str) -> None:
        self._segments = [segment for segment in self._segments if segment.kind != kind]
        if text:
            self._segments.append(_Segment(kind, text))

"""A reply while it streams: pieces go in as a wire brings them, parts to show come out, and at the end one `Reply`.

Knows nothing of any library or wire, so every road to a model can use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from memos.llm.speech_decoder import SpeechDecoder
from memos.messages import Finish, FunctionCall, MonologueDelta, Reply, SpeechDelta, TokenUsage, new_id
from memos.safe_text import storable

SPEECH_FUNCTION = "send_message"
_NO_USAGE = TokenUsage()


@dataclass(slots=True)
class _GrowingCall:
    """A call while its arguments arrive."""

    index: int
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    speech: SpeechDecoder = field(default_factory=SpeechDecoder)

    @property
    def arguments(self) -> str:
        return storable("".join(self.pieces))

    def is_whole(self) -> bool:
        """Return whether the arguments are complete JSON: only then may another call begin in their place."""
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True


class GrowingReply:
    """Gathers monologue, reasoning and calls, tolerant of how providers number and name their pieces."""

    def __init__(self, taken_ids: Iterable[str] = ()) -> None:
        """`taken_ids` are the ids of the calls in the prompt: a reply that repeats one gets an id of ours."""
        self._taken = set(taken_ids)
        self._content = _Words()
        self._reasoning = _Words()
        self._calls: list[_GrowingCall] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come yet that a person could have seen or that a call is made of."""
        return not (self._content.text or self._reasoning.text or self._calls)

    def add_content(self, text: str) -> list[MonologueDelta]:
        """Take a piece of the model's plain words."""
        return _monologue(self._content.add(text))

    def add_reasoning(self, text: str) -> list[MonologueDelta]:
        """Take a piece of what a reasoning model thinks before it writes."""
        return _monologue(self._reasoning.add(text))

    def add_call(self, index: int | None, call_id: str | None, name: str | None, arguments: Any) -> list[SpeechDelta]:
        """Take a piece of a call; any of its fields may be missing. Return the words for the user it completes."""
        if arguments is None:
            piece = ""
        else:
            piece = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        call = self._call_for(0 if index is None else index, call_id or "", name or "", piece)
        call.pieces.append(piece)
        if call.name != SPEECH_FUNCTION or not piece:
            return []
        words = call.speech.feed(piece)
        return [SpeechDelta(words)] if words else []

    def finished(self, finish: Finish, usage: TokenUsage = _NO_USAGE) -> Reply:
        """Return the reply as it stands.

        Cut: no calls; `monologue` and `text` are what was shown of content and speech. Length: calls whose arguments
        are no complete JSON are dropped, and what was shown of their speech becomes `text`. A reply without calls is
        its content as `text`, with reasoning, where it came apart, as monologue.
        """
        content, reasoning = self._content.text, self._reasoning.text
        kept = [] if finish in (Finish.CUT, Finish.CANCELLED) else self._calls
        if finish is Finish.LENGTH:
            kept = [call for call in self._calls if call.is_whole()]
        lost_words = "\n".join(c.speech.said for c in self._calls if c.speech.said and c not in kept)
        if self._calls or finish in (Finish.CUT, Finish.CANCELLED):
            monologue, text = content or reasoning, lost_words
        else:
            monologue, text = reasoning, content
        thoughts = {"text": reasoning} if reasoning else None
        return Reply(monologue.strip(), text, self._function_calls(kept), finish, usage, thoughts)

    def _function_calls(self, calls: list[_GrowingCall]) -> tuple[FunctionCall, ...]:
        out = []
        for call in calls:
            call_id = storable(call.id)
            if not call_id or call_id in self._taken:
                call_id = f"call_{new_id()[:24]}"
            self._taken.add(call_id)
            out.append(FunctionCall(call_id, storable(call.name), call.arguments))
        return tuple(out)

    def _call_for(self, index: int, call_id: str, name: str, piece: str) -> _GrowingCall:
        """Return the call a piece belongs to, a new one where it begins one.

        Neither index nor id can be trusted alone: parallel calls arrive all with index 0, ids change with every
        piece, are missing, or are the same for every call. What tells a new call is a name, on another index, under
        another id, or after arguments that are already whole.
        """
        known = self._open_call(index, call_id)
        if known is None or (name and self._begins_anew(known, call_id, name, piece)):
            known = _GrowingCall(index, call_id, name)
            self._calls.append(known)
        if not known.name:
            known.name = name
        if not known.id:
            known.id = call_id
        return known

    def _open_call(self, index: int, call_id: str) -> _GrowingCall | None:
        newest_first = self._calls[::-1]
        same_id = [c for c in newest_first if call_id and c.id == call_id and c.index == index]
        same_index = [c for c in newest_first if c.index == index]
        return next(iter([*same_id, *same_index]), None)

    @staticmethod
    def _begins_anew(known: _GrowingCall, call_id: str, name: str, piece: str) -> bool:
        if not known.name:
            return False
        if call_id and known.id and call_id != known.id:
            return True
        if name != known.name:
            return True
        return bool(piece) and known.is_whole()


class _Words:
    """Text in pieces, with half of a surrogate pair held back until its other half comes."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._half = ""

    @property
    def text(self) -> str:
        return "".join(self._pieces) + storable(self._half)

    def add(self, piece: str) -> str:
        piece = self._half + piece
        self._half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        clean = storable(piece[: len(piece) - len(self._half)])
        if clean:
            self._pieces.append(clean)
        return clean


def _monologue(words: str) -> list[MonologueDelta]:
    return [MonologueDelta(words)] if words else []

"""A reply while it streams: chunks go in as a wire brings them, parts to show come out, and at the end one `Reply`.

One decoder for all call formats: calls may come as the chat API's own, or written in the content; reasoning in its
own field or between tags; the inner monologue beside the calls or as an argument of theirs. It never raises: what a
model or a wire can send is data.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from memos.functions.table import SPEECH_FUNCTION, THOUGHTS_ARGUMENT
from memos.llm.call_text import CallText, FoundCalls
from memos.llm.road import CallPiece, Chunk
from memos.llm.speech_decoder import SpeechDecoder
from memos.llm.thought_tags import ThoughtTags
from memos.messages import Finish, FunctionCall, MonologueDelta, Reply, ReplyPart, SpeechDelta, TokenUsage, new_id
from memos.safe_text import StorablePieces, storable

_BROKEN_OFF = (Finish.CUT, Finish.CANCELLED)
_NO_USAGE = TokenUsage()


@dataclass(slots=True)
class _GrowingCall:
    """A call while its arguments arrive."""

    index: int
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    speech: SpeechDecoder = field(default_factory=SpeechDecoder)
    thoughts: SpeechDecoder = field(default_factory=lambda: SpeechDecoder(THOUGHTS_ARGUMENT))

    @property
    def arguments(self) -> str:
        return storable("".join(self.pieces))

    def is_whole(self) -> bool:
        """Return whether the arguments are complete JSON: only then may another call begin in their place."""
        return is_json(self.arguments)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reply showed of its model, for the capability card.

    `argument_pieces` is the most pieces that the arguments of one call came in; `words` whether content stood beside
    the calls; `broken` whether a call was written that nobody can read.
    """

    native_calls: int = 0
    text_calls: int = 0
    argument_pieces: int = 0
    argument_chars: int = 0
    words: bool = False
    reasoning: Literal["none", "field", "tags"] = "none"
    broken: bool = False


class ReplyDecoder:
    """Gathers monologue, reasoning and calls, tolerant of how providers number and name their pieces."""

    def __init__(
        self,
        offered: Collection[str] = (),
        *,
        speaks: bool = False,
        calls_only: bool = False,
        thinks_in_arguments: bool = False,
        taken_ids: Iterable[str] = (),
    ) -> None:
        """`offered` names the functions that may be called. A model that `speaks` never calls: its content is speech.

        One told to write `calls_only` may name a function that does not exist; its result will say so.
        `thinks_in_arguments`: each call has its thoughts as an argument. `taken_ids` are the ids of the calls in the
        prompt: a reply that repeats one gets an id of ours.
        """
        self._speaks = speaks
        self._new_text = partial(CallText, offered, calls_only=calls_only)
        self._thinks_in_arguments = thinks_in_arguments
        self._taken = set(taken_ids)
        self._content = StorablePieces()
        self._reasoning = StorablePieces()
        self._tags = ThoughtTags()
        self._text = self._new_text()
        self._said: list[str] = []
        self._thought: list[str] = []
        self._signed: list[Any] = []
        self._calls: list[_GrowingCall] = []
        self._in_field = False
        self._found: FoundCalls | None = None
        self.size_chars = 0
        """How much has come, all kinds of text together."""
        self.is_empty = True
        """Whether nothing has come yet that a person could have seen or that a call is made of."""

    def feed(self, chunk: Chunk) -> list[ReplyPart]:
        """Take a chunk and return what it lets us show."""
        parts: list[ReplyPart] = []
        if chunk.reasoning:
            self._in_field = True
            parts += self._think(self._reasoning.add(chunk.reasoning))
        if chunk.content:
            parts += self._take_content(self._content.add(chunk.content))
        for piece in chunk.calls:
            parts += self._take_call(piece)
        self._signed += chunk.signed
        if self.is_empty and (chunk.reasoning or chunk.content or chunk.calls):
            self.is_empty = False
        self.size_chars += len(chunk.reasoning) + len(chunk.content)
        return parts

    def finish(self) -> list[ReplyPart]:
        """Take it that nothing more comes, and return what that lets us show."""
        parts = self._think(self._reasoning.rest()) + self._take_content(self._content.rest())
        for kind, text in self._tags.rest():
            parts += self._think(text) if kind == "thought" else self._words(text)
        self._found = self._text.finish()
        return [*parts, *([MonologueDelta(self._found.unshown)] if self._found.unshown else [])]

    def reply(self, finish: Finish, usage: TokenUsage = _NO_USAGE) -> Reply:
        """Return the reply as it stands, after `finish`.

        Cut: no calls; `monologue` and `text` are what was shown of content and speech. Length: calls whose arguments
        are no complete JSON are dropped, and what was shown of their speech becomes `text`. A reply without calls is
        its content as `text`, with reasoning, where it came apart, as monologue.
        """
        found = self._found or FoundCalls()
        kept = [] if finish in _BROKEN_OFF else self._calls
        if finish is Finish.LENGTH:
            kept = [call for call in self._calls if call.is_whole()]
        calls = self._function_calls(kept)
        if not self._calls and finish not in _BROKEN_OFF:
            calls = tuple(FunctionCall(self._own_id(), call.name, call.arguments) for call in found.calls)
        reasoning = "".join(self._thought)
        inner = "\n".join(filter(None, [found.thoughts, *(call.thoughts.said for call in self._calls)]))
        beside = [found.monologue.strip(), *(call.thoughts.said for call in self._calls)]
        thoughts = "\n".join(filter(None, beside)) or reasoning
        lost_words = "\n".join(call.speech.said for call in self._calls if call.speech.said and call not in kept)
        if self._speaks:
            monologue, text = reasoning, "".join(self._said)
        elif self._calls or calls or finish in _BROKEN_OFF:
            monologue, text = thoughts, lost_words or (found.lost if calls else found.said)
        elif found.broken:
            monologue, text = inner or reasoning, found.words or found.said
        else:
            monologue, text = reasoning, found.words
        return Reply(monologue.strip(), text, calls, finish, usage, self._replayable(reasoning))

    @property
    def seen(self) -> Seen:
        """What the reply showed of its model, after `finish`."""
        found = self._found or FoundCalls()
        largest = max(self._calls, key=lambda call: len(call.arguments), default=None)
        return Seen(
            len(self._calls),
            len(found.calls),
            len(largest.pieces) if largest else 0,
            len(largest.arguments) if largest else 0,
            bool(found.words.strip()),
            "tags" if self._tags.seen else "field" if self._in_field else "none",
            found.broken or any(not call.is_whole() for call in self._calls if call.arguments.strip()),
        )

    # --- Words ------------------------------------------------------------------------------------------------

    def _take_content(self, text: str) -> list[ReplyPart]:
        parts: list[ReplyPart] = []
        for kind, piece in self._tags.feed(text) if text else ():
            if kind == "ended":  # the chat template had begun a thought: all before was one
                self._thought += [self._text.finish().words, *self._said]
                self._text, self._said = self._new_text(), []
            else:
                parts += self._think(piece) if kind == "thought" else self._words(piece)
        return parts

    def _words(self, text: str) -> list[ReplyPart]:
        if not self._speaks:
            return self._text.feed(text)
        self._said.append(text)
        return [SpeechDelta(text)]

    def _think(self, text: str) -> list[ReplyPart]:
        if text:
            self._thought.append(text)
        return [MonologueDelta(text)] if text else []

    def _replayable(self, reasoning: str) -> dict[str, Any] | None:
        """Return reasoning to be stored: its text, and the signed blocks that a provider wants back as they were."""
        if not reasoning and not self._signed:
            return None
        return {"text": reasoning} | ({"signed": self._signed} if self._signed else {})

    # --- Calls ------------------------------------------------------------------------------------------------

    def _take_call(self, piece: CallPiece) -> list[ReplyPart]:
        """Take a piece of a call; any of its fields may be missing. Return the words it completes."""
        arguments = piece.arguments
        if arguments is None:
            text = ""
        else:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        call = self._call_for(0 if piece.index is None else piece.index, piece.id or "", piece.name or "", text)
        if text:
            call.pieces.append(text)
            self.size_chars += len(text)
        parts: list[ReplyPart] = []
        if text and self._thinks_in_arguments and (thoughts := call.thoughts.feed(text)):
            parts.append(MonologueDelta(thoughts))
        if text and call.name == SPEECH_FUNCTION and (words := call.speech.feed(text)):
            parts.append(SpeechDelta(words))
        return parts

    def _function_calls(self, calls: list[_GrowingCall]) -> tuple[FunctionCall, ...]:
        out = []
        for call in calls:
            call_id = storable(call.id)
            if not call_id or call_id in self._taken:
                call_id = self._own_id()
            self._taken.add(call_id)
            out.append(FunctionCall(call_id, storable(call.name), _without_thoughts(call.arguments)))
        return tuple(out)

    @staticmethod
    def _own_id() -> str:
        return f"call_{new_id()[:24]}"

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


def is_json(text: str) -> bool:
    """Return whether a text is complete JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _without_thoughts(arguments: str) -> str:
    """Return a call's arguments without the thoughts, which are kept as the monologue; unreadable ones as they are."""
    if THOUGHTS_ARGUMENT not in arguments:
        return arguments
    try:
        given = json.loads(arguments, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return arguments
    if not isinstance(given, dict) or THOUGHTS_ARGUMENT not in given:
        return arguments
    return storable(json.dumps({key: given[key] for key in given if key != THOUGHTS_ARGUMENT}, ensure_ascii=False))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises: ValueError for a key given twice, which the executor is to refuse."""
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("a key is given twice")
    return given

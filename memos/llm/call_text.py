"""Calls written as text, found in a reply while it streams; what is certain is shown at once.

Needed where a model calls by writing JSON (`json_schema`, `grammar`, `json_prompt`), and where a native one writes a
call into its content by mistake. Text is read once, from left to right, in time that grows with its length alone:
plain words flow; from a sign on that may begin a call they are held back until it is one, or cannot be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from memos.functions.table import SPEECH_FUNCTION
from memos.llm.growing_json import GrowingJson, Path, Told
from memos.messages import MonologueDelta, ReplyPart, SpeechDelta
from memos.safe_text import StorablePieces, storable

_FENCE = "```"
_CLOSED_BY = {
    "[TOOL_CALLS]": "",
    "<|python_tag|>": "",
    "<tool_call>": "</tool_call>",
    _FENCE: _FENCE,
}
"""What stands before calls, and after them; the longer first."""
_NOT_TWICE = {"[": "]", _FENCE: _FENCE}
_NAMED = re.compile(r"<function=([\w.-]{1,64})>")
_NAMED_BEGINS = re.compile(r"<(?:f(?:u(?:n(?:c(?:t(?:i(?:o(?:n(?:=[\w.-]{0,64})?)?)?)?)?)?)?)?)?")
_NAMED_ENDS = "</function>"
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}")
_ALWAYS_CLOSES = ("</tool_call>", _NAMED_ENDS)
_OPENER_LIMIT_CHARS = 80
_SIGN = re.compile(r"[\[{<`]")
_SPACE = re.compile(r"\s*")
_INFO = re.compile(r"[\w+.-]*")
_DEBRIS = re.compile(r'[\s\]},:"]*')
_ARGUMENTS = ("arguments", "parameters")
_NAMES = ("function", "name")
_THOUGHTS = ("thoughts", "inner_thoughts")
_FIRST_KEYS = {*_THOUGHTS, *_NAMES, *_ARGUMENTS, "id", "type", "tool_calls"}
_DESCRIBES = "description"
"""A function that is described, not called, has a name and parameters as well."""


@dataclass(frozen=True, slots=True)
class TextCall:
    """A call that is whole: of a function that is offered, its arguments the JSON of an object."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """What a reply was made of; each kind of words is joined by line breaks where something else stood between."""

    words: str = ""
    """All that is no call; markers and fences around calls are left out."""
    thoughts: str = ""
    """What the calls themselves gave as thoughts."""
    monologue: str = ""
    """Words and thoughts in the order in which they came: what was shown of them is its beginning."""
    unshown: str = ""
    """The end of the monologue, which was held back to the last."""
    calls: tuple[TextCall, ...] = ()
    said: str = ""
    """What was shown as speech, of all calls."""
    lost: str = ""
    """What was shown as speech of calls that never became whole."""
    broken: bool = False
    """Something began as a call and is not whole, or is none that can be run."""


class CallText:
    """Takes the text of one reply in any pieces; never raises, whatever it is.

    A call is an object that names a function that is offered and has an object as its arguments, as
    `{"thoughts", "function", "arguments"}`, `{"name", "arguments" | "parameters"}` or `{"function": {"name",
    "arguments"}}`; bare, in arrays, under `tool_calls`, in fences, or behind the markers models were trained on.
    """

    def __init__(self, offered: Collection[str], *, calls_only: bool = False) -> None:
        """`offered`: the names of the functions. `calls_only`: the model was told to write nothing but calls, so that
        one of a function which does not exist is a call too; its result will say so."""
        self._offered: Collection[str] = _AnyName() if calls_only else frozenset(offered)
        self._pieces = StorablePieces()
        self._unread = ""
        self._read: Callable[[str, int], int] = self._plain
        self._monologue = _Monologue()
        self._parts: list[ReplyPart] = []
        self._calls: list[TextCall] = []
        self._said: list[str] = []
        self._lost: list[str] = []
        self._broken = False
        self._held: list[str] = []
        self._raw: list[str] = []
        self._around: list[str] = []
        self._bound: str | None = None
        self._marked = False
        self._json = GrowingJson()
        self._call = _GrowingCall(self._offered, None)

    def feed(self, piece: str) -> list[ReplyPart]:
        """Take the next piece and return what became certain: words and thoughts, and what `send_message` says."""
        self._take(self._pieces.add(piece))
        parts, self._parts = self._parts, []
        return parts

    def finish(self) -> FoundCalls:
        """Return what all of it was, now that nothing follows; to be asked once."""
        self._parts = []
        self._take(self._pieces.rest())
        if self._read == self._object:
            self._ends_in_a_call()
        else:
            if self._read == self._expect and self._marked:
                self._broken = True
            self._words("".join(self._held) + self._unread)
        if space := self._monologue.end():
            self._parts.append(MonologueDelta(space))
        return FoundCalls(
            words=self._monologue.words,
            thoughts=self._monologue.thoughts,
            monologue=self._monologue.text,
            unshown="".join(part.text for part in self._parts if isinstance(part, MonologueDelta)),
            calls=tuple(self._calls),
            said="\n".join(self._said),
            lost="\n".join(self._lost),
            broken=self._broken,
        )

    def _take(self, text: str) -> None:
        """Read as far as can be decided; each reader returns how far it came, and may hand over to another."""
        text, at = self._unread + text, 0
        while at < len(text):
            before = at, self._read
            at = self._read(text, at)
            if (at, self._read) == before:
                break
        self._unread = text[at:]

    def _words(self, text: str) -> None:
        if words := self._monologue.add_words(text):
            self._parts.append(MonologueDelta(words))

    # --- What stands around calls ---------------------------------------------------------------------------

    def _plain(self, text: str, at: int) -> int:
        """Read plain words up to what may begin a call."""
        sign = _SIGN.search(text, at)
        end = sign.start() if sign else len(text)
        if end > at:
            self._words(text[at:end])
            return end
        opener = _opener(text, at)
        if opener is None:
            self._words(text[at])
            return at + 1
        self._held, self._around, self._bound, self._marked = [], [], None, False
        return self._opened(opener, at)

    def _opened(self, opener: str, at: int) -> int:
        """Pass what may stand before a call, or begin with the call itself."""
        if not opener:
            return at
        if opener == "{":
            self._json, self._call = GrowingJson(), _GrowingCall(self._offered, self._bound)
            self._read = self._object
            return at
        self._held.append(opener)
        if named := _NAMED.fullmatch(opener):
            self._bound = named.group(1)
        self._marked = self._marked or opener not in ("[", _FENCE)
        if closer := "]" if opener == "[" else _CLOSED_BY.get(opener, _NAMED_ENDS):
            self._around.append(closer)
        self._read = self._info if opener == _FENCE else self._expect
        return at + len(opener)

    def _info(self, text: str, at: int) -> int:
        """Read what names the language of a fence."""
        end = _end(_INFO, text, at)
        self._held.append(text[at:end])
        if end < len(text):
            self._read = self._expect
        return end

    def _expect(self, text: str, at: int) -> int:
        """Read on where only a call, or what stands before one, may come."""
        end = _end(_SPACE, text, at)
        if end > at:
            self._held.append(text[at:end])
            return end
        opener = _opener(text, at)
        if opener is not None and self._may_follow(opener):
            return self._opened(opener, at)
        self._broken = self._broken or (self._bound is not None and opener == "{")
        self._turn_out_words()
        return at

    def _may_follow(self, opener: str) -> bool:
        """Whether what was passed so far may stand before `opener`; empty is what may become one."""
        if self._bound is not None:
            return opener == "{" and self._bound in self._offered
        return not (opener in _NOT_TWICE and _NOT_TWICE[opener] in self._around)

    def _turn_out_words(self) -> None:
        """Give back what was held: it is no call."""
        held = "".join(self._held + self._raw)
        self._held, self._raw = [], []
        self._words(held)
        self._read = self._outside()

    def _outside(self) -> Callable[[str, int], int]:
        """Return the reader for what follows outside of calls; in a fence of other things none are looked for."""
        return self._fenced if _FENCE in self._around else self._plain

    def _fenced(self, text: str, at: int) -> int:
        """Read the rest of a fence as words."""
        end = text.find(_FENCE, at)
        if end >= 0:
            self._words(text[at : end + len(_FENCE)])
            self._around = []
            self._read = self._plain
            return end + len(_FENCE)
        end = max(at, len(text.rstrip("`")))
        self._words(text[at:end])
        return end

    def _after(self, text: str, at: int) -> int:
        """Read what closes a call, or leads to the next."""
        end = _end(_SPACE, text, at)
        if end > at:
            return end
        closers = [*self._around[::-1], *_ALWAYS_CLOSES]
        for closer in closers:
            if text.startswith(closer, at):
                if closer in self._around:
                    del self._around[len(self._around) - 1 - self._around[::-1].index(closer) :]
                return at + len(closer)
        if any(closer.startswith(text[at : at + len(closer)]) for closer in closers):
            return at
        if text[at] in ",;":
            self._held = [text[at]]
            self._read = self._expect
            return at + 1
        self._read = self._expect if self._around and _SIGN.match(text, at) else self._outside()
        return at

    # --- The calls themselves -------------------------------------------------------------------------------

    def _object(self, text: str, at: int) -> int:
        """Read what may be a call, or is one, and show what is certain of it."""
        told: Told | None = None
        while True:
            begin = at
            at, told = self._json.feed(text, at)
            self._raw.append(text[begin:at])
            if told is None:
                break
            if (told.kind, told.path, told.text) == ("opens", ("tool_calls",), "[") and self._call.keys == 1:
                self._held += self._raw
                self._raw = []
                self._around += ["}", "]"]
                self._read = self._expect
                return at
            if not self._call.hear(told):
                self._broken = self._broken or self._marked or self._call.has_thought
                self._turn_out_words()
                self._read = self._skipped
                return at
            self._show(self._call)
        if self._json.whole:
            self._whole()
        elif self._json.wrong:
            self._wrong()
        return at

    def _show(self, call: _GrowingCall) -> None:
        thoughts, speech = call.taken()
        if thoughts and (words := self._monologue.add_thoughts(thoughts)):
            self._parts.append(MonologueDelta(words))
        if speech:
            self._parts.append(SpeechDelta(speech))

    def _whole(self) -> None:
        """Take the object for the call it is, or for words."""
        piece = self._call.whole("".join(self._raw))
        if piece is None:
            self._wrong()
            return
        self._show(self._call)
        self._calls.append(piece)
        self._note_said()
        self._leave_call()

    def _wrong(self) -> None:
        """Give up a call that can no longer be one."""
        if self._call.said:
            self._lose()
            self._read = self._debris
            return
        self._broken = self._broken or self._marked or self._call.has_begun
        self._turn_out_words()

    def _ends_in_a_call(self) -> None:
        if self._marked or self._call.has_begun:
            self._lose()
        else:
            self._words("".join(self._held + self._raw) + self._unread)

    def _lose(self) -> None:
        self._broken = True
        self._note_said()
        if self._call.said:
            self._lost.append("".join(self._call.said))
        self._leave_call()

    def _note_said(self) -> None:
        if self._call.said:
            self._said.append("".join(self._call.said))

    def _leave_call(self) -> None:
        self._held, self._raw, self._bound, self._marked = [], [], None, False
        self._monologue.end_call()
        self._read = self._after

    def _debris(self, text: str, at: int) -> int:
        """Pass the brackets and quotes that are left of a call that went wrong."""
        end = _end(_DEBRIS, text, at)
        if end < len(text):
            self._read = self._after
        return end

    def _skipped(self, text: str, at: int) -> int:
        """Read the rest of an object that is no call as words: nothing in it is one."""
        begin, told = at, True
        while told:
            at, found = self._json.feed(text, at)
            told = found is not None
        self._words(text[begin:at])
        if self._json.whole or self._json.wrong:
            self._read = self._outside()
        return at


class _AnyName(Collection[str]):
    """All names that a function may have."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _NAME.fullmatch(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _GrowingCall:
    """One object that may be a call, while it is written."""

    def __init__(self, offered: Collection[str], bound: str | None) -> None:
        """`bound` is the function whose arguments the object is, where a marker before it said so."""
        self.keys = 0
        self.said: list[str] = []
        self.has_thought = False
        self._offered = offered
        self._bound = bound
        self._name = bound or ""
        self._is_named = bound is not None
        self._kind = ""
        self._arguments: Path | None = () if bound is not None else None
        self._message_told = self._thoughts_told = False
        self._new_thoughts: list[str] = []
        self._new_speech: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Whether it is more than an object like any other: it names a function, or has shown its thoughts."""
        return self._is_named or self.has_thought

    def taken(self) -> tuple[str, str]:
        """Return the thoughts and the words for the user that are new since it was last asked."""
        new = "".join(self._new_thoughts), "".join(self._new_speech)
        self._new_thoughts, self._new_speech = [], []
        return new

    def hear(self, told: Told) -> bool:
        """Take what became certain; return whether the object may still be a call."""
        if told.path and self._arguments is not None and told.path[:-1] == self._arguments:
            self._hear_argument(told)
            return True
        if self._bound is not None or not told.path:
            return True
        if told.kind == "key" and len(told.path) == 1:
            self.keys += 1
            if self.keys == 1 and told.path[0] not in _FIRST_KEYS:
                return False
        inner = told.path[1:] if len(told.path) == 2 and told.path[0] == "function" else told.path
        return len(inner) != 1 or self._hear_key(str(inner[0]), told)

    def _hear_key(self, key: str, told: Told) -> bool:
        if key in _NAMES and not self._is_named:
            return told.kind == "key" or self._hear_name(told)
        if key in _ARGUMENTS and self._arguments is None and told.kind != "key":
            self._arguments = told.path
            return told.text == "{" if told.kind == "opens" else told.kind == "string"
        if key in _THOUGHTS and told.kind == "string":
            self._think(told.text)
        if key == "type" and told.kind == "string":
            self._kind += told.text[:10]
            return "function".startswith(self._kind)
        return key != _DESCRIBES

    def _hear_name(self, told: Told) -> bool:
        if told.kind != "string":
            return told.kind == "opens" and told.text == "{" and told.path == ("function",)
        self._name += told.text
        self._is_named = told.ends and self._name in self._offered
        return self._is_named or (not told.ends and _may_begin(self._name, self._offered))

    def _hear_argument(self, told: Told) -> None:
        if told.kind != "string":
            return
        if told.path[-1] == "message" and not self._message_told:
            if self._is_named and self._name == SPEECH_FUNCTION:
                self._say(told.text)
            self._message_told = told.ends or not self.said
        if told.path[-1] == "inner_thoughts" and not self._thoughts_told:
            if self._is_named:
                self._think(told.text)
            self._thoughts_told = told.ends or not self._is_named

    def _think(self, text: str) -> None:
        if text:
            self.has_thought = True
            self._new_thoughts.append(text)

    def _say(self, text: str) -> None:
        if text:
            self.said.append(text)
            self._new_speech.append(text)

    def whole(self, raw: str) -> TextCall | None:
        """Return the call that the finished object is, or None; what it says and was not yet told is so now."""
        if not self._is_named or self._arguments is None:
            return None
        value = _parsed(raw)
        for key in self._arguments:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            value = _parsed(value)
        text = _written(value) if isinstance(value, dict) else None
        if text is None or not isinstance(value, dict):
            return None
        self._say_the_rest(value)
        return TextCall(name=self._name, arguments=text)

    def _say_the_rest(self, arguments: Mapping[str, Any]) -> None:
        message, said = arguments.get("message"), "".join(self.said)
        if self._name == SPEECH_FUNCTION and isinstance(message, str):
            self._say(storable(message).removeprefix(said))


def _may_begin(text: str, names: Collection[str]) -> bool:
    if isinstance(names, _AnyName):
        return not text or text in names
    return any(name.startswith(text) for name in names)


def _opener(text: str, at: int) -> str | None:
    """Return what stands at `at` and may begin a call or stand before one; empty where more may decide, else None."""
    window = text[at : at + _OPENER_LIMIT_CHARS]
    if found := next((marker for marker in _CLOSED_BY if window.startswith(marker)), None):
        return found
    if named := _NAMED.match(window):
        return named.group()
    if any(marker.startswith(window) for marker in _CLOSED_BY) or _NAMED_BEGINS.fullmatch(window):
        return ""
    return window[0] if window[0] in "[{" else None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _parsed(raw: str) -> Any:
    """Return what the finished JSON means; None where that is not certain: a key twice, too deep, a huge number."""
    try:
        return json.loads(raw, strict=False, object_pairs_hook=_once_each, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _written(arguments: Mapping[str, Any]) -> str | None:
    try:
        return storable(json.dumps(arguments, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None


class _Kind(Enum):
    WORDS = auto()
    THOUGHTS = auto()


@dataclass(slots=True)
class _Monologue:
    """Words and thoughts in the order in which they come; space is held back until it is known to matter."""

    _parts: list[tuple[_Kind, list[str]]] = field(default_factory=list)
    _space: list[str] = field(default_factory=list)
    _anew: bool = False
    """A call has ended: what follows is a part of its own."""

    def add_words(self, text: str) -> str:
        """Take words and return what is new to show."""
        body = text.rstrip()
        if not body:
            self._space.append(text)
            return ""
        whole = "".join(self._space) + body
        self._space = [text[len(body) :]]
        return self._add(_Kind.WORDS, whole if self._goes_on(_Kind.WORDS) else whole.lstrip())

    def add_thoughts(self, text: str) -> str:
        """Take thoughts and return what is new to show."""
        self._space = []
        return self._add(_Kind.THOUGHTS, text)

    def end_call(self) -> None:
        """Note that a call has ended: space around it means nothing."""
        self._space = []
        self._anew = True

    def end(self) -> str:
        """Take the space at the end for what it is, and return what of it is new to show."""
        space = "".join(self._space)
        return self._add(_Kind.WORDS, space) if space and self._goes_on(_Kind.WORDS) else ""

    @property
    def words(self) -> str:
        """The words alone."""
        return self._joined(_Kind.WORDS)

    @property
    def thoughts(self) -> str:
        """The thoughts alone."""
        return self._joined(_Kind.THOUGHTS)

    @property
    def text(self) -> str:
        """All of it."""
        return self._joined(*_Kind)

    def _goes_on(self, kind: _Kind) -> bool:
        if self._anew:
            return False
        return not self._parts or self._parts[-1][0] is kind

    def _add(self, kind: _Kind, text: str) -> str:
        if not self._parts or self._anew or self._parts[-1][0] is not kind:
            between = "\n" if self._parts else ""
            self._parts.append((kind, [text]))
            self._anew = False
            return between + text
        self._parts[-1][1].append(text)
        return text

    def _joined(self, *kinds: _Kind) -> str:
        return "\n".join("".join(pieces) for kind, pieces in self._parts if kind in kinds)

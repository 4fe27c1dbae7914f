"""A JSON object while it is written: read in pieces of any size, in linear time, to any depth."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Literal, NamedTuple

from memos.safe_text import storable

Path = tuple[str | None, ...]
"""The keys that lead to a value; None for a place in an array."""

_TOLD_DEPTH = 3
_SCALAR_LIMIT_CHARS = 400
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_STOP = re.compile(r'["\\]')
_SCALAR = re.compile(r"[-+.0-9A-Za-z]*")
_WHOLE_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_HALF_A_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")
_ESCAPE_BEGINS = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_PLAIN_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Told(NamedTuple):
    """What became certain: a `key`, a value that `opens` ({ or [), a piece of a `string`, or a `scalar`.

    `path` leads to the value, the key included. `ends`: no further piece of the string follows.
    """

    kind: Literal["key", "opens", "string", "scalar"]
    path: Path
    text: str = ""
    ends: bool = False


class _Expects(Enum):
    VALUE = auto()
    VALUE_OR_END = auto()
    KEY = auto()
    KEY_OR_END = auto()
    COLON = auto()
    COMMA_OR_END = auto()
    STRING_ENDS = auto()
    SCALAR_ENDS = auto()


_A_VALUE = (_Expects.VALUE, _Expects.VALUE_OR_END)
_A_KEY = (_Expects.KEY, _Expects.KEY_OR_END)
_AN_END = {
    "}": ("{", (_Expects.KEY_OR_END, _Expects.COMMA_OR_END)),
    "]": ("[", (_Expects.VALUE_OR_END, _Expects.COMMA_OR_END)),
}


class GrowingJson:
    """Follows one object or array to its end and tells of what lies in it, three levels deep.

    Strict, but that a string may hold line breaks and other control characters as they are: models write them so, and
    it can mean one thing only. Texts it tells are storable, never half an escape, never half a surrogate pair.
    """

    def __init__(self) -> None:
        self.whole = False
        self.wrong = False
        self._expects = _Expects.VALUE
        self._open: list[str] = []
        self._keys: list[str | None] = []
        self._token: list[str] = []
        self._token_chars = 0
        self._in_key = False

    def feed(self, text: str, at: int) -> tuple[int, Told | None]:
        """Read on from `at`; return how far, and the first thing there is to tell.

        None: it is `whole`, or `wrong` at that place, or it needs more; what it has not read by then (half an escape at
        most) must be given again, before what follows.
        """
        told = None
        while told is None and not (self.whole or self.wrong):
            before = at, self._expects
            if self._expects is _Expects.STRING_ENDS:
                at, told = self._string(text, at)
            elif self._expects is _Expects.SCALAR_ENDS:
                at, told = self._scalar(text, at)
            else:
                at, told = self._sign(text, at)
            if (at, self._expects) == before:
                break
        return at, told

    def _told(
        self, kind: Literal["key", "opens", "string", "scalar"], text: str = "", ends: bool = False
    ) -> Told | None:
        return Told(kind, tuple(self._keys), text, ends) if len(self._keys) <= _TOLD_DEPTH else None

    def _sign(self, text: str, at: int) -> tuple[int, Told | None]:
        """Read one sign of the structure, or the first of a string or scalar."""
        at = match.end() if (match := _SPACE.match(text, at)) else at
        if at == len(text):
            return at, None
        sign, expects = text[at], self._expects
        if sign == '"' and expects in _A_VALUE + _A_KEY and self._open:
            self._in_key = expects in _A_KEY
            self._expects = _Expects.STRING_ENDS
        elif sign in "{[" and expects in _A_VALUE:
            return at + 1, self._opens(sign)
        elif sign in _AN_END and self._open[-1:] == [_AN_END[sign][0]] and expects in _AN_END[sign][1]:
            self._closes()
        elif sign == ":" and expects is _Expects.COLON:
            self._expects = _Expects.VALUE
        elif sign == "," and expects is _Expects.COMMA_OR_END:
            self._expects = _Expects.KEY if self._open[-1] == "{" else _Expects.VALUE
        elif sign in "-0123456789tfn" and expects in _A_VALUE and self._open:
            self._expects = _Expects.SCALAR_ENDS
            return at, None
        else:
            self.wrong = True
            return at, None
        return at + 1, None

    def _opens(self, sign: str) -> Told | None:
        told = self._told("opens", sign)
        self._open.append(sign)
        self._keys.append(None)
        self._expects = _Expects.KEY_OR_END if sign == "{" else _Expects.VALUE_OR_END
        return told

    def _closes(self) -> None:
        self._open.pop()
        self._keys.pop()
        self.whole = not self._open
        self._expects = _Expects.COMMA_OR_END

    def _scalar(self, text: str, at: int) -> tuple[int, Told | None]:
        end = match.end() if (match := _SCALAR.match(text, at)) else at
        self._token.append(text[at:end])
        self._token_chars += end - at
        if end == len(text) and self._token_chars <= _SCALAR_LIMIT_CHARS:
            return end, None
        token = self._taken_token()
        if len(token) > _SCALAR_LIMIT_CHARS or not _WHOLE_SCALAR.fullmatch(token):
            self.wrong = True
            return end, None
        self._expects = _Expects.COMMA_OR_END
        return end, self._told("scalar", token)

    def _string(self, text: str, at: int) -> tuple[int, Told | None]:
        pieces: list[str] = []
        ends = False
        while not ends:
            stop = _STRING_STOP.search(text, at)
            end = stop.start() if stop else len(text)
            pieces.append(text[at:end])
            at = end
            if stop is None:
                break
            if text[at] == '"':
                at, ends = at + 1, True
                continue
            length, said = _escape(text, at)
            self.wrong = length < 0
            if length <= 0:
                break
            pieces.append(said)
            at += length
        return at, self._string_told("".join(pieces), ends)

    def _string_told(self, text: str, ends: bool) -> Told | None:
        if not self._in_key:
            if ends:
                self._expects = _Expects.COMMA_OR_END
            return self._told("string", text, ends) if text or ends else None
        if len(self._keys) <= _TOLD_DEPTH:
            self._token.append(text)
        if not ends:
            return None
        self._expects = _Expects.COLON
        self._keys[-1] = self._taken_token()
        return self._told("key")

    def _taken_token(self) -> str:
        token = "".join(self._token)
        self._token, self._token_chars = [], 0
        return token


def _escape(text: str, at: int) -> tuple[int, str]:
    """Return the length of the escape at `at` and what it says; 0 where more may decide, -1 where it is none."""
    if pair := _PAIR.match(text, at):
        high, low = (int(half, 16) for half in pair.groups())
        return 12, chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    rest = text[at : at + 12]
    if _ESCAPE_BEGINS.fullmatch(rest) or _HALF_A_PAIR.fullmatch(rest):
        return 0, ""
    if single := _ESCAPE.match(text, at):
        plain, code = single.groups()
        return len(single.group()), _PLAIN_ESCAPES[plain] if plain else storable(chr(int(code, 16)))
    return -1, ""

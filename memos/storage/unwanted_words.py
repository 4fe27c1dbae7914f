"""The words that are to be forgotten, and where they stand: in text, in JSON, in the bytes of a file.

They are matched as they are written, in whatever letter case, Unicode form, spacing and escaping; never by meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from memos.errors import BadInput
from memos.safe_text import storable

LEAST_CHARS = 2
_DEPTH_OF_ESCAPES = 3
"""JSON in JSON in JSON: arguments within calls within a line that was exported."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROL_ESCAPES = frozenset("nrtbf")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_BULLET = re.compile(r"\s*(?:[-*•]|\d+\.)\s+")
_SPACE_BYTES = (b"\xc2\xa0", b"\xe3\x80\x80")


class UnwantedWords:
    """What a person wants forgotten. Raises: BadInput, where that is too short to be meant."""

    def __init__(self, query: str) -> None:
        self.folded = folded(storable(query))
        """The words as they are compared: NFC, without letter case, with single spaces."""
        if len(self.folded) < LEAST_CHARS:
            raise BadInput(
                f"What is to be forgotten has at least {LEAST_CHARS} characters.",
                "name the words themselves, such as a name, a number or a part of a sentence",
            )

    def stand_in(self, text: str) -> bool:
        """Whether the words stand in a text, plain or escaped."""
        return any(self.folded in folded(view) for view in _views(text))

    def stand_in_json(self, text: str, ours: frozenset[str] = frozenset()) -> bool:
        """Whether they stand in a string of some JSON, or in a key that is not one of `ours`.

        Where the text is no JSON all of it counts.
        """
        return self.stand_in(text) and any(self.stand_in(leaf) for leaf in _leaves(text, ours))

    def place_in(self, text: str) -> int:
        """Return about where they begin in a text, for showing it; 0 where that is not known."""
        return max(0, text.casefold().find(self.folded))

    def lines_without(self, text: str) -> str:
        """Return a text without the lines in which they stand."""
        if not self.stand_in(text):
            return text
        return self._if_clean("\n".join(self._without(text.split("\n"), "\n")).strip("\n"))

    def sentences_without(self, text: str) -> str:
        """Return a text without the sentences in which they stand; a line that loses all of its own goes."""
        if not self.stand_in(text):
            return text
        lines = [kept for line in text.split("\n") if (kept := self._rest_of(line)) is not None]
        return self._if_clean("\n".join(self._without(lines, "\n")))

    def fingerprint(self, salt: str) -> str:
        """Return the sha256, in hexadecimal, of the salt and the words in the form in which they were compared."""
        return hashlib.sha256(f"{salt}{self.folded}".encode("utf-8", "surrogatepass")).hexdigest()

    def pattern(self) -> re.Pattern[bytes]:
        """Return what finds them in bytes: in UTF-8 and UTF-16, either case, and escaped as in JSON."""
        utf8 = b"".join(_utf8_forms(char) for char in self.folded)
        wide = [b"".join(_wide_forms(char, code) for char in self.folded) for code in ("utf-16-le", "utf-16-be")]
        return re.compile(b"|".join([utf8, *wide]), re.IGNORECASE)

    @property
    def longest_bytes(self) -> int:
        """No find of `pattern` is longer, but for one with very many spaces or backslashes."""
        return 32 * len(self.folded) + 64

    def _rest_of(self, line: str) -> str | None:
        if not self.stand_in(line):
            return line
        bullet = found[0] if (found := _BULLET.match(line)) else ""
        rest = self._without(_SENTENCE_END.split(line[len(bullet) :]), " ")
        return bullet + " ".join(rest) if rest else None

    def _without(self, parts: Sequence[str], joint: str) -> list[str]:
        """Return the parts but those in which the words stand, alone or together with their neighbours."""
        kept = list(parts)
        for size in range(1, len(parts) + 1):
            if not self.stand_in(joint.join(kept)):
                break
            place = 0
            while place + size <= len(kept):
                if self.stand_in(joint.join(kept[place : place + size])):
                    del kept[place : place + size]
                else:
                    place += 1
        return kept

    def _if_clean(self, text: str) -> str:
        return "" if self.stand_in(text) else text


def folded(text: str) -> str:
    """Return a text as two are compared: NFC, without letter case, and with single spaces."""
    if text.isascii():
        return " ".join(text.lower().split())
    normal = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(normal.split())


def _views(text: str) -> Iterator[str]:
    """Yield a text as it is, and as it reads once its escapes are undone."""
    yield text
    for _ in range(_DEPTH_OF_ESCAPES):
        if "\\" not in text:
            return
        text = storable(_ESCAPE.sub(_meant, text))
        yield text


def _meant(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return " " if escape[2] in _CONTROL_ESCAPES else escape[2]


def _leaves(text: str, ours: frozenset[str]) -> Iterator[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield text
    else:
        yield from _strings(value, ours)


def _strings(value: Any, ours: frozenset[str]) -> Iterator[str]:
    if isinstance(value, str):
        if value[:1] in ("{", "["):
            yield from _leaves(value, ours)
        else:
            yield value
    elif isinstance(value, dict):
        yield from (key for key in value if key not in ours)
        yield from (leaf for inner in value.values() for leaf in _strings(inner, ours))
    elif isinstance(value, list):
        yield from (leaf for inner in value for leaf in _strings(inner, ours))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _cases(char: str) -> Iterable[str]:
    forms = (char, char.lower(), char.upper(), char.title())
    return dict.fromkeys(form for way in ("NFC", "NFD") for form in (unicodedata.normalize(way, f) for f in forms))


def _utf8_forms(char: str) -> bytes:
    if char == " ":
        return rb"(?:\s|\\+[nrtbf]|\\+u00(?:a0|0[9ad]|20)|" + b"|".join(map(re.escape, _SPACE_BYTES)) + rb")+"
    forms = [re.escape(form.encode("utf-8", "surrogatepass")) for form in _cases(char)]
    if char.isascii() and char.isalnum():
        return forms[0]
    escaped = [b"".join(_escapes(form)) for form in _cases(char)]
    plain = rb"\\*" if char.isascii() else b""
    return plain + b"(?:" + b"|".join([*forms, *escaped]) + b")"


def _escapes(form: str) -> Iterator[bytes]:
    for char in form:
        raw = b"" if char.isascii() and char.isalnum() else char.encode("utf-16-be", "surrogatepass")
        yield b"".join(rb"\\+u" + raw[at : at + 2].hex().encode() for at in range(0, len(raw), 2)) or char.encode()


def _wide_forms(char: str, encoding: str) -> bytes:
    if char == " ":
        spaces = (re.escape(space.encode(encoding)) for space in " \t\n\r\u00a0")
        return b"(?:" + b"|".join(spaces) + b")+"
    return b"(?:" + b"|".join(re.escape(form.encode(encoding, "surrogatepass")) for form in _cases(char)) + b")"

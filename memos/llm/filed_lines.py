"""Lines the clerk has filed: how they are written and read again, from a block and from search results."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FILED = re.compile(r'^(?P<day>\d{4}-\d\d-\d\d): "(?P<words>.*)"$')
_SEVERAL = re.compile(r'(?P<day>\d{4}-\d\d-\d\d): "(?P<words>.*?)"(?= \d{4}-\d\d-\d\d: "|$)')
_HIT = re.compile(r"^\[(?P<day>\d{4}-\d\d-\d\d)[^\]]*\] (?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class FiledLine:
    """Words that are stored. `day` (local, YYYY-MM-DD) is when they were said, "" where nobody noted it."""

    words: str
    day: str = ""
    speaker: str = ""

    @classmethod
    def read(cls, line: str) -> FiledLine:
        """Read one line of a block."""
        found = _FILED.match(line.strip())
        return cls(found["words"], found["day"]) if found else cls(line.strip())

    @property
    def as_written(self) -> str:
        """The line as it stands in a block."""
        return f'{self.day}: "{self.words}"' if self.day else self.words


def filed_lines(text: str) -> list[FiledLine]:
    """Read the lines of a block or of archived text."""
    lines = (line.strip() for line in text.splitlines())
    return [FiledLine.read(line) for line in lines if line]


def search_hits(result: str, *, spoken: bool) -> list[FiledLine]:
    """Read a page of search results; in `spoken` ones (recall storage) each line begins with who spoke."""
    hits = []
    for line in result.splitlines():
        if not (found := _HIT.match(line.strip())):
            continue
        speaker, colon, words = found["rest"].partition(": ") if spoken else ("", "", found["rest"])
        if spoken and not colon:
            continue
        inner = [] if spoken else list(_SEVERAL.finditer(words))  # a passage of several lines comes on one
        hits += [FiledLine(line["words"], line["day"]) for line in inner] or [FiledLine(words, found["day"], speaker)]
    return hits

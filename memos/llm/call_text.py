"""Calls that a model writes as text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from memos.messages import MonologueDelta, ReplyPart


@dataclass(frozen=True, slots=True)
class TextCall:
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FoundCalls:
    words: str = ""
    thoughts: str = ""
    calls: tuple[TextCall, ...] = ()
    said: str = ""
    broken: bool = False


class CallText:
    def __init__(self, offered: Collection[str]) -> None:
        self._words: list[str] = []

    def feed(self, piece: str) -> list[ReplyPart]:
        self._words.append(piece)
        return [MonologueDelta(piece)] if piece else []

    def finish(self) -> FoundCalls:
        return FoundCalls("".join(self._words))

"""The words of a query as they may stand in a text: in another form, with or without accents."""

from __future__ import annotations

import re
import unicodedata

from memos.memory.query_terms import search_terms

_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s)$")
_LONG_CHARS, _LONG_ENDING_CHARS = 8, 3
"""A longer word may differ in so many of its last letters: conversation, conversational."""


def word_patterns(query: str) -> list[re.Pattern[str]]:
    """Return a pattern for each distinct word of `query`: it finds the word's forms in a text without accents."""
    words = (word for term in search_terms(query) for word in _WORD.findall(without_accents(term)))
    stems = dict.fromkeys(_stem(word.casefold()) for word in words)
    return [re.compile(rf"\b{re.escape(stem)}\w*", re.IGNORECASE) for stem in stems]


def without_accents(text: str) -> str:
    """Return a text of the same length whose letters have lost their accents, as in the index."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFD", character)[0] for character in text)


def coverage(text: str, patterns: list[re.Pattern[str]]) -> float:
    """Return the share of the words looked for that a text has, 0 to 1."""
    plain = without_accents(text)
    return sum(bool(pattern.search(plain)) for pattern in patterns) / max(1, len(patterns))


def _stem(word: str) -> str:
    stem = _ENDING.sub("", word)
    return stem[:-_LONG_ENDING_CHARS] if len(stem) > _LONG_CHARS else stem

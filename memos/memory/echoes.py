"""Echoes: rows that ask what the query asks and say nothing else. They answer nothing, so statements come first."""

from __future__ import annotations

import re

from memos.memory.query_terms import search_terms

_LIMIT_CHARS = 300
_STEM = re.compile(r"(?<=\w{3})(ings?|ed|es|e|s)$")
_ADDRESS = re.compile(
    r"^(hi|hello|hey|ok|okay|well|so|and|please|sorry|thanks|thank you|by the way|one more thing)\b"
    r"[^.,:!?]{0,24}[.,:!]+\s+"
)
_ASKS = re.compile(
    r"(who|whom|whose|what|which|when|where|why|how|do|does|did|is|are|am|was|were|can|could|will|would|should|has|have"
    r"|had|may|might|tell me|remind me|show me|find out|do you (know|remember))\b"
)
_KNOWN = frozenset(("know", "remember", "remind", "say", "said", "now", "today", "still", "again", "show", "find"))
"""What a question may hold besides its matter."""


def stems(text: str) -> frozenset[str]:
    """Return what the terms of `text` are about, whatever their ending."""
    words = (word for term in search_terms(text) for word in term.strip('"').casefold().split())
    return frozenset(_STEM.sub("", word) for word in words) - _KNOWN


def is_echo(text: str, query_stems: frozenset[str]) -> bool:
    """Whether `text` is a question with no word of its own: all that it is about stands in the query already."""
    if len(text) > _LIMIT_CHARS or not query_stems:
        return False
    asked = _ADDRESS.sub("", " ".join(text.split()).casefold())
    if not (asked.endswith(("?", "？", "؟")) or _ASKS.match(asked)):
        return False
    return stems(asked) <= query_stems

"""What an answer is worth, decided by its words alone: no LLM judges, so the same answer always counts the same.

A value counts as said where all its content words stand in the text, in any order, letter case, accents and a plural
aside. What that cannot see: a value said in other words (a miss), a statement about something nobody listed (seen only
where it begins like one), and a denial that names the value. So read the misses (`--misses`) beside the numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from memos.cli.bench.people import NAME, Fact, Line, attribute, names

GREETING_LIMIT_WORDS = 25
_STOP_WORDS = frozenset(
    ("a", "an", "the", "of", "in", "on", "at", "my", "our", "by", "near", "under", "to", "and", "for", "with", "from")
)
_ASKING_WORDS = frozenset(("which", "where", "whose", "would", "could", "about", "there", "these"))
_FIRST_UNSPACED = 0x2E80
"""From this code point on, scripts are written without blanks between words."""
_MARKERS = re.compile(
    r"\bnothing\b|\bunknown\b|\bnot in my\b"
    r"|(?:\bdo not|n't|\bdont|\bnot) (?:know|have|recall|remember|see)\b"
    r"|\bno (?:record|note|information|mention|memory|idea|entry|details?|data)\b"
    r"|(?:\bnot|\bnever|n't|\bnor) (?:yet |actually )?(?:been )?(?:told|tell|mention|mentioned|said|say|shared|share"
    r"|given|give|find|found|stored|filed|recorded|noted|known|aware|sure|specified|provided)\b"
    r"|\b(?:cannot|unable to) (?:find|say|tell|recall|remember|answer|determine|see)\b"
)
"""Ways to say that one does not know, whatever the model; English only."""
_STATEMENT = re.compile(
    r"\byour\b[^.?!]{1,60}?\b(?:is|are|was|were)\b"
    r"|\byou (?:live|play|speak|drive|work|grew|own|prefer|take|come|came)\b"
)
_STATEMENT_ON_THE_TOPIC = re.compile(r"\byou(?:'re|'ve| are| were| have| had| like| read| did| do)\b")


def said(value: str, text: str) -> bool:
    """Whether `text` says `value`."""
    folded = _folded(_without_dates(text))
    words = set(re.findall(r"\w+", folded))
    return all(_stands(word, words, folded) for word in _content_words(value))


def _stands(word: str, words: set[str], folded: str) -> bool:
    if any(ord(character) >= _FIRST_UNSPACED for character in word):
        return word in folded
    return bool({word, f"{word}s", f"{word}es"} & words) or (word.endswith("s") and word[:-1] in words)


def _content_words(value: str) -> list[str]:
    words = re.findall(r"\w+", _folded(value))
    return [word for word in words if word not in _STOP_WORDS] or words


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("’", "'").casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _without_dates(text: str) -> str:
    return re.sub(r"\b\d{4}-\d\d-\d\d\b|\b\d\d?:\d\d\b", " ", text)


def says_it_is_unknown(line: Line, answer: str, told: Iterable[Fact]) -> bool:
    """Whether the answer to something never told says so, and names neither a value of it nor another told fact."""
    if any(said(value, answer) for value in attribute(line.facts[0].attribute).values):
        return False
    if any(said(fact.value, answer) for fact in told if fact.attribute != NAME):
        return False
    return _has_marker(answer)


def _has_marker(answer: str) -> bool:
    return _MARKERS.search(_folded(answer)) is not None


def is_sane_greeting(answer: str, name: str, calls: Iterable[str]) -> bool:
    """Whether a greeting was answered with one short sentence that states nothing, and nothing was filed for it."""
    words = answer.split()
    ends = re.findall(r"[.!?…。！？]+(?=\s|$)", answer.strip())
    if not 0 < len(words) <= GREETING_LIMIT_WORDS or len(ends) > 1 or "\n" in answer.strip():
        return False
    wrote = any(call.startswith(("core_memory_", "archival_memory_insert")) for call in calls)
    return not wrote and not _quotes(answer) and not _has_marker(answer) and not names_another(answer, name)


def _quotes(answer: str) -> bool:
    return bool(re.search(r"you told me|my notes say", _folded(answer)))


def names_another(answer: str, name: str) -> bool:
    """Whether the answer calls the person by the name of somebody else."""
    others = [other for found in names().values() for other in found if other != name and not said(other, name)]
    if any(said(other, answer) for other in others):
        return True
    called = re.search(r"(?:^|[.!?] )[\w ]{2,20}, ([^\W\d_]\w+)\s*[.!?]", answer)
    return bool(called and called[1][0].isupper() and not said(called[1], name))


def is_wrong_statement(line: Line, answer: str, told: Iterable[Fact]) -> bool:
    """Whether the answer states something about the person that they never told.

    For a question: a value of that attribute that was never told; and where nothing was told at all, words that make a
    statement ("your … is", "you live …", "you have …" on what was asked), are no quotation, and neither ask nor deny.
    """
    known = {fact.value for fact in told} | {fact.old for fact in told}
    for fact in line.facts:
        never = [value for value in attribute(fact.attribute).values if value not in known]
        if any(said(value, answer) and not _within_told(value, known) for value in never):
            return True
    return bool(line.facts) and not line.facts[0].value and _states_something(line.text, answer)


def _within_told(value: str, known: Iterable[str]) -> bool:
    """Whether saying something told already says `value`, as "Mr. Hahn" says "Hahn"."""
    return any(said(value, other) for other in known if other)


def _states_something(question: str, answer: str) -> bool:
    plain = _folded(re.sub(r'["“„«][^"”“»]*["”“»]', " ", answer)).replace("you told me", " ")
    if "?" in plain or _MARKERS.search(plain):
        return False
    if _STATEMENT.search(plain):
        return True
    shared = _topics(_folded(question)) & _topics(plain)
    return bool(shared and _STATEMENT_ON_THE_TOPIC.search(plain))


def _topics(folded: str) -> set[str]:
    """Return how the longer words begin."""
    return {word[:5] for word in re.findall(r"\w+", folded) if len(word) > 4 and word not in _ASKING_WORDS}

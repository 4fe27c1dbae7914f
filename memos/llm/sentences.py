"""A message cut into sentences, and a sentence into the facts it tells, each in the user's own words.

A fact of its own can be corrected and taken out without losing what stood beside it. A sentence is cut only at a
joint ("and", a comma, …) with a whole statement on either side, as the trained layer reads them: more surely so where
the second does not begin with "I", "we" or the like, and never before "she", "it", "his", which need the words before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from memos.llm.meaning import CORRECTION, FACT, FRAGMENT, LEAD, TALK, Meaning

_SENTENCES_LIMIT = 8
_WHOLE = -0.8
"""From this log probability on a piece counts as a statement of its own."""
_TOLD = {FACT, CORRECTION, FRAGMENT, TALK}
_LINKS = r"(?:and|but|besides|also|plus|by the way|btw)\b"
_JOINT = re.compile(rf"\s*[;–—]\s+(?:{_LINKS}[\s,]*)*|\s*,\s+(?:{_LINKS}[\s,]*)*|\s+(?:{_LINKS}[\s,]*)+", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"(?:he|she|it|they|him|her|his|hers|its|them|their|theirs|that|this|these|those)\b", re.IGNORECASE
)
_NEEDS_WORDS_BEFORE = re.compile(
    rf"{_POINTS_BACK.pattern}|(?:who|whose|which|where|when|while|because|so|if|then|there|not|no|or|as|since|until"
    r"|though|although|one|both|neither|too)\b",
    re.IGNORECASE,
)


_SPEAKER = re.compile(
    r"(?:i|i['’]\w+|im|ive|we|we['’]\w+|ich|wir|je|j['’]\w+|nous|yo|io|eu|ik|wij|jag|vi|я|мы|ja)\b", re.IGNORECASE
)


def sentences(text: str) -> list[str]:
    """Cut a message into at most eight pieces, at line ends and after the marks that end a sentence."""
    found: list[str] = []
    for piece in re.split(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+", text):
        if not (words := " ".join(piece.split())):
            continue
        if found and (len(found) >= _SENTENCES_LIMIT or _ends_in_abbreviation(found[-1])):
            found[-1] += f" {words}"
        else:
            found.append(words)
    return found


def joined(found: Sequence[str], meaning: Meaning) -> list[str]:
    """Put a remark ("Wrong town!") together with what it announces, and "it is …" with the sentence that says what."""
    whole: list[str] = []
    lead = ""
    for words in found:
        label = _label(words, meaning)
        if label == LEAD:
            lead = f"{lead} {words}".strip()
        elif whole and not lead and _POINTS_BACK.match(words) and {label, _label(whole[-1], meaning)} <= _TOLD:
            whole[-1] += f" {words}"
        else:
            whole.append(f"{lead} {words}".strip())
            lead = ""
    return [*whole, lead] if lead else whole


def single_facts(sentence: str, meaning: Meaning) -> list[str]:
    """Cut a sentence that tells several facts into those, or return it as the only one."""
    best: tuple[float, str, str] | None = None
    for joint in _JOINT.finditer(sentence):
        first, second = sentence[: joint.start()].strip(), sentence[joint.end() :].strip()
        if len(first.split()) < 2 or len(second.split()) < 2 or _NEEDS_WORDS_BEFORE.match(second):
            continue
        speaks = _SPEAKER.match(second) is not None
        sure = min(_whole(first, meaning, ended=speaks), _whole(second, meaning, ended=speaks))
        if sure >= _WHOLE and (best is None or sure > best[0]):
            best = sure, first, second
    if best is None:
        return [sentence]
    return [*single_facts(best[1], meaning), *single_facts(best[2], meaning)]


def without_request(sentence: str, meaning: Meaning) -> str:
    """Return what follows "keep in the archive:" or the like, or the sentence as it is."""
    request, colon, fact = sentence.partition(": ")
    return fact if colon and request and _whole(fact, meaning, ended=True) >= _WHOLE else sentence


def _label(words: str, meaning: Meaning) -> str:
    labels = meaning.labels(words)
    return max(labels, key=lambda label: labels[label])


def _whole(piece: str, meaning: Meaning, *, ended: bool) -> float:
    """Return how surely a piece is a statement by itself (a log probability), with a full stop or without.

    To the layer a full stop makes a statement of almost anything, so it is asked for only where "I" or "we" goes on.
    """
    bare = piece.rstrip(" .!")
    labels = meaning.labels(f"{bare}." if ended else bare)
    return max(labels[FACT], labels[CORRECTION])


def _ends_in_abbreviation(piece: str) -> bool:
    """Whether the last mark may belong to a title or an initial, as in Mrs. or J.; then the sentence goes on."""
    last = piece.rsplit(maxsplit=1)[-1]
    return " " in piece and last.endswith(".") and last[0].isupper() and len(last) <= 4

"""Words of a question as terms for full-text search: any text in, an expression out that FTS5 always accepts."""

from __future__ import annotations

import re

from memos.safe_text import storable

TERM_LIMIT = 64
"""Terms looked for at most; a query of ten thousand words is cut to its first distinct ones."""

_QUOTED = re.compile(r'"([^"]*)"')
_BETWEEN_WORDS = re.compile(r"[\s,;!?()\[\]{}<>|*^~`…]+")
_EDGES = ".:'-/&=\"_"
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # radicals, kana
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"  # Hangul: its words are spaced, but grow endings
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
_HIRAGANA_PAIR = re.compile("[\u3040-\u309f]{2}")
_TYPOGRAPHIC = str.maketrans("‘’ʼ“”„«»", "'''" + '"' * 5)

_STOP_TEXT = """
a about above after again against all also am an and any anyone anything are aren't as at
be because been before being below between both but by
can can't cannot could couldn't
did didn't do does doesn't doing don't done down during
each either else ever every
few for from further
get gets got
had hadn't has hasn't have haven't having he he'd he'll he's her here hers herself him himself his how how's
i i'd i'll i'm i've if in into is isn't it it'd it'll it's its itself
just
let let's like
many me might mine more most much must my myself
neither no nor not
of off on once only or other our ours ourselves out over own
please
rather really
same shall she she'd she'll she's should shouldn't since so some someone something such
tell than that that's the their theirs them themselves then there there's these they they'd they'll they're
they've this those though through to too
under until up upon us
very
was wasn't we we'd we'll we're we've were weren't what what's when when's where where's whether which while who
who's whom whose why why's will with within without won't would wouldn't
yes yet you you'd you'll you're you've your yours yourself yourselves
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())


def search_terms(text: str) -> list[str]:
    """Return the terms of `text`, each as a quoted FTS5 string, in order, without repetition, at most 64.

    What stands between quotation marks, and what holds punctuation or digits inside (identifiers, hyphenated words),
    is one phrase. English stop words are left out, unless nothing else is there.
    """
    plain = storable(text).translate(_TYPOGRAPHIC)
    phrases = [match.strip() for match in _QUOTED.findall(plain)]
    pieces = (part for piece in _BETWEEN_WORDS.split(_QUOTED.sub(" ", plain)) for part in _parts(piece))
    words = [word for part in pieces if (word := _word(part))]
    telling = [word for word in words if word.casefold() not in STOP_WORDS]
    return _distinct([*phrases, *telling] if phrases or telling else words)


def fts_query(text: str) -> str | None:
    """Return an FTS5 expression that finds rows with any term of `text`, or None where it holds no word at all."""
    return " OR ".join(map(spaced, search_terms(text))) or None


def spaced(text: str) -> str:
    """Return `text` with spaces around each character of languages written without them, as the index has it.

    Full-text search takes what stands between spaces for one word; so it finds any run of characters as a phrase.
    """
    return _UNSPACED_CHARACTER.sub(r" \g<0> ", text) if _UNSPACED_CHARACTER.search(text) else text


def _parts(piece: str) -> list[str]:
    """Return a piece of text whole, or where it is written without spaces, its overlapping pairs of characters."""
    if piece.isascii() or not _UNSPACED_CHARACTER.search(piece):
        return [piece]
    parts: list[str] = []
    for run in _UNSPACED_RUN.findall(piece):
        pairs = [run[place : place + 2] for place in range(len(run) - 1)] or [run]
        telling = [pair for pair in pairs if not _HIRAGANA_PAIR.fullmatch(pair)]  # mostly endings and particles
        parts += telling or pairs
    return [*(part for part in _UNSPACED_RUN.split(piece) if part), *parts]


def _word(piece: str) -> str:
    """Return a word without the punctuation around it and without a possessive ending."""
    word = piece.strip(_EDGES)
    return word[:-2] if word.casefold().endswith("'s") and word.casefold() not in STOP_WORDS else word


def _distinct(candidates: list[str]) -> list[str]:
    terms: dict[str, str] = {}
    for candidate in candidates:
        key = candidate.casefold()
        if key not in terms and any(character.isalnum() for character in candidate):
            terms[key] = '"' + candidate.replace('"', " ") + '"'
            if len(terms) == TERM_LIMIT:
                break
    return list(terms.values())

"""A tokenizer that is always at hand: cl100k_base, read as data from the litellm package, so nothing is ever fetched.

Until it is loaded (0.2 s), and where a later litellm no longer brings the file, an estimate from bytes stands in.
"""

from __future__ import annotations

import binascii
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

NAME = "cl100k_base"
_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""What tiktoken calls the file in a cache: the SHA-1 of its address."""
_RANKS = 100_256
_WORDS = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
_PIECE_CHARS = 4_000
"""Byte pair encoding can take a time that grows with the square of a run without a break; pieces bound it."""
_BLANK_WITHIN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Counts the tokens of a text; `name` tells its counts from those of another."""

    name: str
    count: Callable[[str], int]


def _estimate(text: str) -> int:
    if text.isascii():
        return (len(text) + 3) // 4
    ascii_chars = sum(map(str.isascii, text))
    other_bytes = len(text.encode("utf-8", "surrogatepass")) - ascii_chars
    return (ascii_chars + 3) // 4 + (other_bytes + 1) // 2


ESTIMATE = Tokenizer("bytes", _estimate)
"""Four ASCII characters, or two bytes of anything else, make a token: no table, no time, and 20 % off at times."""

_loaded: list[Tokenizer] = []
_loading = threading.Lock()


def at_hand() -> Tokenizer:
    """Return the tokenizer if it is loaded, else the estimate."""
    return _loaded[0] if _loaded else ESTIMATE


def load() -> Tokenizer:
    """Load the tokenizer, once per process, and return it; the estimate where its file is not there. Blocking."""
    with _loading:
        if not _loaded:
            _loaded.append(_read() or ESTIMATE)
        return _loaded[0]


def _read() -> Tokenizer | None:
    path = _path()
    if path is None:
        return None
    try:
        import tiktoken

        words = path.read_bytes().split()  # token and rank in turn, in the order of the ranks
        ranks = dict(zip(map(binascii.a2b_base64, words[::2]), range(_RANKS), strict=True))
        if len(ranks) != _RANKS or int(words[-1]) != _RANKS - 1:
            return None
        # Without special tokens: what the user or a document writes is text, whatever it looks like.
        encoding = tiktoken.Encoding(name=NAME, pat_str=_WORDS, mergeable_ranks=ranks, special_tokens={})
    except (ImportError, OSError, ValueError):
        return None
    return Tokenizer(NAME, lambda text: sum(len(encoding.encode_ordinary(piece)) for piece in pieces(text)))


def _path() -> Path | None:
    spec = find_spec("litellm")  # finds the folder without importing anything
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers" / _FILE


def pieces(text: str) -> Iterator[str]:
    """Yield `text` in pieces of bounded length, cut before a blank where one is near."""
    start = 0
    while len(text) - start > _PIECE_CHARS:
        end = start + _PIECE_CHARS
        blank = max(text.rfind(" ", end - _BLANK_WITHIN_CHARS, end), text.rfind("\n", end - _BLANK_WITHIN_CHARS, end))
        end = blank if blank > start else end
        yield text[start:end]
        start = end
    yield text[start:]

"""What a benchmark needs that is no part of the project: the built-in model's weights, and data of others."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from memos.llm.weights import TINY, is_present

NO_WEIGHTS = "the built-in model's weights are not in the cache (MEMOS_CACHE): memos models get builtin/tiny"


def cache_folder() -> Path:
    """Return the cache folder that memos would take."""
    given = os.environ.get("MEMOS_CACHE")
    return Path(given) if given else user_cache_path("memos", appauthor=False)


def has_weights() -> bool:
    """Return whether the built-in model can run without a download."""
    return is_present(cache_folder(), TINY)


def shared_data(name: str) -> Path | str:
    """Return a file of `MEMOS_SHARED`'s data, or why there is none."""
    given = os.environ.get("MEMOS_SHARED")
    if not given:
        return f"MEMOS_SHARED is not set; {name} is looked for in its folder data"
    path = Path(given) / "data" / name
    return path if path.is_file() else f"there is no {path}"

"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def builtin_cache() -> Path:
    """Return the cache folder whose weights the tests use: the user's own, so that they are fetched once."""
    from platformdirs import user_cache_path

    given = os.environ.get("MEMOS_CACHE")
    return Path(given) if given else user_cache_path("memos", appauthor=False)

"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

if sys.platform != "win32":
    # A shell's `&` and nohup let signals be ignored, which every program that a test starts would inherit.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def usual_ports() -> Iterator[None]:
    """Keep other test processes from listening, or looking for servers, at the usual ports meanwhile."""
    with FileLock(Path(tempfile.gettempdir()) / "memos-tests-usual-ports.lock"):
        yield


@pytest.fixture(scope="session")
def builtin_cache() -> Path:
    """Return the cache folder whose weights the tests use: the user's own, so that they are fetched once."""
    from platformdirs import user_cache_path

    given = os.environ.get("MEMOS_CACHE")
    return Path(given) if given else user_cache_path("memos", appauthor=False)

"""httpx without what memos never uses of it: its command line and HTTP/2, most of what importing it costs."""

from __future__ import annotations

import sys

_UNUSED = ("httpx._main", "h2")
"""The command line imports click, Pygments and half of Rich; httpcore imports h2 wherever it is installed."""


def spare_unused_parts() -> None:
    """Keep the import of httpx that follows from importing those parts; a no-op once it is imported.

    httpx and httpcore then do as where the extras are not installed.
    """
    if "httpx" not in sys.modules:
        for name in _UNUSED:
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: not to be imported


def is_loopback(host: str) -> bool:
    """Whether a host is this computer: no proxy of the environment stands between."""
    return host in ("localhost", "::1") or host.startswith("127.")

"""The real program in a process of its own, with folders of its own and nothing of this machine's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_OURS = ("MEMOS_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
_SECRETS = ("_API_KEY", "AWS_")


def clean_environ(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without keys and settings of whoever runs the tests; the weights' cache stays theirs."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and not any(word in name for word in _SECRETS)
    }
    ours = {"MEMOS_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    key_store = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    return {**kept, **ours, **key_store, **more}


def memos(
    home: Path, *words: str, typed: str = "", environ: Mapping[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `memos WORDS` to its end, away from the checkout, with `typed` as its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "memos", *words],
        env=clean_environ(home, **(environ or {})),
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
        cwd="/",
    )


def memos_on_a_terminal(home: Path, *words: str, **environ: str) -> str:
    """Run `memos WORDS` to its good end on a terminal of 100 columns, and return all that it wrote there."""
    import pexpect

    child = pexpect.spawn(
        sys.executable,
        ["-m", "memos", *words],
        env=clean_environ(home, TERM="xterm-256color", **environ),
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 100),
        cwd="/",
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return str(child.before)

"""On what, and of what, something was measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, str]:
    """Return what the figures depend on, by name; the load is told apart, for it changes."""
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "RAM": ram(),
        "OS": platform.platform(),
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "SQLite": sqlite3.sqlite_version,
        "commit": commit(),
    }


def load() -> float | None:
    """Return the load average of the last minute, where the system has one."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def cpu_model() -> str:
    """Return the processor's name."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def ram() -> str:
    """Return how much memory there is, and how much of it was free when asked."""
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PHYS_PAGES", "SC_AVPHYS_PAGES"} <= set(names):
        return "unknown"
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    whole, free = (os.sysconf(name) * page_bytes / 1e9 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    return f"{whole:.1f} GB, {free:.1f} GB of it unused"


def commit() -> str:
    """Return the commit of this checkout, and whether anything in it is changed."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return f"{name}, with changes" if _git("status", "--porcelain") else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown: no checkout of git"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

"""Words for the user: one Markdown file a topic, shown by `memos help TOPIC`."""

from __future__ import annotations

import functools
from collections.abc import Mapping


@functools.cache
def topics() -> Mapping[str, str]:
    """Return every topic with the heading of its text."""
    from importlib.resources import files

    names = sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith(".md"))
    return {
        name.removesuffix(".md"): text_of(name.removesuffix(".md")).partition("\n")[0].lstrip("# ") for name in names
    }


def text_of(topic: str) -> str:
    """Return the text of a topic that exists."""
    from importlib.resources import files

    return (files(__name__) / f"{topic}.md").read_text(encoding="utf-8")

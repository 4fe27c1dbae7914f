"""Words for the LLM: the fixed instructions at the head of main context, one text per profile.

Source: Packer et al. 2023, §2.1 (system instructions are read-only and describe memory and control flow).
"""

from __future__ import annotations

from typing import Literal

Profile = Literal["full", "small"]
"""`full` for ordinary windows; `small` for tiny ones and models on the CPU, where each token is waited for."""

_FILES: dict[Profile, str] = {"full": "system.md", "small": "system_small.md"}


def system_instructions(profile: Profile) -> str:
    """Return the system instructions of `profile`: the same text in every prompt, so that providers can cache it."""
    from importlib.resources import files  # brings zipfile and tempfile: not at start-up

    return (files(__name__) / _FILES[profile]).read_text(encoding="utf-8").strip()

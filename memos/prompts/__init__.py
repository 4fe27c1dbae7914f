"""Words for the LLM: the fixed instructions at the head of main context, one text per profile.

Source: Packer et al. 2023, §2.1 (system instructions are read-only and describe memory and control flow).
"""

from __future__ import annotations

import functools

from memos.messages import Profile

_FILES: dict[Profile, str] = {"full": "system.md", "small": "system_small.md"}


def system_instructions(profile: Profile) -> str:
    """Return the system instructions of `profile`: the same text in every prompt, so that providers can cache it."""
    return _words(_FILES[profile])


def summary_instructions() -> str:
    """Return what a model is told that writes the recursive summary."""
    return _words("summarise.md")


def json_call_instructions(form: str, *, unaided: bool) -> str:
    """Return what a model is told that calls by writing JSON of this form; `unaided`: nothing holds it to the form."""
    told = _words("json_call.md").replace("{form}", form)
    return f"{told}\n{_words('json_call_unaided.md')}" if unaided else told


@functools.cache  # asked for at every step
def _words(file_name: str) -> str:
    from importlib.resources import files  # brings zipfile and tempfile: not at start-up

    return (files(__name__) / file_name).read_text(encoding="utf-8").strip()

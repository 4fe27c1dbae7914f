"""What one check found, as `memos doctor` prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from memos.errors import MemosError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do where it is not well.

    `exit_code` is that of the error a command would end with (`memos.errors`), 0 where nothing failed.
    """

    check: str
    status: Status
    text: str
    next_step: str = ""
    exit_code: int = 0


Findings = Iterator[Finding]


def ok(check: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, next_step: str) -> Finding:
    """Return a finding that memos works with, and could be better."""
    return Finding(check, "warn", text, next_step)


def failure(check: str, error: MemosError) -> Finding:
    """Return a finding that memos cannot work with, told by the error it means."""
    return Finding(check, "fail", error.what, error.next_step, error.exit_code)


def told(check: str, look: Callable[[], Findings]) -> Findings:
    """Yield what `look` finds; an error of ours that ends it is a finding too."""
    try:
        yield from look()
    except MemosError as error:
        yield failure(check, error)

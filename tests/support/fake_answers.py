"""What a scripted model says to one request, before anything spoils it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """A function call the model makes; `arguments` as an object, or raw text that may be broken."""

    name: str
    arguments: Mapping[str, Any] | str
    id: str | None = None

    @property
    def raw(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Answer:
    """What the server says to one request. `delay_s` lies between chunks, `first_delay_s` before the first."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    finish: str | None = None
    chunk_chars: int = 8
    delay_s: float = 0.0
    first_delay_s: float = 0.0
    fault: str | None = None
    retry_after: str | None = None
    usage: Mapping[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 111, "completion_tokens": 22, "total_tokens": 133}
    )


def new_call_id() -> str:
    """Return an id as OpenAI writes them."""
    return f"call_{uuid.uuid4().hex[:12]}"


def pieces(text: str, size: int) -> list[str]:
    """Return `text` in pieces of at most `size` characters."""
    return [text[i : i + size] for i in range(0, len(text), max(size, 1))]

"""Main context for models that call by writing JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memos.llm.chat_messages import ChatMessage, chat_messages
from memos.messages import FunctionSchema, Prompt


def json_chat_messages(prompt: Prompt) -> list[ChatMessage]:
    return chat_messages(prompt)


def call_schema(functions: Iterable[FunctionSchema]) -> dict[str, Any]:
    return {"type": "object"}

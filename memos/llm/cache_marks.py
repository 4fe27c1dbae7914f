"""Marks that tell a provider how far to cache a prompt, for those that cache nothing unless it is marked.

Anthropic caches, and later reads again, what stands before a mark: functions first, then the system message, then the
queue. A mark costs nothing where nothing new stands before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memos.llm.catalogue import caches_prompts, provider_of
from memos.llm.chat_messages import ChatMessage

MOST_MARKS = 4
"""Anthropic refuses a request with more."""
_MARK = {"type": "ephemeral"}
_BY_NAME = {"anthropic": "claude", "openrouter": "openrouter/anthropic/"}
_BY_TABLE = {"bedrock", "bedrock_converse", "vertex_ai", "vertex_ai-anthropic_models"}


def wants_marks(model: str) -> bool:
    """Whether the provider of this model caches by marks, as far as that is sure: some refuse a mark they don't know.

    Anthropic and OpenRouter take one for every Claude. Bedrock refuses it for some: there, and at Vertex, litellm's
    table must say that this very model caches.
    """
    provider = provider_of(model)
    if provider in _BY_NAME:
        return _BY_NAME[provider] in model and caches_prompts(model) is not False
    return provider in _BY_TABLE and "claude" in model and caches_prompts(model) is True


def marked(messages: Sequence[ChatMessage], stable_chars: int) -> list[ChatMessage]:
    """Return the messages of a prompt, marked where its beginning will come again.

    In the system message after its first `stable_chars`, which never change, and at its end; in the queue before the
    newest event, up to which the next prompt will be the same; and before the event before it, where the prompt before
    this one had that mark: a provider looks for it only a few messages back. The words stay as they are.
    """
    system, *queue = messages
    events = [place for place, message in enumerate(queue) if message["role"] == "user"]
    for event in events[-2:]:
        if event:
            queue[event - 1] = _marked(queue[event - 1])
    return [{**system, "content": list(_system_parts(str(system["content"]), stable_chars))}, *queue]


def _system_parts(text: str, stable_chars: int) -> Iterator[ChatMessage]:
    for part in (text[:stable_chars], text[stable_chars:]):
        if part:
            yield _marked_text(part)


def _marked(message: ChatMessage) -> ChatMessage:
    """Return a message with a mark: a result as a whole, for it is one block to the provider; else its words."""
    if message["role"] == "tool":
        return {**message, "cache_control": _MARK}
    content = message["content"]
    if isinstance(content, list):  # pictures, then words
        return {**message, "content": [*content[:-1], _marked_text(content[-1]["text"])]}
    return {**message, "content": [_marked_text(content)]}


def _marked_text(text: str) -> ChatMessage:
    return {"type": "text", "text": text, "cache_control": _MARK}

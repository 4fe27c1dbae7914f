"""What stands in the FIFO queue for a message too long to stand there: its beginning and end, and how to read the rest.

The message itself stays as it is in recall storage.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from memos.functions.arguments import parsed_leniently
from memos.kernel.transcript import both_ends
from memos.messages import FunctionCall, Message

_FROM_USER = "conversation_search with words of the missing part shows it"
_FROM_RESULT = "call {name} again for less, or for the next page"
_FROM_AGENT = "conversation_search shows what was said"


def shortened(message: Message, limit_chars: int) -> Message | None:
    """Return `message` as it may stand in the queue with about `limit_chars` characters; None where it is no longer.

    A call keeps its name, its id, and arguments that are a JSON object.
    """
    words = both_ends(message.content, limit_chars, _gap(message, len(message.content)))
    calls = tuple(_shortened_call(call, limit_chars) for call in message.calls)
    if weight(message) <= len(words) + sum(len(call.arguments) for call in calls):
        return None
    return replace(message, content=words, calls=calls)


def weight(message: Message) -> int:
    """Return the characters of a message that can be shortened."""
    return len(message.content) + sum(len(call.arguments) for call in message.calls)


def _gap(message: Message, chars: int) -> str:
    if message.role == "tool":
        how = _FROM_RESULT.format(name=message.name)
    else:
        how = _FROM_USER if message.role == "user" else _FROM_AGENT
    return f" […cut here to fit: {chars} characters in all; {how}…] "


def _shortened_call(call: FunctionCall, limit_chars: int) -> FunctionCall:
    if len(call.arguments) <= limit_chars:
        return call
    given = parsed_leniently(call.arguments)
    room = max(20, limit_chars // max(len(given), 1))
    kept: dict[str, Any] = {
        key: both_ends(value, room, f" […{len(value)} characters…] ") if isinstance(value, str) else value
        for key, value in given.items()
        if isinstance(value, str | int | float | bool | None)
    }
    text = json.dumps(kept, ensure_ascii=False)
    return replace(call, arguments=text if len(text) < len(call.arguments) else "{}")

"""A server with a counter of its own that refuses what is over its window, and a talkative agent behind it."""

from __future__ import annotations

import io
import json
import math
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from support.fake_openai import Answer, Call, Request
from support.fake_rules import pictures_of, text_of

Counter = Callable[[Mapping[str, Any]], int]

_WORDS = re.findall(
    r"\w+",
    "the a of and to in that we with for on about after because between garden mountain kitchen yesterday tomorrow"
    " honey winter letter station window teacher river bicycle market evening colour brother question weather"
    " remember thought walked carried believed understood repaired painted borrowed quietly perhaps seldom"
    " electricity responsibility neighbourhood conversation photograph extraordinary",
)


def by_words(body: Mapping[str, Any]) -> int:
    """Count each word and each sign as a token, and four for every message."""
    messages = body["messages"]
    return len(re.findall(r"\w+|[^\w\s]", _rendered(body))) + 4 * len(messages) + _of_pictures(body)


def by_characters(body: Mapping[str, Any]) -> int:
    """Count a token for every 3.1 characters of the request as JSON: a third more than cl100k and above."""
    return math.ceil(len(_rendered(body)) / 3.1) + _of_pictures(body)


def _of_pictures(body: Mapping[str, Any]) -> int:
    """Count a token for every 750 pixels, as Anthropic does."""
    found = [picture for message in body["messages"] if message["role"] == "user" for picture in pictures_of(message)]
    return sum(math.ceil(width * height / 750) for width, height in (Image.open(io.BytesIO(p)).size for p in found))


def _rendered(body: Mapping[str, Any]) -> str:
    # A server reads the functions and the calls through its chat template, the words as they are.
    words = [text_of(message) for message in body["messages"]]
    calls = [message.get("tool_calls") or "" for message in body["messages"]]
    heads = [message["role"] for message in body["messages"]]
    bulk = json.dumps([heads, [call for call in calls if call], body.get("tools") or []], ensure_ascii=False)
    return "\n".join([bulk, *words])


class StrictServer:
    """A script for `FakeOpenAI`: refuses every prompt that leaves less than the reply it is asked for, else answers.

    It reports what it counted, answers at once, calls functions now and then, and writes summaries to order.
    """

    def __init__(self, window_tokens: int, counter: Counter, reply_words: int = 150) -> None:
        self.window_tokens = window_tokens
        self.refused: list[int] = []
        self.largest = 0
        self.number = 0
        """The number of the message that is answered."""
        self._counter = counter
        self._reply_words = reply_words

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        tokens = self._counter(request.body)
        if tokens + int(request.body.get("max_tokens") or 0) > self.window_tokens:
            self.refused.append(tokens)
            return Answer(fault="400_overflow")
        self.largest = max(self.largest, tokens)
        usage = {"prompt_tokens": tokens, "completion_tokens": 30, "total_tokens": tokens + 30}
        text, calls = self._said(request)
        return Answer(text=text, calls=calls, usage=usage, chunk_chars=10_000)

    def _said(self, request: Request) -> tuple[str, tuple[Call, ...]]:
        if not request.body.get("tools"):
            return _summary(request), ()
        newest = next(packet for packet in reversed(request.packets()))
        number = self.number
        asks = {"request_heartbeat": True}
        if newest["type"] == "memory_pressure":
            goes_on = {"request_heartbeat": "Then go on" in newest["message"]}
            return "I save.", (Call("archival_memory_insert", {"content": paragraph("s", number, 40), **goes_on}),)
        if newest["type"] == "user_message" and number % 5 == 2:
            return "I look it up.", (Call("conversation_search", {"query": "honey garden winter", **asks}),)
        if newest["type"] == "user_message" and number % 7 == 3:
            return "I note it.", (Call("archival_memory_insert", {"content": paragraph("n", number, 60), **asks}),)
        return "I answer.", (Call("send_message", {"message": paragraph("r", number, self._reply_words)}),)


def mark(kind: str, number: int) -> str:
    """Return the word that stands in one message alone."""
    return f"{kind}{'bcdfghjklm'[number // 100 % 10]}{'aeiouyalen'[number // 10 % 10]}{number:04d}x"


def paragraph(kind: str, number: int, words: int) -> str:
    """Return so many words in sentences, one of which stands nowhere else."""
    chance = random.Random(f"{kind} {number}")
    chosen = [chance.choice(_WORDS) for _ in range(words - 1)]
    chosen.insert(2, mark(kind, number))
    text = " ".join(chosen)
    return re.sub(r"((?:\S+ ){11}\S+) ", r"\1. ", text).capitalize() + "."


def _summary(request: Request) -> str:
    """Keep the beginning of what the person said last, among words of no meaning."""
    said = [line for line in request.messages[-1]["content"].splitlines() if "] person: " in line]
    facts = [line.partition("] person: ")[2][:60] for line in said[-6:]]
    decisions = [paragraph(f"summary {request.number}", number, 14) for number in range(4)]
    return "\n".join(["Facts:", *facts, "Decisions:", *decisions, "Open threads:", "- None."])

"""What a model behind a fake backend decides, and how it writes that in the form it was asked for.

A mind sees the request in OpenAI's form, whatever the wire, and decides on words and calls; `in_form` writes them as
tools, as one JSON object, or as plain words. So one mind serves every backend in every call format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from support.fake_answers import Answer, Call
from support.fake_openai import Request

Mind = Callable[[Request], Answer]

LOOK, SEEN = "What is in this picture?", "One picture."
HELLO, SAVE, CHAIN, SEARCH = (
    "Hello!",
    "My dog is called Rex. Remember it.",
    "Do five things for me.",
    "When is honey harvested?",
)
GREETED, SAVED, CHAINED, FOUND = "Hello, Ana.", "Noted: Rex.", "Done, five things.", "In July, by your notes."
FACT, NOTE = "Their dog is called Rex.", "Honey is harvested in July."


def everyday(request: Request) -> Answer:
    """Greet, keep a fact, make a chain of five calls, and answer from what a search found."""
    said = [packet for packet in request.packets() if packet["type"] == "user_message"]
    wish, done = (said[-1]["message"] if said else HELLO), request.results_since()
    if wish == SAVE:
        return _say(SAVED) if done else _step("core_memory_append", name="human", content=FACT)
    if wish == CHAIN:
        return _say(CHAINED) if done >= len(_CHAIN) else _CHAIN[done]
    if wish == SEARCH:
        if not done:
            return _step("archival_memory_search", query="honey harvest")
        return _say(FOUND if "July" in newest_result(request) else "I found nothing.")
    if wish == LOOK:
        return _say(SEEN if len(request.pictures) == 1 else f"I see {len(request.pictures)} pictures.")
    return _say(GREETED)


def newest_result(request: Request) -> str:
    """Return the words of the newest function result, whichever message carries it."""
    for message in reversed(request.messages):
        content = str(message.get("content") or "")
        if message.get("role") == "tool" or '"function_result"' in content:
            return content
    return ""


def in_form(request: Request, answer: Answer) -> Answer:
    """Return `answer` as a model writes it that keeps to the form it was asked for: one object a reply without tools.

    Asked for neither tools nor an object (a summary, a model that cannot call), it just says its words.
    """
    if request.body.get("tools") or not answer.calls:
        return answer
    system = "\n".join(str(m.get("content")) for m in request.messages if m.get("role") == "system")
    call = answer.calls[0]
    arguments = json.loads(call.raw)
    if re.search(r'"function":\s*\{\s*"name"', system):
        written: Mapping[str, Any] = {"thoughts": answer.text, "function": {"name": call.name, "arguments": arguments}}
    elif '"function"' in system:
        written = {"thoughts": answer.text, "function": call.name, "arguments": arguments}
    else:
        return replace(answer, text=str(arguments.get("message", answer.text)), calls=())
    return replace(answer, text=json.dumps(written, ensure_ascii=False), calls=())


def _say(text: str) -> Answer:
    return Answer("I answer.", (Call("send_message", {"message": text}),))


def _step(function: str, /, **arguments: object) -> Answer:
    return Answer("One step.", (Call(function, {**arguments, "request_heartbeat": True}),))


_CHAIN = (
    _step("core_memory_append", name="human", content="Wants five things done."),
    _step("archival_memory_insert", content=NOTE),
    _step("conversation_search", query="dog"),
    _step("core_memory_replace", name="human", old_content="Wants five things done.", new_content="Got five things."),
    _step("archival_memory_search", query="bees"),
)

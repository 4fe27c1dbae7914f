"""Scripts for the fake server: a model that can do all that `memos doctor --probe` tries."""

from __future__ import annotations

from dataclasses import replace

from support.fake_openai import Answer, Call, Request

LIST = Call("write_note", {"title": "List", "text": "bread, butter, eggs, milk, apples, pears, tea and salt"})
PAIR = (Call("write_note", {"title": "A", "text": "one"}), Call("write_note", {"title": "B", "text": "two"}))


def honest(request: Request, answer: Answer) -> Answer:
    """Count the prompt as a provider does: about a token for four characters."""
    tokens = len(str(request.messages)) // 4 + 60 * bool(request.body.get("tools"))
    return replace(answer, usage={"prompt_tokens": tokens, "completion_tokens": 20})


def is_long(request: Request) -> bool:
    return "shelf" in str(request.messages)


def has_picture(request: Request) -> bool:
    return any(not isinstance(message["content"], str) for message in request.messages)


def able(request: Request) -> Answer:
    """Answer as a large model of a good provider does."""
    if has_picture(request):
        return honest(request, Answer("Orange."))
    if request.body.get("tools"):
        return honest(request, Answer("I write it down.", calls=PAIR if is_long(request) else (LIST,)))
    return honest(request, Answer("{}"))

"""What a model itself writes oddly or wrongly: an answer in, another answer out, which the wire carries faithfully."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace

from support.fake_answers import Answer, Call

THOUGHT = "She greets me."


def written(answer: Answer, results: int) -> Answer:
    """Return what the model writes in place of `answer`; `results` came since the newest user message."""
    if answer.fault in ("heartbeat_string", "empty_arguments", "null_arguments") and results:
        return replace(answer, fault=None)  # the step after, by which the chain is known to have gone on
    write = _WRITTEN.get(answer.fault or "")
    return write(answer) if write else answer


def _last(arguments: str) -> Callable[[Answer], Answer]:
    """Return how to replace the arguments of the last call by raw text."""

    def write(answer: Answer) -> Answer:
        if not answer.calls:
            return answer
        *before, last = answer.calls
        chars = max(answer.chunk_chars, len(arguments) // 64)
        return replace(answer, calls=(*before, Call(last.name, arguments)), chunk_chars=chars)

    return write


def _renamed(name: str) -> Callable[[Answer], Answer]:
    def write(answer: Answer) -> Answer:
        if not answer.calls:
            return answer
        *before, last = answer.calls
        return replace(answer, calls=(*before, Call(name, last.raw)))

    return write


def _double_encoded(answer: Answer) -> Answer:
    return replace(answer, calls=tuple(Call(call.name, json.dumps(call.raw)) for call in answer.calls))


def _trailing_brace(answer: Answer) -> Answer:
    return replace(answer, calls=tuple(Call(call.name, call.raw + "}") for call in answer.calls))


def _said(words: str) -> Callable[[Answer], Answer]:
    """Return how to say `words` before what would have been said."""

    def write(answer: Answer) -> Answer:
        if not answer.calls:
            return replace(answer, text=words + answer.text)
        *before, last = answer.calls
        raw = last.raw.replace('"message": "', '"message": "' + json.dumps(words)[1:-1], 1)
        return replace(answer, calls=(*before, Call(last.name, raw)))

    return write


def _said_twice(answer: Answer) -> Answer:
    return replace(answer, calls=(Call("send_message", {"message": "And one thing more."}), *answer.calls))


def _step(call: Callable[[], Call]) -> Callable[[Answer], Answer]:
    """Return how to make one call and nothing else, where calls are made at all."""
    return lambda answer: replace(answer, text="A step.", calls=(call(),)) if answer.calls else answer


def _appended(content: str, heartbeat: object) -> Call:
    return Call("core_memory_append", {"name": "human", "content": content, "request_heartbeat": heartbeat})


def _as_content(form: str, every: bool = False) -> Callable[[Answer], Answer]:
    """Return how to write calls into the content, `every` one or the last alone."""

    def write(answer: Answer) -> Answer:
        calls = answer.calls if every else answer.calls[-1:]
        texts = [form % f'{{"name": "{call.name}", "arguments": {call.raw}}}' for call in calls]
        return replace(answer, text="\n".join(texts) or answer.text, calls=())

    return write


def _thinking(form: str) -> Callable[[Answer], Answer]:
    """Return how to think in the content, tags and letters in pieces of three characters."""
    return lambda answer: replace(answer, text=form % THOUGHT + answer.text, chunk_chars=3)


_WRITTEN: dict[str, Callable[[Answer], Answer]] = {
    "bad_arguments": _last("message: Hello there"),
    "blank_reply": lambda answer: replace(answer, text=" \n ", calls=()),
    "brackets": _said("[laughs] ECHO[aaf4c61d] [/bold] [link=x] "),
    "call_bare": _as_content("%s"),
    "call_fenced": _as_content("```json\n%s\n```"),
    "call_tags": _as_content("<tool_call>\n%s\n</tool_call>", every=True),
    "content_parts": lambda answer: replace(answer, reasoning=THOUGHT),
    "deep_arguments": _last('{"message": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "double_encoded": _double_encoded,
    "duplicate_keys": _last('{"message": "One.", "message": "Two."}'),
    "empty_arguments": _step(lambda: Call("conversation_search", "")),
    "empty_reply": lambda answer: replace(answer, text="", calls=()),
    "endless_heartbeats": _step(lambda: _appended(f"Fact {uuid.uuid4().hex[:6]}.", True)),
    "endless_identical": _step(lambda: Call("conversation_search", {"query": "bees", "request_heartbeat": True})),
    "heartbeat_string": _step(lambda: _appended("Ana keeps bees.", "true")),
    "huge_arguments": _last(json.dumps({"message": "A long story. " * 5_000})),
    "huge_integer": _last('{"message": ' + "1" * 5_000 + "}"),
    "list_arguments": _last('["Hello."]'),
    "nan_arguments": _last('{"message": NaN}'),
    "nul_text": _said("A\x00B "),
    "null_arguments": _step(lambda: Call("conversation_search", "")),
    "reasoning_content": lambda answer: replace(answer, reasoning=THOUGHT),
    "reasoning_field": lambda answer: replace(answer, reasoning=THOUGHT),
    "surrogate_arguments": _said("half \ud83d pair "),
    "think_only": lambda answer: replace(answer, text=f"<think>{THOUGHT}</think>", calls=(), chunk_chars=3),
    "think_tags": _thinking("<think>\n%s\n</think>\n\n"),
    "think_unopened": _thinking("%s\n</think>\n\n"),
    "trailing_brace": _trailing_brace,
    "two_objects": _last('{"message": "One."}{"message": "Two."}'),
    "two_send_message": _said_twice,
    "unknown_function": _renamed("get_weather"),
    "wrong_function": _renamed("send_mesage"),
    "wrong_names": _last('{"text": "Hello.", "to": "Ana"}'),
    "wrong_types": _last('{"message": {"text": ["Hello."]}, "request_heartbeat": "perhaps"}'),
}

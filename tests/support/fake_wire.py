"""An answer as the API carries it: refusals, the frames of a stream, a whole body; and what spoils them."""

from __future__ import annotations

import email.utils
import itertools
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from support.fake_answers import Answer, Call, new_call_id, pieces

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
ENDLESS = ("endless_text", "endless_thoughts", "endless_call", "endless_trickle")
_ENDLESS_PIECE = "and so on and on, " * 256  # 4.5 KiB: the frame around it weighs little
_CUT_IN_STREAM = {"cut_text", "cut_call", "reset", "stall_middle"}
_BROKEN_IN_STREAM = {"bad_chunk", "error_frame", "error_event", "tool_use_failed_frame"}
_FAILED_CALL = '<function=send_message>{"message": "Hello there."}</function>'
_TOOL_USE_FAILED = {
    "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
    "type": "invalid_request_error",
    "code": "tool_use_failed",
    "failed_generation": _FAILED_CALL,
}

REFUSALS: dict[str, tuple[int, dict[str, Any] | str]] = {
    "401": (401, {"message": "Incorrect API key provided: {key}.", "code": "invalid_api_key"}),
    "403": (403, {"message": "You are not allowed to sample from this model.", "code": "permission_denied"}),
    "404": (404, {"message": "The model `{model}` does not exist.", "code": "model_not_found"}),
    "400": (400, {"message": "Unknown parameter.", "type": "invalid_request_error", "code": None}),
    "400_overflow": (
        400,
        {
            "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000.",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
    ),
    "400_overflow_llama_cpp": (
        400,
        {
            "message": "the request exceeds the available context size, try increasing it",
            "type": "exceed_context_size_error",
            "code": 400,
        },
    ),
    "400_overflow_anthropic": (400, {"message": "prompt is too long: 209000 tokens > 200000 maximum", "code": None}),
    "400_filter": (
        400,
        {"message": "The response was filtered due to Azure's content management policy.", "code": "content_filter"},
    ),
    "429": (429, {"message": "Rate limit reached for requests.", "code": "rate_limit_exceeded"}),
    "429_date": (429, {"message": "Rate limit reached for tokens per day.", "code": "rate_limit_exceeded"}),
    "429_hours": (429, {"message": "Rate limit reached for requests per day.", "code": "rate_limit_exceeded"}),
    "429_no_money": (
        429,
        {"message": "You exceeded your current quota, please check your plan.", "code": "insufficient_quota"},
    ),
    "429_soon": (429, {"message": "Rate limit reached for requests.", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "The server had an error while processing your request.", "code": None}),
    "503": (503, {"message": "Server is busy; please try again later.", "code": "overloaded"}),
    "529": (529, {"message": "Overloaded", "type": "overloaded_error"}),
    "tool_use_failed": (400, _TOOL_USE_FAILED),
}

# What is refused only where the request asks for it: the part of the body, and what is answered.
CONDITIONAL: dict[str, tuple[str, int, dict[str, Any] | str]] = {
    "refuses_response_format": ("response_format", 400, "'response_format.type' must be 'text'"),
    "refuses_stream_options": (
        "stream_options",
        400,
        {
            "message": "Unknown parameter: 'stream_options'.",
            "type": "invalid_request_error",
            "param": "stream_options",
            "code": "unknown_parameter",
        },
    ),
    "refuses_tool_choice": (
        "tools",
        400,
        {
            "message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    "refuses_tools": (
        "tools",
        400,
        {
            "message": "registry.ollama.ai/library/{model} does not support tools",
            "type": "api_error",
            "param": None,
            "code": None,
        },
    ),
}


# How endpoints say that their model sees no pictures.
BLIND: dict[str, tuple[int, dict[str, Any] | str]] = {
    "openai": (  # roboflow/awesome-openai-vision-api-experiments#11
        400,
        {
            "message": "Invalid content type. image_url is only supported by certain models.",
            "type": "invalid_request_error",
            "param": "messages.[1].content.[0].type",
            "code": None,
        },
    ),
    "ollama": (400, {"message": "this model does not support image input"}),  # ollama/ollama#17301
    "llama.cpp": (  # ggml-org/llama.cpp#15377
        500,
        {
            "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
            "type": "server_error",
            "code": 500,
        },
    ),
    "openrouter": (404, {"message": "No endpoints found that support image input", "code": 404}),  # nexu-io/nexu#733
    "groq": (
        400,
        {"message": "messages[1].content must be a string", "type": "invalid_request_error"},
    ),  # vercel/ai#2837
    "llama-cpp-python": (500, {"message": 'can only concatenate str (not "list") to str'}),  # abetlen/…-python#1168
}


def refusal_of(fault: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any] | str] | None:
    """Return the status and the error of a refusal; None where this request is not refused."""
    if fault in CONDITIONAL:
        part, status, error = CONDITIONAL[fault]
        return (status, error) if body.get(part) else None
    return REFUSALS.get(fault)


def headers_of(answer: Answer) -> dict[str, str]:
    """Return the headers that say when to come back."""
    two_hours = 7_200
    if answer.fault == "429_soon":
        return {"retry-after-ms": "20", "retry-after": "1"}
    if answer.fault == "429_hours":
        return {"retry-after": str(two_hours)}
    if answer.fault == "429_date":
        return {"retry-after": email.utils.formatdate(time.time() + two_hours, usegmt=True)}
    return {"retry-after": answer.retry_after} if answer.retry_after else {}


# --- The stream ----------------------------------------------------------------------------------------------


def deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield the deltas of an answer as OpenAI streams them, or as its fault wants them."""
    fault = answer.fault or ""
    yield {"role": "assistant", **({"content": None, "tool_calls": None} if fault == "null_content" else {})}
    if fault in ENDLESS:
        yield from _endless_deltas(fault)
    for piece in pieces(answer.reasoning, answer.chunk_chars):
        if fault == "content_parts":
            yield {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
        else:
            yield {"reasoning" if fault == "reasoning_field" else "reasoning_content": piece}
    for piece in pieces(answer.text, answer.chunk_chars):
        yield {"content": [{"type": "text", "text": piece}] if fault == "content_parts" else piece}
    calls = answer.calls[-1:] if fault == "legacy_call" else answer.calls
    for position, call in enumerate(calls):
        yield from _call_deltas(answer, position, call)


def _endless_deltas(fault: str) -> Iterator[dict[str, Any]]:
    if fault == "endless_call":
        yield _fragment(0, {"name": "send_message", "arguments": '{"message": "'}, new_call_id())
    for piece in itertools.repeat(_piece_of(fault)):
        if fault == "endless_call":
            yield _fragment(0, {"arguments": piece})
        else:
            yield {"reasoning_content" if fault == "endless_thoughts" else "content": piece}


def _piece_of(fault: str) -> str:
    return "and on " if fault == "endless_trickle" else _ENDLESS_PIECE


def _fragment(index: int | None, function: Mapping[str, Any], call_id: str | None = None) -> dict[str, Any]:
    fragment: dict[str, Any] = {"type": "function", "function": dict(function)}
    if index is not None:
        fragment = {"index": index, **fragment}
    return {"tool_calls": [{**fragment, "id": call_id} if call_id is not None else fragment]}


def _call_deltas(answer: Answer, position: int, call: Call) -> Iterator[dict[str, Any]]:
    fault = answer.fault or ""
    if fault == "legacy_call":
        yield {"function_call": {"name": call.name, "arguments": ""}}
        for piece in pieces(call.raw, answer.chunk_chars):
            yield {"function_call": {"arguments": piece}}
        return
    index = {"same_index": 0, "index_minus_one": position - 1, "no_index": None}.get(fault, position)
    call_id = _id_of(fault, call)
    if fault in ("dict_arguments", "null_arguments"):
        yield _fragment(index, {"name": call.name, "arguments": _arguments_of(fault, call)}, call_id)
        return
    if fault == "missing_ids" and answer.chunk_chars > len(call.raw):
        yield _fragment(index, {"name": call.name, "arguments": call.raw})
        return
    first = _fragment(index, {"name": call.name, "arguments": ""}, call_id)
    yield {**first, **({"content": None} if fault == "null_content" else {})}
    for piece in pieces(call.raw, answer.chunk_chars):
        more = {"name": {"empty_ids": "", "name_each_chunk": call.name}.get(fault), "arguments": piece}
        repeated = {"id_each_chunk": new_call_id(), "empty_ids": ""}.get(fault)
        yield _fragment(index, {key: value for key, value in more.items() if value is not None}, repeated)


def _id_of(fault: str, call: Call) -> str | None:
    known: dict[str, str | None] = {
        "missing_ids": None,
        "repeated_ids": "call_0",
        "empty_ids": "",
        "odd_ids": f"functions.{call.name}:0",
        "long_ids": f"chatcmpl-tool-{uuid.uuid4().hex}",
    }
    return known[fault] if fault in known else call.id or new_call_id()


def _arguments_of(fault: str, call: Call) -> Any:
    return {"dict_arguments": call.arguments, "null_arguments": None}.get(fault, call.raw)


def frames(answer: Answer, model: str, include_usage: bool) -> Iterator[str]:
    """Yield the data of the events of a streamed answer, its fault worked in; without end where that is its fault."""
    fault = answer.fault or ""
    common = _common("chat.completion.chunk", model)

    def frame(delta: Mapping[str, Any], finish: str | None = None) -> str:
        words = finish if finish is not None or fault != "finish_empty" else ""
        return _dumped(fault, {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": words}]})

    if fault in ("empty_choices", "null_choices"):
        yield from (_dumped(fault, {**common, "choices": [] if fault == "empty_choices" else None}), "[DONE]")
        return
    if fault in ENDLESS:
        yield from map(frame, deltas(answer))
    body = [frame(delta) for delta in deltas(answer)]
    if fault == "surrogate":
        body.append(frame({"content": " half \ud83d pair"}))
    broken = fault in _CUT_IN_STREAM or fault in _BROKEN_IN_STREAM
    if fault == "tool_use_failed_frame":  # no piece of a call comes before it has been read
        body = body[: len(body) - sum(1 for delta in deltas(answer) if "tool_calls" in delta)]
    elif broken or fault in ("length", "finish_filter"):
        body = body[: max(2, len(body) - 2)]
    yield from body
    if fault in _BROKEN_IN_STREAM:
        yield _breaking_frame(fault)
    if broken:
        return
    if fault != "no_finish":
        yield frame({}, _finish_of(answer))
    if usage := _usage_of(answer, include_usage or fault == "usage_in_last_chunk"):
        yield _dumped(fault, {**common, "choices": [], "usage": usage})
    if fault != "no_done":
        yield "[DONE]"


def _breaking_frame(fault: str) -> str:
    if fault == "bad_chunk":
        return '{"choices": [{"delta": {"content": "bro'
    if fault == "tool_use_failed_frame":
        return json.dumps({"error": {**_TOOL_USE_FAILED, "status_code": 400}})
    return json.dumps({"error": {"message": "The upstream model failed.", "code": 500}})


def _finish_of(answer: Answer) -> str:
    known = {
        "length": "length",
        "finish_error": "error",
        "finish_filter": "content_filter",
        "legacy_call": "function_call",
        "stop_with_calls": "stop",
        "empty_reply": "stop",
    }
    return known.get(answer.fault or "") or answer.finish or ("tool_calls" if answer.calls else "stop")


def _usage_of(answer: Answer, wanted: bool) -> dict[str, Any] | None:
    if not wanted or answer.usage is None or answer.fault == "no_usage":
        return None
    if answer.fault == "usage_constant":
        return {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    return dict(answer.usage)


def _common(kind: str, model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": int(time.time()), "model": model}


def _dumped(fault: str, value: Any) -> str:
    if fault == "multiline_data":
        return json.dumps(value, indent=1)
    return json.dumps(value, ensure_ascii=fault != "split_utf8")


def event(fault: str, data: str, first: bool) -> bytes:
    """Return one event of the stream as bytes."""
    if fault == "multiline_data":
        lines = "\n".join(f"data: {line}" for line in data.split("\n")) + "\n\n"
    elif fault == "event_lines":
        other = 'event: tool.progress\ndata: {"tool": "terminal", "status": "running"}\n\n'
        lines = f"{other}id: 7\nretry: 3000\nevent: message\ndata: {data}\n\n"
    elif fault == "error_event" and '"error"' in data:
        lines = f"event: error\ndata: {data}\n\n"
    else:
        form = {
            "data_no_space": "data:%s\n\n",
            "crlf": "data: %s\r\n\r\n",
            "no_blank_lines": "data: %s\n",
            "keep_alive_comments": ": OPENROUTER PROCESSING\n\ndata: %s\n\n",
        }.get(fault, "data: %s\n\n")
        lines = form % data
    return (b"\xef\xbb\xbf" if fault == "bom" and first else b"") + lines.encode()


# --- A whole body --------------------------------------------------------------------------------------------


def completion(answer: Answer, model: str) -> dict[str, Any]:
    """Return a whole answer as the API gives it without streaming, its fault worked in."""
    fault = answer.fault or ""
    common = _common("chat.completion", model)
    usage = _usage_of(answer, True)
    told = {"usage": usage} if usage else {}
    if fault in ("empty_choices", "null_choices"):
        return {**common, "choices": [] if fault == "empty_choices" else None, **told}
    choice = {"index": 0, "message": _message(answer), "finish_reason": _finish_of(answer)}
    return {**common, "choices": [choice], **told}


def _message(answer: Answer) -> dict[str, Any]:
    fault = answer.fault or ""
    lost = fault == "null_content" or (fault == "drops_content" and answer.calls)
    text = answer.text + (" half \ud83d pair" if fault == "surrogate" else "")
    if fault == "finish_filter":
        text, answer = text[: len(text) // 2], Answer(fault=fault)
    message: dict[str, Any] = {"role": "assistant", "content": None if lost else text or None}
    if fault == "content_parts":
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": answer.reasoning}]}
        message["content"] = [thinking, {"type": "text", "text": text}]
    elif answer.reasoning:
        message["reasoning" if fault == "reasoning_field" else "reasoning_content"] = answer.reasoning
    if fault == "legacy_call" and answer.calls:
        last = answer.calls[-1]
        return {**message, "function_call": {"name": last.name, "arguments": last.raw}}
    if answer.calls:
        message["tool_calls"] = list(_whole_calls(answer))
    elif fault == "null_content":
        message |= {"tool_calls": None, "function_call": None}
    return message


def _whole_calls(answer: Answer) -> Iterable[dict[str, Any]]:
    fault = answer.fault or ""
    for number, call in enumerate(answer.calls, 1):
        arguments = _arguments_of(fault, call)
        if fault == "length" and number == len(answer.calls):
            arguments = call.raw[: len(call.raw) // 2]
        call_id = _id_of(fault, call)
        yield {
            **({"id": call_id} if call_id is not None else {}),
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }


def endless_body(fault: str, model: str) -> Iterator[bytes]:
    """Yield a JSON body whose one text never ends."""
    message: dict[str, Any] = {"role": "assistant", "content": "@"}
    if fault == "endless_thoughts":
        message = {"role": "assistant", "content": None, "reasoning_content": "@"}
    if fault == "endless_call":
        function = {"name": "send_message", "arguments": '{"message": "@'}
        message = {"role": "assistant", "tool_calls": [{"id": new_call_id(), "type": "function", "function": function}]}
    body = json.dumps({**_common("chat.completion", model), "choices": [{"index": 0, "message": message}]})
    yield body.partition("@")[0].encode()
    yield from itertools.repeat(_piece_of(fault).encode())

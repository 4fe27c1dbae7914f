"""Backends that speak OpenAI's wire, each with what is its own; the source of each quirk stands where it is.

`tests/support/fake_openai.py` is the plain one with every fault; these are whole servers with all their habits at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from support.fake_answers import Answer, new_call_id, pieces
from support.fake_openai import Request
from support.fake_rules import text_of
from support.fake_wire import completion, frames
from support.minds import Mind, everyday
from support.wire_server import Sent, WireServer, as_json, sse


class OpenAiLike(WireServer):
    """The API as OpenAI documents it: platform.openai.com/docs/api-reference/chat."""

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        if path == f"{self.base_path}/models":
            rows = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in self.models]
            return as_json({"object": "list", "data": [{**row, **self.facts_of(row["id"])} for row in rows]})
        return self.lost(path)

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Sent:
        if path != f"{self.base_path}/chat/completions":
            return self.lost(path)
        request = self.asked(path, headers, body, body)
        if (refusal := self.refusal(request)) is not None:
            return refusal
        answer = self.thought(request)
        return self.streamed(request, answer) if body.get("stream") else self.whole(request, answer)

    def facts_of(self, model: str) -> dict[str, Any]:
        """Return what the list of models says beside the name."""
        return {}

    def refusal(self, request: Request) -> Sent | None:
        """Return why the request is refused, None where it is not."""
        return None

    def streamed(self, request: Request, answer: Answer) -> Sent:
        """Return the stream of an answer."""
        include_usage = bool((request.body.get("stream_options") or {}).get("include_usage"))
        return sse(frames(answer, str(request.body.get("model")), include_usage))

    def whole(self, request: Request, answer: Answer) -> Sent:
        """Return an answer in one piece."""
        return as_json(completion(answer, str(request.body.get("model"))))


class FakeGroq(OpenAiLike):
    """Groq: now and then its model's call is refused as `tool_use_failed`, with what it wrote.

    Plain: 400 with `failed_generation` (vercel/ai#6916, huggingface/smolagents#1119). Streamed: 200, then an error
    frame (BerriAI/litellm#40566, #21242). The text is in the model's own form, `<function=NAME>{…}</function>`
    (console.groq.com/docs/tool-use; NousResearch forms). Usage also under `x_groq` in the last chunk.
    """

    base_path = "/openai/v1"
    fails_at = 2
    """The request whose call is refused, counted from 1; so is every fifth after it."""

    def _fails(self, request: Request, answer: Answer) -> bool:
        return bool(request.body.get("tools")) and bool(answer.calls) and request.number % 5 == self.fails_at

    def _error(self, answer: Answer) -> dict[str, Any]:
        call = answer.calls[0]
        return {
            "error": {
                "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation'.",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": f"<function={call.name}>{call.raw}</function>",
            }
        }

    def streamed(self, request: Request, answer: Answer) -> Sent:
        if self._fails(request, answer):
            return sse([self._error(answer), "[DONE]"])
        return super().streamed(request, answer)

    def whole(self, request: Request, answer: Answer) -> Sent:
        return as_json(self._error(answer), 400) if self._fails(request, answer) else super().whole(request, answer)


class FakeOpenRouter(OpenAiLike):
    """OpenRouter: comments while it waits, thoughts in `reasoning`, and a provider's failure as an error in 200.

    Source: openrouter.ai/docs/api-reference/streaming (": OPENROUTER PROCESSING"), …/errors-and-debugging (an error
    of the provider comes in the body or as an event, with status 200), openai/openai-go#227; `reasoning`:
    Aider-AI/aider#3086.
    """

    base_path = "/api/v1"
    fails_at = 2
    """The request that the provider fails at, once."""

    def facts_of(self, model: str) -> dict[str, Any]:
        return {"context_length": 131_072}

    def refusal(self, request: Request) -> Sent | None:
        if request.number != self.fails_at:
            return None
        metadata = {"provider_name": "Somebody", "raw": "upstream connect error"}
        error = {"error": {"code": 502, "message": "Provider returned error", "metadata": metadata}, "user_id": "u"}
        return sse([b": OPENROUTER PROCESSING\n\n", error]) if request.body.get("stream") else as_json(error)

    def streamed(self, request: Request, answer: Answer) -> Sent:
        thinking = Answer(answer.text, answer.calls, "She wants something.", fault="reasoning_field")
        events = frames(thinking, str(request.body.get("model")), include_usage=True)
        return sse(event for frame in events for event in (b": OPENROUTER PROCESSING\n\n", frame))


class FakeLmStudio(OpenAiLike):
    """LM Studio: `json_object` is refused, `json_schema` held to; a path it does not know is an error with status 200.

    Source: lmstudio-ai/lmstudio-bug-tracker#189 ("must be 'json_schema' or 'text'"), lmstudio.ai/docs/app/api
    (/api/v0/models with loaded_context_length), its log line "Unexpected endpoint or method".
    """

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        if path == "/api/v0/models":
            row = {"id": self.models[0], "state": "loaded", "loaded_context_length": 16_384}
            return as_json({"object": "list", "data": [{**row, "max_context_length": 131_072}]})
        return super().get(path, headers)

    def refusal(self, request: Request) -> Sent | None:
        kind = (request.body.get("response_format") or {}).get("type", "text")
        if kind not in ("json_schema", "text"):
            return as_json({"error": "'response_format.type' must be 'json_schema' or 'text'"}, 400)
        return None

    def lost(self, path: str) -> Sent:
        return as_json({"error": f"Unexpected endpoint or method. (POST {path})"})


class FakeVllm(OpenAiLike):
    """vLLM: `auto` is refused unless it was started for it; thoughts in `reasoning_content`, ids longer than OpenAI's.

    Source: vllm-project/vllm#9986 (the refusal), docs.vllm.ai (reasoning_content, max_model_len in the list of models),
    microsoft/autogen#6377 (ids of 46 characters).
    """

    def __init__(self, mind: Mind = everyday, *, calls_tools: bool = False) -> None:
        super().__init__(mind)
        self.calls_tools = calls_tools

    def facts_of(self, model: str) -> dict[str, Any]:
        return {"max_model_len": 32_768}

    def refusal(self, request: Request) -> Sent | None:
        if not request.body.get("tools") or self.calls_tools:
            return None
        words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        return as_json(
            {"object": "error", "message": words, "type": "BadRequestError", "param": None, "code": 400}, 400
        )

    def streamed(self, request: Request, answer: Answer) -> Sent:
        thinking = Answer(answer.text, answer.calls, "They want something.", fault="long_ids")
        return super().streamed(request, thinking)


class FakeLlamaCpp(OpenAiLike):
    """llama.cpp's server: /props, a grammar beside the messages, and template errors where roles do not alternate.

    Source: ggml-org/llama.cpp, tools/server/README.md. The real one: tests/llm/test_formats_against_llama_cpp.py.
    """

    holds_to_grammar = True

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        if path == "/props":
            return as_json({"default_generation_settings": {"n_ctx": 16_384}, "total_slots": 1})
        return super().get(path, headers)

    def lost(self, path: str) -> Sent:
        return as_json({"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}, 404)


class FakeLlamafile(FakeLlamaCpp):
    """llamafile: an older llama.cpp server, without tools: they are ignored, and the model answers in plain words.

    Source: Mozilla-Ocho/llamafile, llama.cpp/server/README.md (grammar, response_format); litellm llms/llamafile.
    """

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        return self.lost(path) if path == "/props" else super().get(path, headers)

    def thought(self, request: Request) -> Answer:
        answer = super().thought(request)
        if not request.body.get("tools"):
            return answer
        said = json.loads(answer.calls[0].raw).get("message") if answer.calls else None
        return Answer(said or answer.text)


class FakeGateway(OpenAiLike):
    """The Bedrock Access Gateway: Bedrock's own events, put into OpenAI's form by rules of its own.

    Source: aws-samples/bedrock-access-gateway, src/api: setting.py (API_ROUTE_PREFIX /api/v1), models/bedrock.py
    (`_create_response_stream`: index = block - 1, thoughts as <think> in the content; `_create_response`: content is
    None where the reason is tool_use; `validate`: 400 with `detail`; `chat_stream`: an error is a frame without
    [DONE]; `_parse_system_prompts`: TypeError unless text), app.py (400 in plain text for a body of the wrong form).
    """

    base_path = "/api/v1"
    models = ("anthropic.claude-3-sonnet-20240229-v1:0", "meta.llama3-8b-instruct-v1:0")
    thinks = True
    breaks_at = 0
    """The request at which Bedrock throttles; 0 for none."""
    breaks_with = "429: An error occurred (ThrottlingException) when calling the ConverseStream operation: Slow down"

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        return as_json({"status": "OK"}) if path == "/health" else super().get(path, headers)

    def lost(self, path: str) -> Sent:
        return as_json({"detail": "Not Found"}, 404)

    def refusal(self, request: Request) -> Sent | None:
        model = request.body.get("model")
        if model not in self.models:
            words = f"Unsupported model {model}, please use models API to get a list of supported models"
            return as_json({"detail": words}, 400)
        if any(m["role"] == "system" and not isinstance(m["content"], str) for m in request.messages):
            self.violations.append("bedrock-access-gateway: system content must be a string")
            return Sent(b"1 validation error: Input should be a valid string", 400, "text/plain")
        if any("content" not in message for message in request.messages):
            self.violations.append("bedrock-access-gateway: content may be null, and must be there (schema.py)")
        return None

    def streamed(self, request: Request, answer: Answer) -> Sent:
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "system_fingerprint": "fp"}
        common["model"] = str(request.body["model"])

        def frame(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return {**common, "choices": [choice], "usage": None}

        def events() -> Iterator[object]:
            if request.number == self.breaks_at:  # the status is 200 by then
                yield {"error": {"message": self.breaks_with}}
                return
            yield frame({"role": "assistant", "content": ""})
            for delta in self._deltas(request, answer):
                yield frame(delta)
            yield frame({}, "tool_calls" if answer.calls else "stop")
            if (request.body.get("stream_options") or {}).get("include_usage"):
                yield {**common, "choices": [], "usage": answer.usage}
            yield "[DONE]"

        return sse(events())

    def _deltas(self, request: Request, answer: Answer) -> Iterator[dict[str, Any]]:
        block = 0
        if self.thinks:
            block += 1
            for number, piece in enumerate(pieces("They want something.", 5)):
                yield {"content": f"<think>{piece}" if number == 0 else piece}
            yield {"content": "</think>"}
        if answer.text:
            block += 1
            yield from ({"content": piece} for piece in pieces(answer.text, answer.chunk_chars))
        for number, call in enumerate(answer.calls):
            index = block + number - 1
            start = {"index": index, "type": "function", "id": f"tooluse_{new_call_id()}"}
            yield {"tool_calls": [{**start, "function": {"name": call.name, "arguments": ""}}]}
            for piece in pieces(call.raw, answer.chunk_chars):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def whole(self, request: Request, answer: Answer) -> Sent:
        told = Answer("" if answer.calls else f"<think>Hm.</think>{answer.text}", answer.calls)
        return as_json(completion(told, str(request.body["model"])))


class FakeKobold(OpenAiLike):
    """koboldcpp 1.76 at `/v1`, or a later one (`version` 1.99).

    Source: LostRuins/koboldcpp, koboldcpp.py. transform_genparams: the messages become one prompt by an adapter
    (Alpaca's without one); tools are put into it only where the last message is the user's and tool_choice is there
    (1.76), then the grammar is an array of any JSON and the temperature 0.2; past calls leave no trace; max_tokens is
    512 where it is left out. handle_sse_stream: no usage; with tools nothing streams, all comes at the end. generate:
    a prompt that is longer than the context less max_tokens loses its beginning without a word (#2481). do_POST: 503
    while the queue is full; /api/extra/abort by genkey. generate_text (1.76): usage 100, 100, 200. 1.121: a failure
    is 200 with finish_reason "error" (#2480). Later ones hold to a schema of response_format too.
    """

    models = ("koboldcpp/mistral-7b",)
    context_tokens = 8_192

    def __init__(self, mind: Mind = everyday, *, version: str = "1.76") -> None:
        super().__init__(mind)
        self.is_busy = False
        self.fails = False
        self.aborted: list[str] = []
        self.prompts: list[str] = []
        self._old = version == "1.76"
        self.version = version

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        known: dict[str, object] = {
            "/api/extra/true_max_context_length": {"value": self.context_tokens},
            "/api/extra/version": {"result": "KoboldCpp", "version": self.version},
            "/api/v1/model": {"result": self.models[0]},
        }
        return as_json(known[path]) if path in known else super().get(path, headers)

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Sent:
        if path == "/api/extra/abort":
            self.aborted.append(str(body.get("genkey")))
            return as_json({"success": "true", "done": "true"})
        return super().post(path, headers, body)

    def lost(self, path: str) -> Sent:
        words = b"Error: KoboldCpp HTTP Server is running, but this endpoint does not exist. Please check the URL."
        return Sent(words, 404, "text/html")

    def refusal(self, request: Request) -> Sent | None:
        if self.is_busy:
            detail = {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}
            return as_json({"detail": detail}, 503)
        if self.fails:
            failed = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}
            return sse([{"object": "chat.completion.chunk", "choices": [failed]}, "[DONE]"])
        return None

    def thought(self, request: Request) -> Answer:
        prompt, limit = self._prompt(request), int(request.body.get("max_tokens") or 512)
        self.prompts.append(prompt)
        if len(prompt) / 3.5 > self.context_tokens - limit:
            self.violations.append("koboldcpp: the beginning of the prompt is dropped without a word")
        if not self._sees_tools(request) and request.body.get("tools"):
            return Answer("I see no functions here.")
        held = request.body.get("grammar") or (not self._old and request.body.get("response_format"))
        answer: Answer = super().thought(request)
        if not answer.calls and held and not answer.text.startswith("{"):
            self.violations.append("koboldcpp: what is held to a form is not in it")
        return answer

    def streamed(self, request: Request, answer: Answer) -> Sent:
        common = {"id": "koboldcpp", "object": "chat.completion.chunk", "created": 1, "model": self.models[0]}

        def frame(delta: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
            return {**common, "choices": [{"index": 0, "finish_reason": finish, "delta": delta}]}

        if answer.calls:
            calls = [{**self._call(call), "index": 0} for call in answer.calls]
            delta = {"role": "assistant", "content": None, "tool_calls": calls}
            return sse([frame(delta, None), frame({}, "stop" if self._old else "tool_calls"), "[DONE]"])
        words = [frame({"role": "assistant", "content": piece}, None) for piece in pieces(answer.text, 6)]
        return sse([*words, frame({"role": "assistant", "content": ""}, "stop"), "[DONE]"])

    def whole(self, request: Request, answer: Answer) -> Sent:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.calls:
            message = {**message, "content": None, "tool_calls": [self._call(call) for call in answer.calls]}
        usage = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return as_json({"id": "chatcmpl-A1", "object": "chat.completion", "usage": usage, "choices": [choice]})

    def _call(self, call: Any) -> dict[str, Any]:
        arguments: Any = json.loads(call.raw)  # an object, and an id that the model wrote
        return {"id": "call_001", "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def _sees_tools(self, request: Request) -> bool:
        last = request.messages[-1]
        if not request.body.get("tools") or request.body.get("tool_choice") is None:
            return False
        return last.get("role") == "user" or not self._old

    def _prompt(self, request: Request) -> str:
        heads = {"system": "\n### Instruction:\n", "user": "\n### Instruction:\n", "assistant": "\n### Response:\n"}
        texts = [heads.get(m["role"], "") + text_of(m) for m in request.messages]
        return "".join(texts) + "\n### Response:\n"

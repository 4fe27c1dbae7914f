"""Asking a server for its model's window: each kind in its own way, and silence for an answer."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from memos.llm.server_window import window_of

Answers = dict[str, Any]


@contextmanager
def server(answers: Answers, slow_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """Serve JSON by path; anything else is 404. Yield the address and the paths asked for."""
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length") or 0))
            time.sleep(slow_s)
            known = self.path in answers
            body = answers[self.path] if known else "nothing here"
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(200 if known else 404)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            with suppress(BrokenPipeError):  # nobody waited
                self.wfile.write(raw)

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", asked
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def window(answers: Answers, model: str = "openai/m", path: str = "/v1") -> int | None:
    with server(answers) as (address, _):
        return asyncio.run(window_of(model, address + path))


KINDS: dict[str, tuple[Answers, int]] = {
    "llama.cpp in use": ({"/props": {"default_generation_settings": {"n_ctx": 5120}}}, 5120),
    "llama.cpp's list": ({"/v1/models": {"data": [{"id": "x.gguf", "meta": {"n_ctx_train": 8192}}]}}, 8192),
    "vLLM": ({"/v1/models": {"data": [{"id": "m", "max_model_len": 32768}, {"id": "n", "max_model_len": 9}]}}, 32768),
    "LM Studio": (
        {"/api/v0/models": {"data": [{"id": "m", "max_context_length": 131072, "loaded_context_length": 4096}]}},
        4096,
    ),
    "koboldcpp": ({"/api/extra/true_max_context_length": {"value": 6144}}, 6144),
    "OpenRouter": ({"/v1/models": {"data": [{"id": "m", "context_length": 200000}, {"id": "n"}]}}, 200000),
}


@pytest.mark.parametrize(("answers", "expected"), KINDS.values(), ids=KINDS)
def test_each_kind_of_server_is_understood(answers: Answers, expected: int) -> None:
    assert window(answers) == expected


TRAINED = {"llama.context_length": 131072}
OLLAMA: dict[str, tuple[Answers, int]] = {
    "loaded with more": ({"/api/ps": {"models": [{"name": "m", "context_length": 16384}]}}, 16384),
    "loaded under its full name": ({"/api/ps": {"models": [{"name": "m:latest", "context_length": 16384}]}}, 16384),
    "loaded with Ollama's default": (
        {
            "/api/ps": {"models": [{"name": "m", "context_length": 4096}]},
            "/api/show": {"model_info": TRAINED},
        },
        8192,
    ),
    "chosen": ({"/api/show": {"parameters": "stop x\nnum_ctx 12288", "model_info": {}}}, 12288),
    "chosen to be small": ({"/api/show": {"parameters": "num_ctx 2048", "model_info": TRAINED}}, 2048),
    "what most machines bear": ({"/api/show": {"model_info": TRAINED}}, 8192),
    "small by nature": ({"/api/show": {"model_info": {"llama.context_length": 2048}}}, 2048),
}


@pytest.mark.parametrize(("answers", "expected"), OLLAMA.values(), ids=OLLAMA)
@pytest.mark.parametrize("path", ["", "/v1", "/api/"])
def test_ollama_is_asked_for_what_it_is_set_to_or_what_it_can_bear(answers: Answers, expected: int, path: str) -> None:
    assert window(answers, "ollama_chat/m", path) == expected


SILENT: dict[str, Answers] = {
    "nothing": {},
    "no JSON": {"/props": b"<html>", "/v1/models": b""},
    "other forms": {"/props": [1], "/v1/models": {"data": "m"}, "/api/v0/models": {"data": [None]}},
    "numbers that cannot be": {"/props": {"n_ctx": 0}, "/v1/models": {"data": [{"id": "m", "max_model_len": True}]}},
    "another model": {"/v1/models": {"data": [{"id": "x", "max_model_len": 999}, {"id": "y", "max_model_len": 999}]}},
    "nested without end": {"/props": b"[" * 100_000},
}


@pytest.mark.parametrize("answers", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("model", ["openai/m", "ollama_chat/m"])
def test_a_server_that_does_not_say_is_no_failure(answers: Answers, model: str) -> None:
    assert window(answers, model) is None


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/v1", "nonsense", "http://[::1", "ftp://127.0.0.1/v1", ""])
def test_an_address_where_nobody_is_is_no_failure(address: str) -> None:
    assert asyncio.run(window_of("openai/m", address)) is None


def test_a_server_that_hangs_is_not_waited_for() -> None:
    with server({"/props": {"n_ctx": 4096}}, slow_s=1.0) as (address, _):
        began = time.monotonic()
        assert asyncio.run(window_of("openai/m", address, timeout_s=0.2)) is None
        assert time.monotonic() - began < 0.8


def test_a_redirect_to_elsewhere_is_not_followed() -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", other)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with server({"/": {"n_ctx": 4096}}) as (other, asked):
        listening = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{listening.server_port}/v1"
        find: Callable[..., Any] = window_of
        assert asyncio.run(find("openai/m", address)) is None
        listening.shutdown()
        thread.join()
        listening.server_close()
        assert asked == []

"""What providers say when they fail becomes one sentence without keys, and a next step."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from memos.errors import (
    ContentFiltered,
    ContextOverflow,
    MemosError,
    NotConfigured,
    ProcessorError,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
)
from memos.llm.provider_errors import Failure, failure_of, retry_after_s
from memos.redaction import redacted


class ProviderError(Exception):
    """An error as the libraries shape theirs: a text, a status, perhaps a response with headers."""

    def __init__(self, text: str, status: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status_code = status
        self.response = SimpleNamespace(headers=headers or {})


def failure(text: str, status: int | None = None, headers: dict[str, str] | None = None) -> Failure:
    return failure_of(ProviderError(text, status, headers), "api.example.org", "openai/x")


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9203 tokens.",
        "prompt is too long: 208310 tokens > 200000 maximum",
        "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "Context size has been exceeded.",
        "The input token count (40000) exceeds the maximum number of tokens allowed (32768).",
        "Input is too long for requested model.",
        "Please reduce the length of the messages or completion.",
        "Requested tokens (2285) exceed context window of 2048",
    ],
)
def test_an_overflow_is_known_by_its_words(text: str) -> None:
    for status in (400, 413, 500, None):
        assert isinstance(failure(text, status).error, ContextOverflow)


@pytest.mark.parametrize(
    ("text", "status", "kind", "passing"),
    [
        ("Incorrect API key provided.", 401, ProcessorRefused, False),
        ("Your account has insufficient credit balance.", 402, ProcessorRefused, False),
        ("You exceeded your current quota, please check your plan and billing details.", 429, ProcessorRefused, False),
        ("Too many tokens, please wait before trying again.", 429, RateLimited, True),
        ("model 'x' not found, try pulling it first", 404, ProcessorRefused, False),
        ("The provided model identifier is invalid: unknown model", 400, ProcessorRefused, False),
        ("The response was filtered due to the content management policy.", 400, ContentFiltered, False),
        ("Overloaded", 529, ProcessorUnreachable, True),
        ("boom", 500, ProcessorUnreachable, True),
        ("Missing credentials. Please pass an `api_key`.", 500, NotConfigured, False),
        ("Unprocessable", 422, ProcessorRefused, False),
        ("who knows", None, ProcessorError, False),
    ],
)
def test_what_a_provider_says_is_told_by_class(
    text: str, status: int | None, kind: type[MemosError], passing: bool
) -> None:
    told = failure(text, status)
    assert type(told.error) is kind
    assert told.passing is passing
    assert told.error.next_step


@pytest.mark.parametrize(
    ("cause", "words", "passing"),
    [
        (ConnectionRefusedError(111, "refused"), "refused the connection", False),
        (socket.gaierror(-2, "unknown"), "could not be looked up", False),
        (ssl.SSLCertVerificationError(1, "self-signed"), "certificate", False),
        (ConnectionResetError(104, "reset"), "broke off", True),
    ],
)
def test_the_wire_is_known_by_what_lies_beneath(cause: OSError, words: str, passing: bool) -> None:
    error = ProviderError("Connection error.", 500)
    error.__cause__ = RuntimeError("a layer between")
    error.__cause__.__context__ = cause
    told = failure_of(error, "127.0.0.1:8080", "openai/x")
    assert isinstance(told.error, ProcessorUnreachable)
    assert words in told.error.what
    assert told.passing is passing


def test_a_circle_of_causes_ends() -> None:
    first, second = ProviderError("one"), ProviderError("two")
    first.__cause__, second.__cause__ = second, first
    assert isinstance(failure_of(first, "x", "y").error, ProcessorError)


def test_the_sentence_is_one_line_and_short() -> None:
    said = str(failure("a\n\x1b[2Jb " + "word " * 500, 400).error)
    assert "\n" not in said
    assert "\x1b" not in said
    assert len(said) < 500


def test_a_web_page_is_not_quoted() -> None:
    assert "<" not in str(failure("<!DOCTYPE html><html>502</html>", 502).error)


def test_keys_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "plain-looking-value")
    keys = (
        "sk-ant-api03-abcDEF_123",
        "gsk_abcdefghijkl",
        "AIzaSyA1234567890abc",
        "AKIAABCDEFGHIJKLMNOP",
        "sk-ab***yz12",
    )
    for key in (*keys, "plain-looking-value", "given to us"):
        text = redacted(f"Incorrect key: {key}. Header: Bearer {key}", ["given to us"])
        assert key not in text, text
    assert redacted("the task is risky, ask again") == "the task is risky, ask again"


def test_retry_after_comes_in_three_forms() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    for headers, seconds in (
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:20 GMT"}, 20.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ):
        assert retry_after_s(ProviderError("x", 429, headers), now) == seconds

"""The fake server itself: it refuses what real providers refuse, fails to order, and runs as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support import fake_openai
from support.fake_faults import FAULTS
from support.fake_openai import FakeOpenAI, script_from
from support.fake_rules import violations_of

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
USER = {"role": "user", "content": '{"type": "user_message", "message": "Hello."}'}


def assistant(*ids: str, arguments: str = "{}", name: str = "f") -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": name, "arguments": arguments}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "OK"}


def test_a_sound_history_is_accepted() -> None:
    messages = [USER, assistant("a", "b"), result("b"), result("a"), USER, assistant("c"), result("c")]
    assert violations_of({"messages": messages, "tools": TOOLS}) == []


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [assistant("a"), result("a")],
        [USER, assistant("a")],
        [USER, assistant("a"), USER],
        [USER, result("a")],
        [USER, assistant("a"), result("a"), result("a")],
        [USER, assistant("a"), result("a"), assistant("a"), result("a")],
        [USER, assistant("a", arguments='{"x": 1'), result("a")],
        [USER, assistant("a", arguments="[]"), result("a")],
        [USER, assistant("a", name="no name"), result("a")],
        [USER, assistant(""), result("")],
        [USER, {"role": "assistant", "content": ""}, USER],
        [USER, {"role": "assistant", "content": " \n"}, USER],
        [USER, {"role": "assistant", "content": "Hi."}],
    ],
)
def test_a_broken_history_is_refused_and_remembered(messages: list[dict[str, Any]]) -> None:
    body = {"model": "m", "messages": messages, "tools": TOOLS}
    assert violations_of(body)
    with FakeOpenAI() as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server.url, body)
        assert caught.value.code == 400
        assert server.violations


PNG = "data:image/png;base64,iVBORw0KGgo="


def parts(*contents: dict[str, Any], role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": list(contents)}]


def shown(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


WORDS = {"type": "text", "text": "Who is it?"}


def test_pictures_are_taken_with_their_words_and_text_alone_must_be_a_string() -> None:
    assert violations_of({"messages": parts(shown(PNG), WORDS), "tools": TOOLS}) == []
    assert violations_of({"messages": parts(WORDS), "tools": TOOLS})


@pytest.mark.parametrize(
    "messages",
    [
        parts(shown("https://example.org/cat.png"), WORDS),
        parts(shown(PNG.replace("png", "jpeg", 1)), WORDS),
        parts(shown(PNG), {"type": "text", "text": " "}),
        parts(shown(PNG), {"type": "input_image"}),
        parts(shown("data:image/png;base64," + "iVBO" + "A" * 6_000_000), WORDS),
        [USER, *parts(shown(PNG), role="assistant"), USER],
    ],
)
def test_a_broken_picture_is_refused(messages: list[dict[str, Any]]) -> None:
    assert violations_of({"messages": messages, "tools": TOOLS})


def post(url: str, body: dict[str, Any]) -> bytes:
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return bytes(response.read())


def test_every_fault_names_its_source() -> None:
    for name, fault in FAULTS.items():
        assert re.search(r"\(.+\)|: ", fault.source), name


PLAIN = {"model": "m", "messages": [USER]}


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (PLAIN, True),
        ({**PLAIN, "messages": [USER, {"role": "assistant", "content": "Hi."}, USER]}, True),
        ({**PLAIN, "messages": [USER, USER]}, False),
        ({**PLAIN, "messages": [USER, USER], "tools": TOOLS}, True),
        ({**PLAIN, "messages": [USER, *[{"role": "assistant", "content": "Hi."}] * 2, USER]}, False),
        ({**PLAIN, "messages": [USER, assistant("a"), result("a")]}, False),
        ({**PLAIN, "stream_options": {"include_usage": True}}, False),
        ({**PLAIN, "stream": True, "stream_options": {"include_usage": True}}, True),
        ({**PLAIN, "messages": [{"role": "user", "content": "half \ud83d"}]}, False),
    ],
)
def test_without_tools_the_roles_alternate_and_there_is_no_tool(body: dict[str, Any], allowed: bool) -> None:
    assert (violations_of(body) == []) is allowed


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_endless_text_is_cut_where_no_client_should_be_any_more(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_openai, "ENDLESS_LIMIT_BYTES", 300_000)
    with FakeOpenAI(script_from("fault:endless_text")) as server:
        with pytest.raises((OSError, http.client.HTTPException)):
            post(server.url, {**PLAIN, "stream": stream})
        assert 300_000 < server.most_sent < 320_000


def test_what_is_refused_only_in_part_is_answered_without_that_part() -> None:
    with FakeOpenAI(script_from("fault:refuses_tools")) as server:
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(server.url, {**PLAIN, "tools": TOOLS})
        assert b"spoilt" in post(server.url, PLAIN)


def test_a_fault_nobody_knows_is_told() -> None:
    with pytest.raises(ValueError, match="no fault 'nonsense'"):
        script_from("fault:nonsense")


def test_a_chain_goes_on_where_the_history_stands() -> None:
    with FakeOpenAI(script_from("chain:2")) as server:
        messages: list[dict[str, Any]] = [USER]
        names = []
        for _ in range(3):
            answer = json.loads(post(server.url, {"model": "m", "messages": messages, "tools": TOOLS}))
            call = answer["choices"][0]["message"]["tool_calls"][0]
            names.append(call["function"]["name"])
            messages += [answer["choices"][0]["message"], result(call["id"])]
        assert names == ["core_memory_append", "conversation_search", "send_message"]
        assert server.violations == []


def test_it_runs_as_a_process_of_its_own() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "support.fake_openai", "--script", "say:Good evening.", "--model", "one"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            body = {"model": "one", "messages": [USER], "tools": TOOLS}
            assert b"Good evening." in post(url, body)
            assert post(url, {**body, "stream": True}).endswith(b"data: [DONE]\n\n")
            with urllib.request.urlopen(f"{url}/models", timeout=10) as response:
                assert [model["id"] for model in json.load(response)["data"]] == ["one"]
            with urllib.request.urlopen(url.removesuffix("/v1") + "/requests", timeout=10) as response:
                assert len(json.load(response)["requests"]) == 2
        finally:
            process.terminate()

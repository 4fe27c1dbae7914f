"""Models are found on loopback, and at an endpoint the user named; over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_openai import FakeOpenAI, refused_url
from support.fake_openai_like import FakeKobold

from memos.errors import BadInput, ProcessorRefused, ProcessorUnreachable
from memos.llm.catalogue import LOCAL_SERVERS, LocalServerKind, Provider
from memos.llm.discovery import (
    _model_names,
    find_local_servers,
    list_endpoint_models,
    list_models,
    list_provider_models,
)


@contextmanager
def serving(body: bytes, status: int = 200, key: str = "", delay_s: float = 0, location: str = "") -> Iterator[Any]:
    """A web server with one answer; with `key` it wants that key. `seen` are the paths and headers that came."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.seen.append((self.path, dict(self.headers)))
            time.sleep(delay_s)
            given = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
            self.send_response(401 if key and given != key else status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        seen: list[tuple[str, dict[str, str]]]
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # the client has hung up, as it should

    server = Server(("127.0.0.1", 0), Page)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def port(server: Any) -> int:
    return int(server.server_address[1])


def models(*names: str, **more: object) -> bytes:
    return json.dumps({"data": [{"id": name, **more} for name in names]}).encode()


def test_servers_on_loopback_are_found_with_their_models() -> None:
    tags = {
        "models": [
            {"name": "llama:8b", "details": {"family": "llama"}},
            {"name": "n", "details": {"family": "nomic-bert"}},
        ]
    }
    with FakeOpenAI(models=("one", "two")) as fake, serving(json.dumps(tags).encode()) as ollama:
        kinds = [
            LocalServerKind("Ollama", port(ollama), "ollama_chat", api_path="", models_path="/api/tags"),
            LocalServerKind("LM Studio", fake.port, "lm_studio"),
        ]
        found = find_local_servers(kinds)
    assert [(server.title, server.models) for server in found] == [
        ("Ollama", ("ollama_chat/llama:8b",)),
        ("LM Studio", ("lm_studio/one", "lm_studio/two")),
    ]
    assert found[0].api_base == f"http://127.0.0.1:{port(ollama)}"
    assert found[1].api_base == fake.url


def test_koboldcpp_is_found_under_its_own_prefix() -> None:
    with FakeKobold() as fake:
        kind = replace(next(kind for kind in LOCAL_SERVERS if kind.title == "koboldcpp"), port=urlsplit(fake.root).port)
        (found,) = find_local_servers([kind])
        listed = list_endpoint_models(fake.root, prefix="koboldcpp")
    assert (found.api_base, found.models) == (fake.url, ("koboldcpp/mistral-7b",))
    assert listed == ["koboldcpp/mistral-7b"]


def test_a_web_server_that_is_no_model_server_is_not_taken_for_one() -> None:
    with serving(b"<html>hello</html>") as page, serving(b"{}", status=404) as missing, serving(b"[1, 2]") as odd:
        kinds = [LocalServerKind("x", port(server), "openai") for server in (page, missing, odd)]
        assert [server.models for server in find_local_servers(kinds)] in ([], [()])


def test_the_look_out_ends_in_time_when_a_server_accepts_and_never_answers() -> None:
    with socket.socket() as deaf, FakeOpenAI(models=("one",)) as fake:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        kinds = [LocalServerKind("deaf", deaf.getsockname()[1], "openai"), LocalServerKind("good", fake.port, "openai")]
        began = time.monotonic()
        found = find_local_servers(kinds, timeout_s=1.0)
        assert time.monotonic() - began < 2.0  # the import of the HTTP client on a busy machine included
    assert [server.title for server in found] == ["good"]


def test_where_nothing_listens_no_http_client_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from memos.llm.catalogue import LocalServerKind as K; from memos.llm.discovery import *;"
        f"assert find_local_servers([K('x', {refused_url().split(':')[2].split('/')[0]}, 'openai')]) == [];"
        "assert 'httpx' not in sys.modules and 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_endpoint_is_asked_with_the_key_it_wants() -> None:
    with serving(models("m"), key="sk-1") as server:
        url = f"http://127.0.0.1:{port(server)}/v1"
        assert list_endpoint_models(url, prefix="openai", key="sk-1") == ["openai/m"]
        assert server.seen[0][0] == "/v1/models"
        with pytest.raises(ProcessorRefused, match="did not accept the key") as caught:
            list_endpoint_models(url, prefix="openai", key="sk-wrong-key")
        assert "sk-wrong-key" not in str(caught.value)


def test_each_provider_is_given_its_key_in_its_own_way() -> None:
    with serving(models("m"), key="k") as server:
        url = f"http://127.0.0.1:{port(server)}/v1/models"
        assert list_provider_models(Provider("p", "P", ("P",), url, "x-api-key"), "k") == ["p/m"]
        assert list_provider_models(Provider("p", "P", ("P",), url), "k") == ["p/m"]
        assert "anthropic-version" in server.seen[0][1] and "anthropic-version" not in server.seen[1][1]
    assert list_provider_models(Provider("p", "P", ("P",)), "k") == []


def test_a_key_does_not_travel_to_where_a_redirect_points() -> None:
    with serving(models("m")) as other, serving(b"", status=302, location=f"http://127.0.0.1:{port(other)}/") as first:
        with pytest.raises(ProcessorRefused):
            list_endpoint_models(f"http://127.0.0.1:{port(first)}/v1", prefix="openai", key="sk-1")
        assert other.seen == []


def test_a_proxy_of_the_environment_is_not_asked_about_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(models("proxied")) as proxy, serving(models("direct")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port(proxy)}")
        found = list_endpoint_models(f"http://127.0.0.1:{port(server)}/v1", prefix="openai")
        assert found == ["openai/direct"] and proxy.seen == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, ProcessorRefused), (404, ProcessorRefused), (429, ProcessorUnreachable), (503, ProcessorUnreachable)],
)
def test_each_refusal_is_one_sentence_with_a_next_step(status: int, error: type[Exception]) -> None:
    with serving(b"{}", status=status) as server, pytest.raises(error) as caught:
        list_endpoint_models(f"http://127.0.0.1:{port(server)}/v1", prefix="openai")
    assert str(status) in str(caught.value) and "Next:" in str(caught.value)


def test_an_endpoint_that_is_not_there_or_silent_is_one_sentence() -> None:
    with pytest.raises(ProcessorUnreachable, match="no connection"):
        list_endpoint_models(refused_url(), prefix="openai")
    with serving(models("m"), delay_s=1) as server, pytest.raises(ProcessorUnreachable, match="in time"):
        list_endpoint_models(f"http://127.0.0.1:{port(server)}/v1", prefix="openai", timeout_s=0.3)


@pytest.mark.parametrize("url", ["", "box", "ftp://x/v1", "http://", "file:///etc/passwd", "http://[bad/v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        list_models(url, prefix="openai")


def test_models_that_do_not_chat_are_left_out_and_callers_of_functions_come_first() -> None:
    names = ("text-embedding-3-small", "whisper-1", "unknown-new-model", "gpt-4o", "tts-1")
    with serving(models(*names)) as server:
        found = list_models(f"http://127.0.0.1:{port(server)}/v1/models", prefix="openai")
    assert found == ["openai/gpt-4o", "openai/unknown-new-model"]


def test_the_newest_model_comes_first_where_the_endpoint_says_when() -> None:
    rows = [{"id": "old", "created": 1}, {"id": "new", "created": 9}, {"id": "undated"}]
    with serving(json.dumps({"data": rows}).encode()) as server:
        found = list_models(f"http://127.0.0.1:{port(server)}/v1/models", prefix="x")
    assert found == ["x/new", "x/old", "x/undated"]


def test_a_name_with_control_characters_in_it_is_no_name() -> None:
    assert _model_names({"data": [{"id": "a\x1b[2J"}, {"id": " b"}, {"id": ""}, {"id": "c" * 201}, {"id": "ok"}]}) == [
        "ok"
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["data", "models", "id", "name", "details", "x"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_answer_whatever_breaks_the_reading_of_models(answer: object) -> None:
    names = _model_names(answer)
    assert names is None or all(isinstance(name, str) and name.isprintable() for name in names)

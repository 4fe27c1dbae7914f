"""A remote embedder against a real server: vectors, and every way in which there are none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.fake_embeddings import FakeEmbeddings
from support.fake_openai import refused_url

from memos.errors import EmbeddingProblem
from memos.llm.remote_embedder import RemoteEmbedder
from memos.messages import TokenUsage


@pytest.fixture
def server() -> Iterator[FakeEmbeddings]:
    with FakeEmbeddings() as server:
        yield server


def embedder(server: FakeEmbeddings, **more: Any) -> RemoteEmbedder:
    return RemoteEmbedder("openai/fake-embedding", api_base=server.url, **more)


def test_vectors_come_in_the_order_of_the_texts_whatever_the_order_of_the_answer(server: FakeEmbeddings) -> None:
    model = embedder(server)
    assert model.dims == 0
    vectors = model.embed([*(f"text {number}" for number in range(69)), "bees make honey"])
    assert vectors.shape == (70, 64) and vectors.dtype == np.float32 and model.dims == 64
    assert [len(body["input"]) for body in server.bodies] == [32, 32, 6]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert int(np.argmax(vectors @ model.embed(["honey of bees"])[0])) == 69


def test_what_a_request_used_is_reported(server: FakeEmbeddings) -> None:
    calls: list[tuple[TokenUsage, float | None]] = []
    model = embedder(server, on_call=lambda usage, cost: calls.append((usage, cost)))
    model.embed(["three little words"])
    server.usage = False
    model.embed(["three little words"])
    assert calls == [(TokenUsage(3, 0), None), (TokenUsage(None, 0), None)]


def test_a_key_is_sent_to_the_server_it_is_for_and_no_other_one_is(
    server: FakeEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-house")
    embedder(server, api_key="its-own").embed(["a"])
    embedder(server).embed(["a"])
    assert server.keys == ["its-own", "none"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("500", "failed \\(status 500\\)"),
        ("401", "refused the key"),
        ("nan", "zero or not numbers"),
        ("null", "zero or not numbers"),
        ("zero", "zero or not numbers"),
        ("one_missing", "one vector for each text"),
        ("non_json", "No vectors"),
        ("hang", "in time|no vectors for"),
    ],
)
def test_a_server_that_gives_no_vectors_is_a_problem_told_and_asked_once(
    server: FakeEmbeddings, fault: str, said: str
) -> None:
    server.fault = fault
    model = embedder(server, timeout_s=0.5, pause_s=60)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(EmbeddingProblem, match=said):
            model.embed(["a", "b"])
    assert len(server.bodies) == 1 and time.monotonic() - began < 10


def test_a_port_where_nobody_listens_is_told_and_tried_again_after_a_pause(server: FakeEmbeddings) -> None:
    model = RemoteEmbedder("openai/fake-embedding", api_base=refused_url(), pause_s=60)
    with pytest.raises(EmbeddingProblem, match=r"refused the connection.*memory.embedding_api_base"):
        model.embed(["a"])
    server.fault = "500"
    model = embedder(server, pause_s=0.1)
    with pytest.raises(EmbeddingProblem):
        model.embed(["a"])
    server.fault = ""
    time.sleep(0.11)
    assert model.embed(["a"]).shape == (1, 64)


def test_another_dimension_than_before_is_a_problem_with_its_way_out(server: FakeEmbeddings) -> None:
    with pytest.raises(EmbeddingProblem, match=r"64 dimensions; those of openai/fake-embedding had 32.*reindex --all"):
        embedder(server, dims=32).embed(["a"])


def test_one_text_without_a_vector_does_not_take_the_others_with_it(server: FakeEmbeddings) -> None:
    server.fault = "some_null"
    vectors = embedder(server).embed(["bees", "poison", "honey"])
    assert np.isfinite(vectors).all(axis=1).tolist() == [True, False, True]


def test_a_text_too_long_for_the_model_is_sent_shorter(server: FakeEmbeddings) -> None:
    server.fault = "too_long"
    assert embedder(server).embed(["word " * 4_000, "short"]).shape == (2, 64)
    assert [len(body["input"][0]) for body in server.bodies] == [8_000, 2_000, 500]


def test_a_hanging_call_is_given_up_when_the_conversation_ends(server: FakeEmbeddings) -> None:
    import threading

    server.fault = "hang"
    model = embedder(server, timeout_s=30)
    model_closes = threading.Timer(0.5, model.close)
    model_closes.start()
    began = time.monotonic()
    with pytest.raises(EmbeddingProblem, match="ended"):
        model.embed(["a"])
    assert time.monotonic() - began < 8


def test_the_same_model_on_another_server_is_another_space(server: FakeEmbeddings) -> None:
    names = {embedder(server).name, RemoteEmbedder("openai/fake-embedding").name, "openai/fake-embedding"}
    assert len(names) == 2
    assert "secret" not in RemoteEmbedder("openai/m", api_base="http://me:secret@host:1/v1").name

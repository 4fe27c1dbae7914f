"""What the wizard finds at an address: the path that was left out, and the refusal of the address as it was typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.fake_openai_like import FakeGateway, FakeKobold, FakeLmStudio, OpenAiLike
from support.wire_server import WireServer

from memos.errors import ProcessorRefused
from memos.terminal.finds import reach_endpoint

TYPED: dict[str, tuple[Callable[[], WireServer], str]] = {
    "as it is": (OpenAiLike, "/v1"),
    "without a path": (OpenAiLike, ""),
    "the article's gateway": (FakeGateway, "/api"),
    "the gateway's root": (FakeGateway, "/"),
    "koboldcpp": (FakeKobold, ""),
    "LM Studio": (FakeLmStudio, ""),
}


@pytest.mark.parametrize(("serve", "path"), TYPED.values(), ids=TYPED)
def test_the_path_that_was_left_out_is_found(serve: Callable[[], WireServer], path: str) -> None:
    with serve() as server:
        address, models = reach_endpoint(server.root + path, prefix="openai", key=None)
    assert address == server.url
    assert sorted(models) == sorted(f"openai/{name}" for name in server.models)


@pytest.mark.parametrize("path", ["", "/elsewhere"])
def test_where_there_is_none_the_address_as_typed_is_refused(path: str) -> None:
    with WireServer() as server, pytest.raises(ProcessorRefused, match="no list of models"):
        reach_endpoint(server.root + path, prefix="openai", key=None)

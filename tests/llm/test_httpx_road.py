"""The road to OpenAI-compatible endpoints: texts on any lines. All that can go wrong: `kernel/test_faults.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from memos.llm.httpx_road import _streamed
from memos.llm.road import NoUsableAnswer

ONE = '{"choices": [{"delta": {"content": "Bees."}}]}'
PRINTED = 'data: {\ndata:  "choices": [\ndata:   {"delta": {"content": "Bees."}}\ndata:  ]\ndata: }\n\n'


def words(text: str, size: int) -> str:
    async def read() -> str:
        async def pieces() -> AsyncIterator[bytes]:
            data = text.encode()
            for place in range(0, len(data), size):
                yield data[place : place + size]

        return "".join([chunk.content async for chunk in _streamed(b"", pieces())])

    return asyncio.run(read())


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("event", [f"data: {ONE}\n\n", f"data:{ONE}\r\n", PRINTED, f": alive\n\nid: 1\ndata: {ONE}\n"])
def test_a_text_is_read_however_it_stands_in_its_lines(event: str, size: int) -> None:
    assert words(event * 3 + "data: [DONE]\n\n", size) == "Bees." * 3


@pytest.mark.parametrize(
    "broken",
    [
        'data: {"choices": [{"delta\n\n',
        "data: nonsense\n\n",
        "data: [1, 2]\n\n",
        "data: {\n" * 2_000,
        f"{PRINTED[:40]}\n",
    ],
)
@pytest.mark.parametrize("after", ["", f"data: {ONE}\n\n"])
def test_a_line_that_is_no_json_ends_the_stream_and_what_came_before_it_is_kept(broken: str, after: str) -> None:
    with pytest.raises(NoUsableAnswer, match="not JSON"):
        words(f"data: {ONE}\n\n{broken}{after}", 10_000)

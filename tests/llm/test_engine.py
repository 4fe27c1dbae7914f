"""The engine: a real model in this process, silent, closed to the network, and stoppable."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos.errors import BadInput, ContextOverflow, ProcessorUnreachable
from memos.llm.engine import Engine, check_gguf
from memos.llm.weights import builtin_weights
from memos.messages import Finish

pytestmark = pytest.mark.builtin_model


@pytest.fixture(scope="module")
def engine(builtin_cache: Path) -> Iterator[Engine]:
    weights = builtin_weights(builtin_cache, lambda _: None)
    loaded = Engine(weights, threads=1, window_tokens=512, slots=2)
    yield loaded
    loaded.close()


def test_a_completion_ends_at_its_stop_string(engine: Engine) -> None:
    done = engine.complete("one\ntwo\nthree\nfour\n", max_tokens=20, stop=["\n"])
    assert done.text.strip() == "five"
    assert done.finish is Finish.STOP


def test_text_arrives_in_pieces_that_make_the_whole(engine: Engine) -> None:
    pieces: list[str] = []
    done = engine.complete("Once upon a time", max_tokens=12, on_text=pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == done.text
    assert done.finish is Finish.LENGTH
    assert done.usage.reply_tokens == 12


def test_a_cancelled_completion_ends_at_the_next_token(engine: Engine) -> None:
    cancelled = threading.Event()
    done = engine.complete("Once upon a time", max_tokens=400, on_text=lambda _: cancelled.set(), cancelled=cancelled)
    assert done.finish is Finish.CANCELLED
    assert len(done.text) < 40


def test_an_error_in_the_listener_comes_out(engine: Engine) -> None:
    def broken(_: str) -> None:
        raise LookupError("from the listener")

    with pytest.raises(LookupError):
        engine.complete("Once upon a time", max_tokens=4, on_text=broken)


def test_the_likelier_label_has_the_higher_probability(engine: Engine) -> None:
    shots = "rose => flower\niron => metal\ntulip => flower\ngold => metal\n"
    for word, right in (("silver", 1), ("daisy", 0)):
        weighed = engine.next_token(f"{shots}{word} =>", [" flower", " metal", " zzzz"])
        assert weighed.index(max(weighed)) == right
        assert weighed[2] == min(weighed)


def test_a_prompt_read_before_costs_only_its_end(engine: Engine) -> None:
    shots = "rose => flower\niron => metal\n" * 6
    engine.complete(shots + "oak =>", max_tokens=2, slot=1)
    again = engine.complete(shots + "ash =>", max_tokens=2, slot=1)
    assert again.usage.prompt_tokens is not None and again.usage.cached_tokens is not None
    assert again.usage.prompt_tokens - again.usage.cached_tokens < 8


def test_slots_that_fill_the_window_together_give_way(engine: Engine) -> None:
    for slot in (0, 1, 0):
        assert engine.complete(f"slot {slot} " + "word and " * 150, max_tokens=2, slot=slot).text


def test_a_prompt_longer_than_the_window_is_refused(engine: Engine) -> None:
    with pytest.raises(ContextOverflow):
        engine.complete("word " * 600, max_tokens=2)


def test_loading_and_asking_print_nothing_and_open_no_port(
    builtin_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = _listening()
    other = Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=128)
    other.complete("Once", max_tokens=2)
    assert _listening() == before
    other.close()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ProcessorUnreachable, match="closed"):
        other.complete("Once", max_tokens=2)


def test_a_file_that_is_no_model_is_named_and_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        check_gguf(tmp_path / "absent.gguf")
    text = tmp_path / "notes.gguf"
    text.write_text("not a model")
    with pytest.raises(BadInput, match="not a GGUF"):
        check_gguf(text)
    text.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(BadInput, match="could not be loaded"):
        Engine(text, threads=1, window_tokens=128)


def _listening() -> set[str]:
    """Return the sockets of this process that listen on TCP (inode numbers)."""
    own = {match[1] for fd in Path("/proc/self/fd").iterdir() if (match := _socket(fd))}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/self/net/{name}").read_text().splitlines()]
    return {row[9] for row in rows if len(row) > 9 and row[3] == "0A" and row[9] in own}


def _socket(descriptor: Path) -> re.Match[str] | None:
    try:
        return re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
    except OSError:
        return None


@pytest.mark.builtin_model
def test_an_engine_that_is_closed_as_soon_as_it_is_loaded_ends(builtin_cache: Path) -> None:
    for _ in range(5):
        Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=512).close()

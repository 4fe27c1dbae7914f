"""What a model file says of itself, read from real files and from broken ones."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.errors import BadInput
from memos.llm.gguf import ModelFile, read_gguf
from memos.llm.weights import builtin_weights


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(entries: bytes, count: int, tensors: bytes = b"", tensor_count: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensor_count, count) + entries + tensors


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
WINDOW = text("llama.context_length") + struct.pack("<II", 4, 4096)
TOKENS = text("tokenizer.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
SCORES = text("tokenizer.scores") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 1.0, 2.0)
TENSOR = text("output") + struct.pack("<I", 2) + struct.pack("<QQ", 30, 20) + struct.pack("<IQ", 0, 0)
WHOLE = gguf(ARCHITECTURE + TOKENS + SCORES + WINDOW, 4, TENSOR * 2, 2)


@pytest.mark.builtin_model
def test_the_built_in_model_says_what_it_is(builtin_cache: Path) -> None:
    assert read_gguf(builtin_weights(builtin_cache, lambda _: None)) == ModelFile("llama", 134_515_008, 8192)


def test_a_larger_model_says_what_it_is() -> None:
    named = os.environ.get("MEMOS_TEST_GGUF")
    if not named:
        pytest.skip("MEMOS_TEST_GGUF names no larger model")
    found = read_gguf(Path(named))
    assert found.architecture
    assert found.parameters > 400_000_000
    assert found.context_tokens >= 2048


def test_parameters_are_added_up_where_none_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(WHOLE)
    assert read_gguf(path) == ModelFile("llama", 1200, 4096)
    declared = text("general.parameter_count") + struct.pack("<IQ", 10, 7_000_000)
    path.write_bytes(gguf(ARCHITECTURE + declared, 2))
    assert read_gguf(path) == ModelFile("llama", 7_000_000, 0)


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=12))
def test_a_damaged_file_is_refused_or_read_and_never_more(cut: int, junk: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(WHOLE[:cut] + junk + WHOLE[cut + len(junk) :])
        try:
            assert read_gguf(path).parameters >= 0
        except BadInput as refused:
            assert refused.next_step


def test_a_file_that_ends_early_or_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with pytest.raises(BadInput, match="cannot be read"):
        read_gguf(path)
    path.write_bytes(WHOLE[:40])
    with pytest.raises(BadInput, match="damaged"):
        read_gguf(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(BadInput, match="not a GGUF"):
        read_gguf(path)

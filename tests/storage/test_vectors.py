"""The vector table: exact, without duplicates, closed to injection, and never fatal when it breaks."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from memos.errors import DataDamaged, EmbeddingProblem
from memos.storage import vectors as vectors_module
from memos.storage.vectors import Among, VectorRow, VectorTable

DIMS = 8


@pytest.fixture
def table(tmp_path: Path) -> VectorTable:
    table = VectorTable(tmp_path / "lance", "recall", "test/eight", DIMS)
    table.create()
    return table


def some_vectors(count: int, seed: int = 1) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMS), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def rows(vectors: np.ndarray, agent_id: str = "a", first_seq: int = 1) -> list[VectorRow]:
    return [VectorRow(f"{agent_id}{first_seq + n}", agent_id, first_seq + n, v) for n, v in enumerate(vectors)]


def write_fifty(folder: Path, seed: int) -> None:
    table = VectorTable(folder, "recall", "test/eight", DIMS)
    for row in rows(some_vectors(50, seed)):
        table.upsert([row])


def test_nearest_gives_true_cosines_in_falling_order(table: VectorTable) -> None:
    stored, query = some_vectors(300), some_vectors(1, seed=2)[0]
    table.upsert(rows(stored))
    found = table.nearest("a", query)
    expected = stored @ query
    assert found.seqs.tolist() == (np.argsort(-expected) + 1).tolist()
    assert np.allclose(found.cosines, np.sort(expected)[::-1], atol=1e-5)
    assert table.nearest("a", query, limit=10).seqs.tolist() == found.seqs[:10].tolist()


def test_a_big_table_is_scanned_and_gives_the_same(table: VectorTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.upsert(rows(some_vectors(300)))
    table.upsert(rows(some_vectors(5, seed=3), agent_id="b", first_seq=301))
    query = some_vectors(1, seed=2)[0]
    in_memory = table.nearest("a", query, limit=20)
    monkeypatch.setattr(vectors_module, "MATRIX_LIMIT_ROWS", 10)
    scanned = table.nearest("a", query, limit=20)
    assert scanned.seqs.tolist() == in_memory.seqs.tolist()
    assert np.allclose(scanned.cosines, in_memory.cosines, atol=1e-5)


def test_a_vector_of_the_same_id_takes_the_place_of_the_old_one(table: VectorTable) -> None:
    table.upsert(rows(some_vectors(3)))
    table.upsert(rows(some_vectors(3, seed=9)))
    assert table.count() == 3
    assert table.nearest("a", some_vectors(3, seed=9)[1]).seqs[0] == 2


def test_two_processes_writing_the_same_ids_leave_no_duplicate(table: VectorTable) -> None:
    context = multiprocessing.get_context("spawn")  # LanceDB has threads, which a fork would lose
    writers = [context.Process(target=write_fifty, args=(table.folder, seed)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert table.count() == 50
    assert sorted(table.nearest("a", some_vectors(1)[0]).seqs.tolist()) == list(range(1, 51))


def test_what_another_handle_writes_is_found_at_once(table: VectorTable) -> None:
    assert table.nearest("a", some_vectors(1)[0]).seqs.tolist() == []
    other = VectorTable(table.folder, "recall", "test/eight", DIMS)
    other.upsert(rows(some_vectors(2)))
    assert len(table.nearest("a", some_vectors(1)[0]).seqs) == 2
    other.create()
    assert table.count() == 0


@pytest.mark.parametrize("evil", ["a' OR '1'='1", 'a" OR "1"="1', "a'; DROP TABLE recall; --", "", "%", "\\"])
def test_an_agent_id_is_a_value_and_never_a_condition(table: VectorTable, evil: str) -> None:
    table.upsert(rows(some_vectors(5)))
    assert table.nearest(evil, some_vectors(1)[0]).seqs.tolist() == []
    table.delete([evil])
    assert table.count() == 5


def test_deleted_vectors_are_gone(table: VectorTable) -> None:
    table.upsert(rows(some_vectors(5)))
    table.delete(["a2", "a4", "nobody"])
    assert sorted(table.nearest("a", some_vectors(1)[0]).seqs.tolist()) == [1, 3, 5]


@pytest.mark.parametrize("wrong", [np.full(DIMS, np.nan), np.zeros(DIMS), np.ones(DIMS + 1), np.full(DIMS, np.inf)])
def test_a_vector_that_cannot_be_compared_is_refused_and_nothing_is_written(
    table: VectorTable, wrong: np.ndarray
) -> None:
    good = rows(some_vectors(1))
    with pytest.raises(EmbeddingProblem):
        table.upsert([*good, VectorRow("bad", "a", 2, wrong.astype(np.float32))])
    with pytest.raises(EmbeddingProblem):
        table.nearest("a", wrong.astype(np.float32))
    assert table.count() == 0


def test_many_small_writes_are_compacted(table: VectorTable) -> None:
    for row in rows(some_vectors(105)):
        table.upsert([row])
    assert table.needs_upkeep()
    table.keep_up()
    assert not table.needs_upkeep()
    assert table.count() == 105


@pytest.fixture
def big(table: VectorTable, monkeypatch: pytest.MonkeyPatch) -> VectorTable:
    """A table of two agents with more rows than are held in memory, and with its index."""
    monkeypatch.setattr(vectors_module, "MATRIX_LIMIT_ROWS", 250)
    table.upsert(rows(some_vectors(5_000)))
    table.upsert(rows(some_vectors(300, seed=3), agent_id="b", first_seq=10_001))
    assert table.needs_upkeep()
    table.keep_up()
    assert not table.needs_upkeep() and table._upkeep is not None and table._upkeep.wait(timeout=120) == 0
    assert not table.needs_upkeep()
    return table


def uses_index(table: VectorTable) -> bool:
    return "ANN" in table._latest().search(some_vectors(1)[0]).distance_type("cosine").limit(5).explain_plan(
        verbose=True
    )


def test_a_big_table_is_searched_by_its_index_and_nearly_all_is_found(big: VectorTable) -> None:
    assert uses_index(big)
    stored, found = some_vectors(5_000), 0
    for query in some_vectors(20, seed=2):
        cosines = stored @ query
        nearest = big.nearest("a", query)
        assert np.allclose(nearest.cosines, cosines[nearest.seqs - 1], atol=1e-5), (
            "true cosines, not those of the index"
        )
        assert (np.diff(nearest.cosines) <= 0).all()
        found += len({*(np.argsort(-cosines)[:10] + 1).tolist()} & {*nearest.seqs[:10].tolist()})
    assert found >= 0.95 * 200
    query = some_vectors(1, seed=2)[0]
    assert big.nearest("a", query, limit=3).seqs.tolist() == big.nearest("a", query).seqs[:3].tolist()


def test_an_agent_with_few_rows_of_a_big_table_finds_all_of_its_own_and_no_others(big: VectorTable) -> None:
    for query in some_vectors(20, seed=2):
        assert big.nearest("a", query).seqs.max() <= 5_000
        assert set(big.nearest("b", query, limit=50).seqs.tolist()) <= set(range(10_001, 10_301))
    big.upsert(rows(some_vectors(7, seed=4), agent_id="c", first_seq=20_001))
    assert sorted(big.nearest("c", some_vectors(1)[0]).seqs.tolist()) == list(range(20_001, 20_008))


def test_a_row_is_found_before_the_index_holds_it_and_not_after_it_was_deleted(big: VectorTable) -> None:
    new = some_vectors(1, seed=11)
    big.upsert(rows(new, first_seq=6_000))
    assert big._latest().index_stats("vector_idx").num_unindexed_rows == 1
    assert big.nearest("a", new[0], limit=1).seqs.tolist() == [6_000]
    big.delete(["a6000"])
    assert 6_000 not in big.nearest("a", new[0]).seqs


def test_the_true_cosine_of_any_row_of_a_big_table_can_be_asked_for(big: VectorTable) -> None:
    stored, query = some_vectors(5_000), some_vectors(1, seed=2)[0]
    wanted = np.array([17, 4_000, 10_001, 999_999])
    cosines = big.nearest("a", query, limit=5).of(wanted)
    assert np.allclose(cosines[:2], (stored @ query)[wanted[:2] - 1], atol=1e-5)
    assert np.isnan(cosines[2:]).all(), "another agent's row and one that is not there"


@pytest.mark.parametrize("count", [50, 3_000])
def test_among_some_rows_of_a_big_table_the_nearest_are_found(big: VectorTable, count: int) -> None:
    only, query = np.arange(1_000, 1_000 + count), some_vectors(1, seed=2)[0]
    cosines = some_vectors(5_000) @ query
    expected = [seq for seq in (np.argsort(-cosines) + 1).tolist() if seq in set(only.tolist())][:5]
    found = big.nearest("a", query, among=Among(only=only, without=np.array(expected[:1])))
    assert found.seqs[:4].tolist() == expected[1:]


def test_readers_and_writers_go_on_while_the_index_is_built(
    table: VectorTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "MATRIX_LIMIT_ROWS", 250)
    table.upsert(rows(some_vectors(3_000)))
    table.keep_up()
    assert table._upkeep is not None
    written = 0
    while table._upkeep.poll() is None:
        new = some_vectors(1, seed=100 + written)
        table.upsert(rows(new, first_seq=9_000 + written))
        assert table.nearest("a", new[0], limit=1).seqs.tolist() == [9_000 + written]
        written += 1
    assert table._upkeep.returncode == 0 and written and uses_index(table)
    assert table.count() == 3_000 + written


def test_an_index_that_cannot_be_built_is_not_tried_again(table: VectorTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "MATRIX_LIMIT_ROWS", 5)
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # Python does not start
    table.upsert(rows(some_vectors(20)))
    table.keep_up()
    assert table._upkeep is not None and table._upkeep.wait(timeout=60) != 0
    assert not table.needs_upkeep()
    assert len(table.nearest("a", some_vectors(1)[0], limit=10).seqs) == 10


def test_a_missing_table_holds_nothing_and_is_not_ready(tmp_path: Path) -> None:
    table = VectorTable(tmp_path / "lance", "recall", "test/eight", DIMS)
    assert not table.exists() and not table.is_ready() and table.count() == 0
    assert table.nearest("a", some_vectors(1)[0]).seqs.tolist() == []


def test_a_table_whose_files_are_broken_says_so_and_can_be_made_anew(table: VectorTable) -> None:
    table.upsert(rows(some_vectors(5)))
    for file in (table.folder / f"{table.name}.lance").rglob("*"):
        if file.is_file():
            file.write_bytes(b"broken")
    reopened = VectorTable(table.folder, "recall", "test/eight", DIMS)
    with pytest.raises(DataDamaged, match="nothing is lost"):
        reopened.nearest("a", some_vectors(1)[0])
    assert not reopened.is_ready()
    reopened.create()
    reopened.upsert(rows(some_vectors(5)))
    assert reopened.is_ready() and reopened.count() == 5


def test_a_table_of_another_dimension_is_not_ready(table: VectorTable) -> None:
    assert not VectorTable(table.folder, "recall", "test/eight", DIMS + 1).is_ready()


def test_spaces_have_tables_of_their_own(tmp_path: Path) -> None:
    names = {VectorTable(tmp_path, "recall", space, DIMS).name for space in ("a/b", "a-b", "A/B", "a_b")}
    assert len(names) == 4 and all(name.replace("-", "").isalnum() for name in names)

"""The approximate index of a big vector table: built and kept up in a process of its own, at low priority.

It takes minutes and 900 MB at a million rows, which the chat should neither wait for nor keep. LanceDB makes each step
visible at once or not at all, so that the process may end at any time, and others read and write meanwhile.

    python -m memos.storage.vector_index FOLDER TABLE
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

KEPT_VERSIONS = timedelta(days=1)  # a reader in another process may still stand on an older version
INDEX_NAME = "vector_idx"  # LanceDB's own name for an index of the column `vector`

_PARTITION_ROWS = 2_000
_TRAINING_ROWS = 64  # of each partition
_ROUNDS = 15  # of k-means


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Begin to build or renew the index of a table; the process outlives this one if need be."""
    import memos

    threads = max(1, (os.cpu_count() or 1) // 2)
    packages = [str(Path(memos.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "memos.storage.vector_index", str(folder), name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(packages), "LANCE_CPU_THREADS": str(threads)},
        start_new_session=True,  # the user's Ctrl-C is not meant for it
    )


def keep_up(folder: Path, name: str) -> None:
    """Merge small writes, drop old versions, and have all rows in the index; if another process is at it, nothing."""
    from filelock import FileLock, Timeout

    with suppress(Timeout), FileLock(folder / f"{name}.index.lock", timeout=0, mode=0o600):
        import lancedb

        table = lancedb.connect(folder).open_table(name)
        table.optimize(cleanup_older_than=KEPT_VERSIONS)
        _build_missing(table)


def has_index(table: Any) -> bool:
    """Return whether a LanceDB table has the approximate index."""
    return any(index.name == INDEX_NAME for index in table.list_indices())


def _build_missing(table: Any) -> None:
    from lancedb.index import Bitmap, BTree, IvfPq

    there = {column for index in table.list_indices() for column in index.columns}
    if "agent_id" not in there:
        table.create_index("agent_id", config=Bitmap())
    if "seq" not in there:
        table.create_index("seq", config=BTree())
    if "vector" not in there:  # the last: whoever sees it can use the others
        dims = table.schema.field("vector").type.list_size
        config = IvfPq(
            distance_type="cosine",
            num_partitions=max(1, table.count_rows() // _PARTITION_ROWS),
            num_sub_vectors=dims // 8 if dims % 8 == 0 else None,
            sample_rate=_TRAINING_ROWS,
            max_iterations=_ROUNDS,
        )
        table.create_index("vector", config=config)


def main() -> None:
    """Keep up the table that the command line names."""
    with suppress(AttributeError, OSError):  # no such thing on Windows
        os.nice(10)
    try:
        keep_up(Path(sys.argv[1]), sys.argv[2])
    except Exception as error:
        if "onflict" not in str(error):  # a race lost against a writer: the next time will do
            raise


if __name__ == "__main__":
    main()

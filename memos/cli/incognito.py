"""An incognito conversation: the agent knows what it remembers, and nothing of it is written anywhere.

All happens in a copy of the database in memory, which goes with the process, however that ends. No lock is taken, no
log, history, draft or prefix is kept, no vector is written. What it does not hide: the model's provider sees what it is
sent, and so does a remote embedder; an image's or a document's own file stays where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from memos.errors import BadInput
from memos.storage.agents import Agent
from memos.storage.database import Database

NO_FILE = "incognito: no file is written about it"
"""The note on an exception whose traceback may not go into a log file."""
LABEL = "incognito"
_BLOCK = (
    "This conversation is incognito: nothing of it is kept, and you will not remember it. Use what you remember from"
    " before; what you write into your memory now is gone at the end, so do not promise to keep anything."
)


def check_incognito(*, read_only: bool, take_over: bool) -> None:
    """Refuse flags that mean something else. Raises: BadInput."""
    if read_only:
        raise BadInput("--read-only only looks; --incognito talks, and writes nothing.", "leave one of them out")
    if take_over:
        raise BadInput("--incognito leaves an agent to whoever has it open.", "leave --take-over out")


@contextmanager
def no_file_about_it() -> Iterator[None]:
    """Keep the traceback of whatever goes wrong within the block out of every file."""
    try:
        yield
    except Exception as error:
        error.add_note(NO_FILE)
        raise


def log_nowhere() -> None:
    """Let no library's warning go to a file, or to the screen."""
    logging.basicConfig(handlers=[logging.NullHandler()])


def tell_agent(database: Database, agent: Agent) -> None:
    """Let the agent know, by a block that stands in the copy alone."""
    with database.transaction() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO blocks (agent_id, label, value, limit_chars, description, read_only)"
            " VALUES (?, ?, ?, ?, 'What holds for this conversation.', 1)",
            (agent.id, LABEL, _BLOCK, len(_BLOCK)),
        )


def header_line(model: str, remote: bool) -> str:
    """Return what the header says of it."""
    seen = f"; {model}'s provider sees what it is sent all the same" if remote else ""
    return f"Incognito: nothing of this conversation is written or remembered{seen} · /help"

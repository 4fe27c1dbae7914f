"""What is kept: the database, who has it open, the embedder and its vectors."""

from __future__ import annotations

from memos.cli.boot import is_remote_embedding, open_index
from memos.cli.checks.finding import Findings, ok, warning
from memos.cli.checks.subject import Subject
from memos.config import Places
from memos.errors import BadInput, DataDamaged, EmbeddingProblem, NotConfigured
from memos.memory.embedders import PAYER
from memos.memory.index import builtin_embedder
from memos.memory.indexer import BATCH_ROWS
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agents
from memos.storage.database import SCHEMA_VERSION
from memos.storage.examination import examine

_SAMPLE = ("Is all well?",)


def store(places: Places) -> Findings:
    """Check every page of the database and count what it holds. Nothing is created or migrated by it."""
    if not places.database.exists():
        yield ok("store", "nothing kept yet; memos run begins")
        return
    found = examine(places.database)
    schema = f"schema {found.schema}" + ("" if found.schema == SCHEMA_VERSION else f", made {SCHEMA_VERSION} now")
    held = f"{found.agents:,} agents, {found.messages:,} messages, {found.passages:,} passages"
    yield ok("store", f"sound ({schema}, {found.size_bytes / 1e6:,.1f} MB): {held}")


def agents(subject: Subject) -> Findings:
    """Look at who has which agent open."""
    database, locks = subject.database, subject.places.locks
    found = Agents(database).all() if database and locks.is_dir() else []
    holders = {agent.name: AgentLock(locks, agent.id, agent.name).held_by() for agent in found}
    held = [f"{name} ({holder})" for name, holder in holders.items() if holder]
    yield ok("agents", f"open elsewhere: {', '.join(held)}" if held else "none is open")


def embedder(subject: Subject) -> Findings:
    """Let the embedder make one vector; a remote one only where real calls were asked for."""
    embedding = subject.settings.config.memory.embedding
    if embedding == "none":
        yield ok("embedder", "none, as set: search goes by words alone")
    elif not is_remote_embedding(embedding):
        builtin_embedder().embed(_SAMPLE)
        yield ok("embedder", f"{embedding} works; its weights are those memos knows (sha256)")
    else:
        yield ok("embedder", f"{embedding}, {_asked(subject)}")


def _asked(subject: Subject) -> str:
    """Have the remote embedder make a vector and say how that went. Raises: EmbeddingProblem, NotConfigured."""
    agents = Agents(subject.database).all() if subject.database else []
    if subject.database is None or not agents:
        return "not asked: there is nothing to find yet"
    index = open_index(subject.settings, subject.places, subject.environ, subject.database)
    if subject.offline or not subject.probe:
        return "not asked (--probe does)"
    if index.embedder is None:
        raise EmbeddingProblem(index.problem)
    payer = PAYER.set(agents[0].id)
    try:
        return f"answers with vectors of {index.embedder.embed(_SAMPLE).shape[1]} numbers"
    finally:
        PAYER.reset(payer)
        index.embedder.close()


def vectors(subject: Subject) -> Findings:
    """Look whether the vectors on disk can be read, and how many rows wait for theirs."""
    if subject.database is None or subject.settings.config.memory.embedding == "none":
        return
    try:
        index = open_index(subject.settings, subject.places, subject.environ, subject.database)
    except (BadInput, NotConfigured):
        return  # what is wrong with the embedder was said
    if index.indexer is None or index.legs is None:
        return
    try:
        written = sum(leg.table.count() for leg in index.legs.values() if leg.table.exists())
    except DataDamaged as damage:
        yield warning("vectors", damage.what, "memos reindex --all; until then search goes by words")
        return
    waiting = index.indexer.due()
    text = f"{written:,} vectors, {waiting:,} rows wait for theirs"
    if waiting >= BATCH_ROWS:  # fewer wait by design: they are written together
        yield warning("vectors", f"{text}: words alone find most of them.", "memos reindex")
    else:
        yield ok("vectors", text)

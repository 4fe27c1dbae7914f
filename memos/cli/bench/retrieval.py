"""`memos bench retrieval`: whether the search of recall storage finds the messages that answer a question.

No model takes part. Each conversation is stored with an agent of its own in a temporary home, as `memos import` would,
and each question is put to the search that `conversation_search` uses, over SQLite and the vector index on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from memos.cli.bench.measuring import Ground, measure
from memos.cli.bench.questions import Conversation, Questions, read_questions
from memos.cli.bench.report import ProgressLine, print_retrieval
from memos.cli.bench.retrieval_tally import RetrievalTally
from memos.cli.boot import embedding_note, is_remote_embedding, open_index
from memos.cli.printing import note
from memos.cli.run import log_to_file
from memos.config import Places
from memos.errors import BadInput, EmbeddingProblem
from memos.memory.imported_messages import store
from memos.memory.index import Index
from memos.memory.search import fts_query
from memos.storage.agents import Agent
from memos.storage.database import Database

_AGENT = "assistant"
"""Also who speaks where a message of the assistant has no name: it must not look like a name in a question."""
_IDS_TOLD = 3
_BM25 = (
    "SELECT r.seq FROM messages_fts CROSS JOIN messages r ON r.seq = messages_fts.rowid"
    " WHERE messages_fts MATCH ? AND r.agent_id = ? ORDER BY bm25(messages_fts), r.seq DESC LIMIT ?"
)

Ranking = Callable[[str], Sequence[int]]
"""From a question to the `seq` of messages, best first."""


def bench_retrieval(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    messages: str,
    queries: str,
    k: int,
    baseline: bool,
    as_json: bool,
) -> int:
    """Run the bench and return the exit code; what was measured is printed even where the run is stopped.

    Raises: BadInput, EmbeddingProblem: quality without the embedder that was asked for would be another one's.
    """
    if not 1 <= k <= 100:
        raise BadInput(f"--k {k} is no number of hits to look at.", "give one from 1 to 100")
    if baseline and flags.get("memory.embedding", "none") != "none":
        raise BadInput("--baseline ranks without an embedder.", "leave --embedding out, or --baseline")
    if baseline:
        flags = {**flags, "memory.embedding": "none"}
    questions = read_questions(Path(messages).expanduser(), Path(queries).expanduser())
    _tell_what_is_lost(questions)
    places = Places.find(environ)
    log_to_file(places)
    wanted = sum(len(conversation.queries) for conversation in questions.conversations)
    tally = RetrievalTally("none", baseline, k, wanted, questions.left_out)
    code = measure(
        lambda folder: _Run(Ground(folder, places, environ, flags), tally, questions.conversations).all(), tally
    )
    print_retrieval(tally, as_json=as_json)
    return code


def _tell_what_is_lost(questions: Questions) -> None:
    if questions.lost_ids:
        more = f" and {len(questions.lost_ids) - _IDS_TOLD} more" if len(questions.lost_ids) > _IDS_TOLD else ""
        note(f"Left out of gold, as no message has that id: {', '.join(questions.lost_ids[:_IDS_TOLD])}{more}.")
    if questions.left_out:
        note(f"Left out, as no message answers them: {questions.left_out} of the questions.")


class _Run:
    """All conversations, one after the other."""

    def __init__(self, ground: Ground, tally: RetrievalTally, conversations: Sequence[Conversation]) -> None:
        self._ground = ground
        self._tally = tally
        self._conversations = conversations
        total = sum(len(each.messages) + len(each.queries) for each in conversations)
        self._progress = ProgressLine(len(conversations), total, unit="conversation", what="messages and questions")
        self._done = 0

    def all(self) -> None:
        """Ask everything. Raises: KeyboardInterrupt; the tally then holds what was measured."""
        try:
            for number, conversation in enumerate(self._conversations, 1):
                self._ask_all(number, conversation)
                self._tally.conversations += 1
        finally:
            self._progress.close()

    def _ask_all(self, number: int, conversation: Conversation) -> None:
        self._progress.show(number, self._done)
        with self._ground.home(str(number)) as machinery:
            settings = machinery.settings(self._ground.flags)
            self._tally.embedding = settings.config.memory.embedding
            if number == 1 and is_remote_embedding(self._tally.embedding):
                note(embedding_note(settings.config))
            agent = machinery.agents.create(_AGENT, model="", persona_name="", human_name="", blocks=())
            ids = stored(machinery.database, agent, conversation)
            self._tally.messages += len(ids)
            index = open_index(settings, machinery.places, self._ground.environ, machinery.database)
            try:
                self._write_vectors(index, number, len(ids))
                self._ask(self._ranking(index, agent), conversation, ids, number)
            finally:
                index.close()

    def _write_vectors(self, index: Index, number: int, messages: int) -> None:
        if index.problem:
            raise EmbeddingProblem(index.problem)
        begun = self._done
        while index.indexer and (written := index.indexer.step(flush=True)):
            self._done += written
            self._progress.show(number, self._done)
        self._done = begun + messages

    def _ask(self, ranking: Ranking, conversation: Conversation, ids: Mapping[int, str], number: int) -> None:
        for query in conversation.queries:
            self._progress.show(number, self._done)
            began = time.perf_counter()
            found = ranking(query.text)
            took_ms = 1000 * (time.perf_counter() - began)
            self._tally.count(query.category, [ids[seq] for seq in found], query.gold, took_ms)
            self._done += 1

    def _ranking(self, index: Index, agent: Agent) -> Ranking:
        depth = self._tally.depth
        if self._tally.baseline:
            return lambda query: _by_bm25(index.database, agent, query, depth)
        search = index.search("recall")

        def ranked(query: str) -> Sequence[int]:
            found = search.find(agent.id, query, limit=depth)
            if found.degraded:
                raise EmbeddingProblem(found.degraded)
            return [hit.seq for hit in found.hits]

        return ranked


def stored(database: Database, agent: Agent, conversation: Conversation) -> dict[int, str]:
    """Store the messages with the agent; return the id that the file gives to each `seq`."""
    told = conversation.told
    store(database, agent, told)
    rows = database.query("SELECT seq FROM messages WHERE agent_id = ? ORDER BY seq", (agent.id,))
    return {row["seq"]: message.id for row, message in zip(rows, told, strict=True)}


def _by_bm25(database: Database, agent: Agent, query: str, depth: int) -> Sequence[int]:
    """Return what full-text search alone ranks first: the baseline."""
    expression = fts_query(query)
    return [row["seq"] for row in database.query(_BM25, (expression, agent.id, depth))] if expression else []

"""Measure what each weight of the search recipe is worth, conversation by conversation, by the real search.

    python tests/benchmarks/bench_search_recipe.py                              # the recipe, on half of LoCoMo
    python tests/benchmarks/bench_search_recipe.py M.jsonl Q.jsonl              # by words alone
    python tests/benchmarks/bench_search_recipe.py M.jsonl Q.jsonl builtin      # with the built-in embedder

The first returns recall@10 of the conversations in `MEMOS_SHARED`. The files of the others are those of `memos bench
retrieval`. Printed is recall@10 of the recipe, and what it loses in each conversation where one weight is 0: a weight
that does not help in nearly all of them has no place in the recipe.

What was tried, on half of LoCoMo (5 conversations, 786 questions of categories 1 to 4, 2026-11). An idea was accepted
if, its weight chosen on four conversations, it won recall@10 in at least four of the five held out in turn. Differences
by conversation; "by words" is embedding none, "hybrid" the built-in embedder.

Accepted, each on top of those above it:

    idea                                              by words                  hybrid
    before: neighbours 0.4, speaker 0.1               70.1                      75.3
    speaker 0.3 in place of 0.1                       +2.8 +4.4 +0.0 +1.8 +1.8  +3.6 +2.2 +1.2 +0.8 +0.9
    the rows next but one, better of both, 0.3        +2.4 +3.6 +3.0 +7.2 +3.7  +0.2 +0.9 +2.1 +3.6 +0.9
    the best row of the session, 0.4                  +1.2 +1.9 +0.8 +1.8 -1.7  +1.8 +0.7 +2.7 +3.9 -1.3
    the row before, where it holds a "?", 0.2         +1.0 +0.7 +1.6 +1.6 +1.3  +1.1 -0.1 +0.9 +2.1 +2.4
    now                                               78.2                      81.4

All five weights chosen anew on four conversations and measured on the fifth, in turn: 78.4 by words, 80.4 hybrid. The
optimum is flat: a third less of any of them, or twice as much, costs 0 to 1.2 points.

Printed then: by words every one of them helps in all five conversations (0.1 to 5.9 points); hybrid without the speaker
2.3 points less (5 of 5), neighbours 1.9 (4), next but one 0.4 (3), session 1.7 (4), question 1.2 (4), meaning 3.1 (5).

Not accepted, on top of these (wins of five by words | hybrid, recall@10):

    a row that is a question is worth 0.1 less        4 | 3   78.7 | 81.6   and users of assistants tell by asking
    the same by the share of its words that ask       4 | 2   78.4 | 81.2
    rows of less than 20 words are worth less, 0.2    2 | 3   78.0 | 81.8
    "when" in the query: rows that name a time, 0.2   2 | 4   78.4 | 82.1   only English, and only by hybrid
    vectors of the row with the one before, 0.3       - | 4   -    | 82.0   twice the vectors for half a point
    mean of both vectors' scores                      - | 3   -    | 81.7
    pairs of words of the query found as pairs, 0.2   0 | 2   78.1 | 81.4
    mean of the session's five best rows, 0.2         3 | 0   78.4 | 81.0
    that mean in place of the best row, 0.5           0 | 1   76.9 | 80.7
    feedback: five words of the three best rows, 0.1  2 | 2   78.2 | 81.2
    feedback: mean vector of the three best rows      - | 1   -    | 80.5
    every word at most as rare as 1 in 50             0 | 0   77.2 | 81.1
    square root of each word's score                  0 | 2   76.8 | 80.9
    scores of words to the power of 0.7, 1.3          0, 1 | 1, 1   76.8, 78.0 | 80.7, 81.0
    cosines to the power of 0.7, 1.5, 2               - | 1, 1, 0   - | 80.9, 81.1, 80.7
    z-scores in place of 0..1                         1 | 2   77.5 | 81.0
    share of meaning 0.3, 0.4, 0.6 in place of 0.5    -       -    | 80.2, 80.7, 80.5
    vectors without the date                          - | 2   -    | 81.1
    smoothing by sums over neighbours, before all     2 | 1   77.6 | 80.4

Not accepted before the last of the accepted (wins by words | hybrid):

    the month that the query names, 0.2               2 | 3   77.2 | 80.4
    "how many" in the query: rows with numbers, 0.1   0 | 0   77.0 | 80.1
    BM25 of the row with both neighbours, 0.2         2 | 3   77.1 | 80.1
    share of its words in the row or its neighbours   4 | 2   77.2 | 80.0
    third neighbours, 0.1                             0 | 1   76.5 | 79.9
    sum of both neighbours in place of the better     3 | 1   70.4 | 74.2   on top of nothing
    without the speaker's name among the words        0 | 0   no difference: a word of half the rows counts for nothing
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone, skipped
from benchmarks.given import shared_data

from memos.cli.bench.locomo import locomo_to_jsonl
from memos.cli.bench.questions import Conversation, read_questions
from memos.cli.bench.retrieval import stored
from memos.cli.bench.retrieval_tally import measures
from memos.memory import search as recipe
from memos.memory.index import Index
from memos.memory.search import Search
from memos.storage.agents import Agents
from memos.storage.database import Database

BOUNDS_PERCENT = {"none": 69.5, "builtin/minilm": 76.0}
CONVERSATIONS: dict[Size, int | None] = {"quick": 1, "usual": None, "full": None}
WEIGHTS = (
    *("SPEAKER_BONUS", "NEIGHBOUR_WEIGHT", "SECOND_NEIGHBOUR_WEIGHT"),
    *("SITTING_WEIGHT", "ANSWER_WEIGHT", "DENSE_WEIGHT"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation that is stored, with what is asked about it."""

    conversation: Conversation
    agent_id: str
    search: Search
    ids: dict[int, str]

    def recalls(self) -> list[float]:
        """Return recall@10 of each question."""
        found = []
        for query in self.conversation.queries:
            hits = self.search.find(self.agent_id, query.text, limit=10).hits
            found.append(measures([self.ids[hit.seq] for hit in hits], query.gold, 10)["recall@10"])
        return found


@contextmanager
def stored_in(folder: Path, conversation: Conversation, embedding: str) -> Iterator[Asked]:
    """Yield a conversation in a database of its own, its vectors written."""
    database = Database.open(folder / "memos.db")
    index = Index.open(folder / "lance", database, embedding)
    try:
        agent = Agents(database).create("assistant", model="", persona_name="", human_name="", blocks=())
        ids = stored(database, agent, conversation)
        while index.indexer and index.indexer.step(flush=True):
            pass
        yield Asked(conversation, agent.id, index.search("recall"), ids)
    finally:
        index.close()
        database.close()


def without_each(asked: Asked) -> dict[str, list[float]]:
    """Return the recalls of the recipe ("") and of it without each weight."""
    found = {"": asked.recalls()}
    for weight in WEIGHTS:
        value = getattr(recipe, weight)
        setattr(recipe, weight, 0.0)
        found[weight] = asked.recalls()
        setattr(recipe, weight, value)
    return found


def figures(size: Size) -> list[Figure]:
    """Return recall@10 of the recipe, by words alone and with the built-in embedder."""
    given = shared_data("locomo5-dev.json")
    if isinstance(given, str):
        return [skipped(5, "recall@10 on half of LoCoMo", given)]
    with tempfile.TemporaryDirectory() as folder:
        messages, queries = (str(Path(folder) / name) for name in ("messages.jsonl", "queries.jsonl"))
        with redirect_stdout(sys.stderr):
            locomo_to_jsonl(str(given), messages=messages, queries=queries)
        conversations = read_questions(Path(messages), Path(queries)).conversations
    taken = conversations[: CONVERSATIONS[size]]
    return [_quality(taken, name, bound if taken == conversations else None) for name, bound in BOUNDS_PERCENT.items()]


def _quality(conversations: Sequence[Conversation], embedding: str, bound: float | None) -> Figure:
    found = []
    for conversation in conversations:
        with tempfile.TemporaryDirectory() as folder, stored_in(Path(folder), conversation, embedding) as asked:
            found += asked.recalls()
    name = f"recall@10 on LoCoMo, {len(conversations)} conversations, embedding {embedding}"
    return Figure(5, name, 100 * fmean(found), "%", bound, "higher", f"{len(found)} questions of categories 1 to 4")


def without_weights(messages: str, queries: str, embedding: str = "none") -> None:
    """Print what each weight is worth."""
    found: list[dict[str, list[float]]] = []
    for conversation in read_questions(Path(messages), Path(queries)).conversations:
        name = "builtin/minilm" if embedding == "builtin" else embedding
        with tempfile.TemporaryDirectory() as folder, stored_in(Path(folder), conversation, name) as asked:
            found.append(without_each(asked))
    whole = _percents([each[""] for each in found])
    print(f"{'recipe':<36} {_all(found, ''):5.1f}   {' '.join(f'{value:5.1f}' for value in whole)}")
    for weight in WEIGHTS:
        parts = _percents([each[weight] for each in found])
        losses = " ".join(f"{value - before:+5.1f}" for value, before in zip(parts, whole, strict=True))
        print(f"{'without ' + weight:<36} {_all(found, weight):5.1f}   {losses}")


def _percents(recalls: Sequence[Sequence[float]]) -> list[float]:
    return [100 * fmean(each) for each in recalls]


def _all(found: Sequence[dict[str, list[float]]], weight: str) -> float:
    return 100 * fmean(value for each in found for value in each[weight])


if __name__ == "__main__":
    if len(sys.argv) > 2 and not sys.argv[1].startswith("-"):
        without_weights(*sys.argv[1:])
    else:
        sys.exit(run_alone(figures))

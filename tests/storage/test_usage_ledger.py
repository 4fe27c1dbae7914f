"""The ledger of model calls: sums that say what is missing in them, and days as the user's clock has them."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos.messages import TokenUsage
from memos.storage.agents import Agents
from memos.storage.database import Database
from memos.storage.usage_ledger import ModelCall, Purpose, Spent, UsageLedger

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Book:
    """A ledger with two agents."""

    def __init__(self, path: Path) -> None:
        self.database = Database.open(path)
        self.ledger = UsageLedger(self.database)
        agents = Agents(self.database)
        self.ids = {
            name: agents.create(name, model="m", persona_name="p", human_name="h", blocks=[]).id
            for name in ("ana", "bo")
        }

    def note(
        self,
        agent: str = "ana",
        *,
        model: str = "a/b",
        usage: TokenUsage = TokenUsage(10, 2, 4),
        cost_usd: float | None = 0.5,
        at: datetime = NOON,
        purpose: Purpose = "chat",
    ) -> ModelCall:
        return self.ledger.record(self.ids[agent], "turn", ModelCall(model, purpose, usage, cost_usd, at))


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path / "memos.db")
    yield book
    book.database.close()


@pytest.fixture(params=["UTC", "Europe/Vienna", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield ZoneInfo(request.param)
    monkeypatch.undo()
    time.tzset()


def test_the_last_call_is_of_one_agent_and_one_purpose(book: Book) -> None:
    assert book.ledger.last(book.ids["ana"]) is None
    book.note()
    newest = book.note(model="c/d", usage=TokenUsage(9, None, 3), cost_usd=None)
    book.note("bo")
    book.note(purpose="summarise")
    assert book.ledger.last(book.ids["ana"]) == newest


def test_calls_are_summed_by_day_agent_model_and_purpose(book: Book) -> None:
    book.note()
    book.note()
    book.note(model="c/d")
    book.note("bo")
    book.note(purpose="summarise")
    book.note(at=NOON + timedelta(days=2))
    totals = book.ledger.totals()
    assert [(t.day[-2:], t.agent, t.model, t.purpose, t.spent.calls) for t in totals] == [
        ("26", "ana", "a/b", "chat", 1),
        ("24", "ana", "a/b", "chat", 2),
        ("24", "ana", "a/b", "summarise", 1),
        ("24", "ana", "c/d", "chat", 1),
        ("24", "bo", "a/b", "chat", 1),
    ]
    assert totals[1].spent == Spent(2, 20, 4, 8, 0, 1.0, 0)
    assert [t.agent for t in book.ledger.totals(agent_id=book.ids["bo"])] == ["bo"]
    assert book.ledger.spent(agent_id=book.ids["ana"]).calls == 5


def test_what_nobody_reported_or_priced_is_none_and_what_is_missing_is_counted(book: Book) -> None:
    book.note(usage=TokenUsage(), cost_usd=None)
    assert book.ledger.spent() == Spent(1, None, None, None, 1, None, 1)
    book.note(usage=TokenUsage(7, 3), cost_usd=None)
    assert book.ledger.spent() == Spent(2, 7, 3, None, 1, None, 2)
    book.note(cost_usd=0.0)
    assert book.ledger.spent() == Spent(3, 17, 5, 4, 1, 0.0, 2)


def test_an_empty_ledger_is_empty(book: Book) -> None:
    assert book.ledger.totals() == [] and book.ledger.spent() == Spent()


def test_a_call_that_is_stored_is_completed_and_not_doubled(book: Book) -> None:
    begun = book.note(usage=TokenUsage(), cost_usd=None)
    assert begun.seq
    for _ in range(2):
        known = ModelCall("a/b", "chat", TokenUsage(5, 6, 7), 0.1, NOON, begun.seq)
        assert book.ledger.record(book.ids["ana"], "turn", known) == known
    assert book.ledger.spent() == Spent(1, 5, 6, 7, 0, 0.1, 0)


def test_a_call_is_undone_with_the_transaction_around_it(book: Book) -> None:
    with pytest.raises(RuntimeError), book.database.transaction():
        book.note()
        raise RuntimeError
    assert book.ledger.totals() == []


def test_a_day_is_a_day_of_the_users_clock(book: Book, zone: ZoneInfo) -> None:
    midnight = datetime(2026, 11, 24, tzinfo=zone)
    for at in (midnight - timedelta(microseconds=1), midnight, midnight + timedelta(hours=23, minutes=59)):
        book.note(at=at.astimezone(UTC))
    assert [(t.day, t.spent.calls) for t in book.ledger.totals()] == [("2026-11-24", 2), ("2026-11-23", 1)]
    assert book.ledger.spent(since=date(2026, 11, 24)).calls == 2
    assert book.ledger.spent(since=date(2026, 11, 23)).calls == 3
    assert book.ledger.spent(since=date(2026, 11, 25)).calls == 0


def test_a_day_on_which_the_clock_is_changed_is_whole(
    book: Book, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    request.addfinalizer(time.tzset)
    request.addfinalizer(monkeypatch.undo)  # runs before tzset
    for at in ("2026-10-24T22:00:00+00:00", "2026-10-25T22:59:59.999999+00:00", "2026-10-25T23:00:00+00:00"):
        book.note(at=datetime.fromisoformat(at))
    assert [(t.day, t.spent.calls) for t in book.ledger.totals()] == [("2026-10-26", 1), ("2026-10-25", 2)]
    assert book.ledger.spent(since=date(2026, 10, 26)).calls == 1


@pytest.mark.parametrize(("since", "calls"), [(date.min, 1), (date(1970, 1, 1), 1), (date.max, 0)])
def test_the_ends_of_time_are_days_too(book: Book, zone: ZoneInfo, since: date, calls: int) -> None:
    book.note()
    assert book.ledger.spent(since=since).calls == calls


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 72 * 60), st.one_of(st.none(), st.integers(0, 9))), max_size=12))
def test_the_days_add_up_to_all(tmp_path_factory: pytest.TempPathFactory, noted: list[tuple[int, int | None]]) -> None:
    book = Book(tmp_path_factory.mktemp("ledger") / "memos.db")
    for minutes, tokens in noted:
        book.note(at=NOON + timedelta(minutes=minutes), usage=TokenUsage(tokens, tokens), cost_usd=tokens)
    totals, spent = book.ledger.totals(), book.ledger.spent()
    assert sum(t.spent.calls for t in totals) == spent.calls == len(noted)
    assert sum(t.spent.prompt_tokens or 0 for t in totals) == (spent.prompt_tokens or 0)
    assert sum(t.spent.unpriced for t in totals) == spent.unpriced
    first = min((t.day for t in totals), default="2026-11-24")
    assert book.ledger.spent(since=date.fromisoformat(first)) == spent
    book.database.close()


def test_calls_of_an_older_schema_keep_their_numbers_and_their_agents(tmp_path: Path) -> None:
    path = tmp_path / "memos.db"
    with sqlite3.connect(path) as connection:
        for number in (1, 2, 3):
            golden = Path(__file__).parent / "golden" / f"schema-{number}.sql"
            connection.executescript(golden.read_text(encoding="utf-8"))
        connection.execute(
            "INSERT INTO model_calls (seq, agent_id, turn_id, model, purpose, cost_usd, created_at)"
            " VALUES (77, 'a1', 't', 'a/b', 'chat', 0.5, '2026-11-23T10:00:00+00:00')"
        )
        connection.execute("PRAGMA user_version = 3")
        before = connection.execute("SELECT * FROM model_calls ORDER BY seq").fetchall()
    connection.close()
    database = Database.open(path)
    assert [tuple(row) for row in database.query("SELECT * FROM model_calls ORDER BY seq")] == before
    assert UsageLedger(database).record("a1", "t", ModelCall("a/b", "chat")).seq == 78
    assert {total.agent for total in UsageLedger(database).totals()} == {"golden"}

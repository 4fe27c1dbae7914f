"""The rule that follows keys: it acts on the rows of the queue and on nothing else."""

from __future__ import annotations

import asyncio
import json
from itertools import count

from memos.llm.chain_follower import CHAIN_FOLLOWER, NO_QUESTION, ChainFollower
from memos.messages import Counters, EventKind, FunctionCall, Message, Prompt, Reply, utc_now

KEY, VALUE, LAST = (f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "abc")
IDS = count()


def event(text: str, kind: EventKind = EventKind.USER_MESSAGE) -> Message:
    return Message("user", text, "a", "t", kind=kind)


def searched(query: str, result: str, *, page: int = 0, ok: bool = True) -> tuple[Message, ...]:
    arguments = json.dumps({"query": query, "page": page, "request_heartbeat": True})
    call = FunctionCall(f"call-{next(IDS)}", "archival_memory_search", arguments)
    reply = Message("assistant", "", "a", "t", calls=(call,))
    answer = Message("tool", result, "a", "t", name=call.name, call_id=call.id, ok=ok)
    return reply, answer, event("", EventKind.HEARTBEAT)


def page(*lines: str, total: int | None = None) -> str:
    head = f"Showing 1-{len(lines)} of {total or len(lines)} results (page 0):"
    return "\n".join([head, *(f"[2026-11-23 14:05] {line}" for line in lines)])


def next_call(*queue: Message) -> tuple[str, dict[str, object]]:
    async def reply() -> Reply:
        prompt = Prompt("", (), (), queue, Counters(utc_now()))
        return [part async for part in ChainFollower().infer(prompt) if isinstance(part, Reply)][-1]

    (call,) = asyncio.run(reply()).calls
    return call.name, json.loads(call.arguments)


def search(query: str, number: int = 0) -> tuple[str, dict[str, object]]:
    return "archival_memory_search", {"query": query, "page": number, "request_heartbeat": True}


def say(text: str) -> tuple[str, dict[str, object]]:
    return "send_message", {"message": text}


QUESTION = event(f"What is the last value of the key {KEY}?")
FOUND = searched(KEY, page(f"Key: {KEY}, value: {VALUE}"))


def test_it_searches_for_the_key_of_the_question() -> None:
    assert next_call(QUESTION) == search(KEY)
    assert next_call(event("Hello."), QUESTION) == search(KEY)
    assert next_call(*(event(f"{LAST}?"), *FOUND), QUESTION) == search(KEY), "a new question begins anew"


def test_it_searches_for_the_value_of_a_key_it_found() -> None:
    assert next_call(QUESTION, *FOUND) == search(VALUE)
    both = page(f"Key: {KEY}, value: {VALUE}", f"Key: {VALUE}, value: {LAST}")
    assert next_call(QUESTION, *FOUND, *searched(VALUE, both)) == search(LAST)


def test_it_says_a_value_once_a_search_shows_no_pair_with_that_key() -> None:
    assert next_call(QUESTION, *FOUND, *searched(VALUE, page(f"Key: {KEY}, value: {VALUE}"))) == say(VALUE)
    assert next_call(QUESTION, *FOUND, *searched(VALUE, "No results.")) == say(VALUE)


def test_it_looks_at_the_next_page_while_results_still_name_the_key() -> None:
    line = f"Key: {KEY}, value: {VALUE}"
    assert next_call(QUESTION, *FOUND, *searched(VALUE, page(line, total=3))) == search(VALUE, 1)
    assert next_call(QUESTION, *FOUND, *searched(VALUE, page(line, total=3), page=4)) == search(VALUE, 5)
    beside = page(line, "Something near in meaning.", total=9)
    assert next_call(QUESTION, *FOUND, *searched(VALUE, beside)) == say(VALUE)


def test_it_goes_on_where_the_question_is_no_longer_in_view() -> None:
    assert next_call(event("", EventKind.HEARTBEAT), *FOUND) == search(VALUE)


def test_it_does_not_pass_off_an_unknown_key_or_a_failed_search_as_a_value() -> None:
    assert next_call(QUESTION, *searched(KEY, "No results.")) == say(f"No pair has the key {KEY}.")
    assert next_call(QUESTION, *searched(KEY, "Broken.", ok=False)) == say(f"The search for {KEY} failed: Broken.")


def test_it_says_what_it_is_for_to_whoever_asks_something_else() -> None:
    assert next_call(event("Good evening.")) == say(NO_QUESTION)
    assert next_call(event("", EventKind.LOGIN)) == say(NO_QUESTION)
    assert next_call(event("", EventKind.HEARTBEAT)) == say(NO_QUESTION)
    assert ChainFollower().model == CHAIN_FOLLOWER

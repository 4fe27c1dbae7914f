"""A processor that follows keys through archival storage: a fixed rule, no LLM. `--model scripted:nested-kv`.

It is the reference of `memos bench nested-kv`: what a model would have to do, done from what a model is shown, the
rows of the queue. It searches for the key of the question, takes the value that stands beside it in the results,
searches for that value as a key, and says it once a search shows no pair with that key.

Source: Packer et al. 2023, §3.2.3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from memos.functions.table import SPEECH_FUNCTION
from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.messages import EventKind, FunctionCall, Message, Prompt

CHAIN_FOLLOWER = "scripted:nested-kv"
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
NO_QUESTION = "I only follow keys: ask me for the value of a key, a UUID."

_SEARCH = "archival_memory_search"
_PAGE_HEAD = re.compile(r"Showing \d+-(?P<last>\d+) of (?P<total>\d+) results")


class ChainFollower(ScriptedProcessor):
    """Answers the question for the last value of a nested key. It keeps no state: each step reads the queue anew."""

    def __init__(self, window_tokens: int | None = None) -> None:
        super().__init__((), model=CHAIN_FOLLOWER, window_tokens=window_tokens)

    def reply_to(self, prompt: Prompt) -> ScriptedReply:
        """Return the next step: a search, or the answer."""
        results: dict[str, Message] = {}
        for row in reversed(prompt.queue):
            if row.role == "tool":
                results[row.call_id or ""] = row
            elif row.role == "assistant":
                searched = next(((call, results[call.id]) for call in row.calls if _is_search(call, results)), None)
                if searched:
                    return _after(*searched, prompt.queue)
            elif row.kind is not EventKind.HEARTBEAT:
                keys = UUID.findall(row.content)
                return _search(keys[-1], 0, "The question names a key.") if keys else _say(NO_QUESTION)
        return _say(NO_QUESTION)


def _is_search(call: FunctionCall, results: Iterable[str]) -> bool:
    return call.name == _SEARCH and call.id in results and UUID.search(call.arguments) is not None


def _after(call: FunctionCall, result: Message, queue: Sequence[Message]) -> ScriptedReply:
    """Return what to do after `result`: search for the value, look at the next page, or say what was found."""
    (key,) = UUID.findall(call.arguments)[-1:]
    if result.ok is False:
        return _say(f"The search for {key} failed: {result.content}")
    found = dict(_pairs(result.content))
    if key in found:
        return _search(found[key], 0, "A value. Is it a key as well?")
    if _goes_on(result.content, key):
        return _search(key, _page(call) + 1, "Not among these; I look at the next page.")
    if any(key == value for row in queue if row.role == "tool" for _, value in _pairs(row.content)):
        return _say(key)
    return _say(f"No pair has the key {key}.")


def _pairs(results: str) -> Iterator[tuple[str, str]]:
    """Yield the key and the value of every line of results that names two UUIDs."""
    for line in results.splitlines():
        match UUID.findall(line):
            case [key, value]:
                yield key, value


def _goes_on(results: str, key: str) -> bool:
    """Whether the next page may hold the key: there is one, and this page's last hit still names it."""
    head = _PAGE_HEAD.match(results)
    return head is not None and int(head["last"]) < int(head["total"]) and key in results.splitlines()[-1]


def _page(call: FunctionCall) -> int:
    try:
        page = json.loads(call.arguments)["page"]
    except (ValueError, KeyError, TypeError):  # another model's call, before the user chose this one
        return 0
    return page if isinstance(page, int) else 0


def _search(query: str, page: int, monologue: str) -> ScriptedReply:
    arguments = {"query": query, "page": page, "request_heartbeat": True}
    return ScriptedReply(monologue=monologue, calls=(ScriptedCall(_SEARCH, arguments),))


def _say(text: str) -> ScriptedReply:
    return ScriptedReply(calls=(ScriptedCall(SPEECH_FUNCTION, {"message": text}),))

"""A scripted life of an agent, and what of each of its requests a prefix cache had read before.

The life runs in the real kernel over a real database; only the model is a script.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memos.llm import offline_tokenizer
from memos.llm.cache_marks import marked
from memos.llm.chat_messages import ChatMessage, blocks_text, chat_messages, row_messages, summary_text, tools
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import Block, Prompt
from support.agent_home import agent_home
from support.listening import append, call, running, speak

TURNS, EDITS, CHAINS = 200, 20, 10
_USER_WORDS, _AGENT_WORDS = 30, 14  # with the frames of event, call and result: about 200 tokens
_LEAST_CACHED_TOKENS = 1_024
_VOCABULARY = ("bees", "honey", "garden", "river", "autumn", "window", "market", "train", "bread", "winter", "music")


def prompts_of_a_life(folder: Path, window_tokens: int, chains: int = CHAINS) -> list[Prompt]:
    """Return the requests of 200 turns: in every tenth the agent edits core memory, in some it acts several times."""
    home = agent_home(folder, (Block("persona", "I am Sam, and I keep bees. " * 20, 2000), Block("human", "", 2000)))
    processor = ScriptedProcessor(list(_script(chains)), window_tokens=window_tokens)

    async def live() -> None:
        async with running(home.kernel(processor)) as listener:
            for turn in range(TURNS):
                await listener.say(f"Turn {turn}: {_words(turn, _USER_WORDS)}")

    asyncio.run(live())
    home.database.close()
    return [prompt for prompt in processor.prompts if prompt.purpose == "chat"]


def _script(chains: int) -> Iterator[ScriptedReply]:
    """Yield the replies, each for the event it fits, so that warnings, wherever they come, shift none."""
    for number in range(40):
        note = {"content": f"Note {number}: {_words(number, 20)}", "request_heartbeat": False}
        yield call("archival_memory_insert", note, match="leaves for recall storage")
    for turn in range(TURNS):
        said = speak(f"Answer {turn}: {_words(turn + 7, _AGENT_WORDS)}")
        steps = [said]
        if turn % (TURNS // EDITS) == 4:
            steps.insert(0, append(f"Fact {turn}: {_words(turn, 6)}."))
        if chains and turn % (TURNS // chains) == 9:
            ask = {"query": f"Answer {turn - 3}", "request_heartbeat": True}
            steps[:0] = [call("conversation_search", ask), call("archival_memory_search", ask)]
        first, *rest = steps
        yield ScriptedReply(first.monologue, calls=first.calls, match=f"Turn {turn}:", chunk_chars=400)
        for step in rest:
            yield ScriptedReply(step.monologue, calls=step.calls, match="asked for a heartbeat", chunk_chars=400)


def _words(start: int, count: int) -> str:
    step = 1 + start % 7
    return " ".join(_VOCABULARY[(start + place * step) % len(_VOCABULARY)] for place in range(count))


# --- requests as text --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=50_000)
def tokens(text: str) -> int:
    """Return what a text costs by the offline tokenizer."""
    return offline_tokenizer.load().count(text)


def pieces(prompt: Prompt) -> list[str]:
    """Return a request as the texts a model reads one after the other: functions, then message by message."""
    return [json.dumps(tools(prompt.functions), ensure_ascii=False), *map(_text, chat_messages(prompt))]


def _text(message: ChatMessage) -> str:
    """Return a message as one text, its words unescaped: an escaped line end is no end of a line."""
    calls = message.get("tool_calls")
    return f"<{message['role']}> {message['content'] or ''} {json.dumps(calls, ensure_ascii=False) if calls else ''}"


def shared_beginning(one: str, other: str) -> str:
    """Return what both texts begin with."""
    length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def in_common(earlier: Sequence[str], later: Sequence[str]) -> int:
    """Return how many tokens two requests share from their beginning on."""
    shared = 0
    for before, after in itertools.zip_longest(earlier, later, fillvalue=""):
        if before != after:
            return shared + tokens(shared_beginning(before, after))
        shared += tokens(after)
    return shared


# --- what was read again, and what could have been ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reuse:
    """Tokens of all requests but the first: sent, read before, the optimum, and what Anthropic reads by marks."""

    sent: int
    read: int
    optimum: int
    by_marks: int
    flushes: int
    edits: int

    @property
    def points_lost(self) -> float:
        """By how many points the share read before is under its optimum."""
        return 100 * (self.optimum - self.read) / self.sent


def reuse_of(prompts: Sequence[Prompt]) -> Reuse:
    """Return what a cache that holds the request before would have read, and its optimum for this schedule."""
    sent = read = optimum = flushes = edits = 0
    for earlier, later in itertools.pairwise(prompts):
        before, after = pieces(earlier), pieces(later)
        sent += sum(map(tokens, after))
        read += in_common(before, after)
        optimum += must_stay(earlier, later)
        flushes += earlier.summary != later.summary
        edits += earlier.blocks != later.blocks
    return Reuse(sent, read, optimum, sum(_read_by_marks(prompts)), flushes, edits)


def must_stay(earlier: Prompt, later: Prompt) -> int:
    """Return how many tokens of `later` stand before anything that is new or that an edit or a flush had to change.

    Reckoned from the stored parts, not from the requests: what the layout adds or moves without need is not excused.
    """
    fixed = tokens(json.dumps(tools(later.functions), ensure_ascii=False))
    fixed += tokens(f"<system> {later.instructions}")
    queue = later.queue
    blocks = (blocks_text(earlier.blocks), blocks_text(later.blocks)) if later.profile == "full" else ("", "")
    if blocks[0] != blocks[1]:
        return fixed + tokens(shared_beginning(*blocks))
    fixed += tokens(blocks[1])
    if earlier.summary != later.summary:
        return fixed + tokens(shared_beginning(summary_text(earlier.summary), summary_text(later.summary)))
    fixed += tokens(summary_text(later.summary))
    known = {row.id for row in earlier.queue}
    return fixed + sum(tokens(_text(message)) for row in queue if row.id in known for message in row_messages(row))


def _read_by_marks(prompts: Sequence[Prompt]) -> Iterator[int]:
    """Yield for each request but the first what Anthropic would read: up to the last mark that is also in the one
    before it, from 1,024 tokens on."""
    for earlier, later in itertools.pairwise(prompts):
        had, has = set(_marked_prefixes(earlier)), _marked_prefixes(later)
        yield max((cost for text, cost in has if (text, cost) in had and cost >= _LEAST_CACHED_TOKENS), default=0)


def _marked_prefixes(prompt: Prompt) -> list[tuple[int, int]]:
    """Return each prefix that ends at a mark: its hash, and its tokens."""
    functions, *_ = pieces(prompt)
    text, cost, found = functions, tokens(functions), list[tuple[int, int]]()
    for message in marked(chat_messages(prompt), len(prompt.instructions)):
        content = message["content"]
        for part in content if isinstance(content, list) else [{"text": content or "", **message}]:
            words = _text({**message, "content": part["text"]})
            text, cost = text + words, cost + tokens(words)
            if "cache_control" in part:
                found.append((hash(text), cost))
    return found

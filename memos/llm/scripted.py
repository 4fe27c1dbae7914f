"""A processor that follows a script: an agent without an LLM, for tests, demonstrations and trying out functions.

`memos run --model scripted:PATH` reads a JSON file: a list of replies, given in this order.

    [
      {"monologue": "A name. I keep it.",
       "calls": [{"name": "core_memory_append",
                  "arguments": {"name": "human", "content": "Name: Ana", "request_heartbeat": true}}]},
      {"calls": [{"name": "send_message", "arguments": {"message": "Good evening, Ana."}}]},
      {"match": "bees", "text": "Words without a call."}
    ]

Keys of a reply, all optional: `monologue`; `calls` (`arguments` as an object, or as raw text that may be broken);
`text` (only without calls); `match` (the reply waits until the newest events or results contain this text); `finish`
(`stop`, `length`, or `cut`: the latter two break off in the middle of the last part); `purpose` (`summarise`: the reply
is the text of a summary and not a step); `delay_s` between two pieces;
`chunk_chars` per piece; `error` (one of `ERRORS`: the reply fails before its first piece).

The first unused reply that fits is given. After the last one the agent says that its script is at its end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from memos.errors import (
    BadInput,
    ContentFiltered,
    ContextOverflow,
    MemosError,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
)
from memos.functions.table import SPEECH_FUNCTION
from memos.llm.chat_messages import check_pairing
from memos.llm.processor import DEFAULT_WINDOW_TOKENS
from memos.llm.reply_decoder import ReplyDecoder
from memos.llm.road import CallPiece, Chunk
from memos.llm.token_counts import estimated
from memos.messages import Finish, Prompt, PromptTokens, ReplyPart, TokenUsage

MODEL_PREFIX = "scripted:"
AT_ITS_END = "My script has no further reply."
ERRORS: dict[str, type[MemosError]] = {
    "refused": ProcessorRefused,
    "overflow": ContextOverflow,
    "filtered": ContentFiltered,
    "unreachable": ProcessorUnreachable,
    "rate_limited": RateLimited,
}
_JSON_TYPES: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), tuple: (list,)}
_FINISHES = {str(finish): finish for finish in (Finish.STOP, Finish.LENGTH, Finish.CUT)}


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A function call of a script: `arguments` as an object, or as the raw text a model would write."""

    name: str
    arguments: Mapping[str, Any] | str

    @property
    def raw(self) -> str:
        """The arguments as text."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One reply of a script; the module's docstring says what its fields mean."""

    monologue: str = ""
    text: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    match: str = ""
    finish: str = "stop"
    delay_s: float = 0.0
    chunk_chars: int = 8
    error: str = ""
    purpose: str = "chat"

    def __post_init__(self) -> None:
        """Check what types alone do not say. Raises: BadInput."""
        if self.text and self.calls:
            raise BadInput("A scripted reply has both text and calls.", "put the words into a send_message call.")
        if self.finish not in _FINISHES:
            raise BadInput(f"A scripted reply has the finish {self.finish!r}.", f"use one of {', '.join(_FINISHES)}.")
        if self.error and self.error not in ERRORS:
            raise BadInput(f"A scripted reply has the error {self.error!r}.", f"use one of {', '.join(ERRORS)}.")
        if self.purpose not in ("chat", "summarise"):
            raise BadInput(f"A scripted reply has the purpose {self.purpose!r}.", "use chat or summarise.")
        if self.chunk_chars < 1 or self.delay_s < 0:
            raise BadInput("A scripted reply has chunk_chars below 1 or delay_s below 0.", "correct the script.")


class ScriptedProcessor:
    """Gives the replies of a script, streamed in small pieces; keeps the prompts it saw in `prompts`.

    Like a strict provider it refuses a prompt in which a call lacks its result, or a result its call.
    """

    def __init__(
        self, script: Iterable[ScriptedReply], *, model: str = "scripted", window_tokens: int | None = None
    ) -> None:
        self.prompts: list[Prompt] = []
        self._waiting = list(script)
        self._model = model
        self._window_tokens = window_tokens
        self._summarises = any(reply.purpose == "summarise" for reply in self._waiting)

    @classmethod
    def from_model(cls, model: str, window_tokens: int | None = None) -> ScriptedProcessor:
        """Return the processor of the model string `scripted:PATH`. Raises: BadInput."""
        path = Path(model.removeprefix(MODEL_PREFIX)).expanduser()
        return cls(script_from(path), model=model, window_tokens=window_tokens)

    @property
    def model(self) -> str:
        """The model string the user chose."""
        return self._model

    @property
    def window_tokens(self) -> int | None:
        """The window the user set, or one of middle size: a script has none of its own."""
        return self._window_tokens or DEFAULT_WINDOW_TOKENS

    @property
    def reads_queue(self) -> bool:
        """As a large model would."""
        return True

    @property
    def summarises(self) -> bool:
        """Whether the script has, or had, a summary."""
        return self._summarises

    @property
    def sees(self) -> bool | None:
        """As a large model would: the pictures are in the prompts it keeps."""
        return True

    def measure(self, prompt: Prompt) -> PromptTokens:
        """Count by the estimate from bytes, always alike: a script has no tokenizer that could be missed."""
        return estimated(prompt)

    def learn(self, measured: PromptTokens, usage: TokenUsage) -> None:
        """Do nothing: a script reports no usage."""

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return 0: a script costs nothing."""
        return 0.0

    async def find_window(self) -> None:
        """Do nothing: it is known."""

    async def warm_up(self) -> None:
        """Do nothing: a script is ready."""

    async def aclose(self) -> None:
        """Do nothing: a script holds nothing open."""

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        """Stream the next reply that fits.

        Raises: MemosError (a bug) for a prompt with a broken pair; the error the reply names.
        """
        check_pairing(prompt.queue)
        self.prompts.append(prompt)
        reply = self.reply_to(prompt)
        if reply.error:
            raise ERRORS[reply.error](f"The script says: {reply.error}.", "this reply of the script fails on purpose.")
        finish = _FINISHES[reply.finish]
        decoder = ReplyDecoder(taken_ids=(call.id for row in prompt.queue for call in row.calls))
        for kind, piece in _pieces(reply, finish):
            await asyncio.sleep(reply.delay_s)
            for part in decoder.feed(_chunk(reply, kind, piece)):
                yield part
        for part in decoder.finish():
            yield part
        yield decoder.reply(finish)

    def reply_to(self, prompt: Prompt) -> ScriptedReply:
        """Return the first unused reply that fits, which is then used."""
        newest = "\n".join(_newest_texts(prompt))
        for reply in self._waiting:
            if reply.purpose == prompt.purpose and reply.match in newest:
                self._waiting.remove(reply)
                return reply
        if prompt.purpose == "summarise":
            return ScriptedReply(text=AT_ITS_END)
        return ScriptedReply(calls=(ScriptedCall(SPEECH_FUNCTION, {"message": AT_ITS_END}),))


def script_from(path: Path) -> list[ScriptedReply]:
    """Read a script. Raises: BadInput."""
    entries = json_list(path, "script")
    return [_reply_from(entry, f"Reply {number} of the script {path}") for number, entry in enumerate(entries, 1)]


def json_list(path: Path, what: str) -> list[Any]:
    """Return the list that a JSON file holds; `what` the file is. Raises: BadInput."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"The {what} {path} cannot be read: {error.strerror}.", "check its path.") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The {what} {path} is not JSON: {error}.", "correct it at that place.") from error
    if not isinstance(entries, list):
        raise BadInput(f"The {what} {path} is not a list.", "put its entries between [ and ].")
    return entries


def _reply_from(entry: Any, where: str) -> ScriptedReply:
    kinds = {field.name: _JSON_TYPES[type(field.default)] for field in fields(ScriptedReply)}
    if not isinstance(entry, dict):
        raise BadInput(f"{where} is not an object.", "write it between { and }.")
    for key, value in entry.items():
        if key not in kinds:
            raise BadInput(f"{where} has the unknown key {key!r}.", f"use only {', '.join(kinds)}.")
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise BadInput(f"{where} has a {key} of the wrong type.", "correct the script.")
    try:
        calls = tuple(ScriptedCall(**call) for call in entry.get("calls", ()))
    except TypeError:
        raise BadInput(f"{where} has a call that is not {{name, arguments}}.", "correct the script.") from None
    if not all(isinstance(c.name, str) and isinstance(c.arguments, str | dict) for c in calls):
        raise BadInput(f"{where} has a call of wrong types.", "give its name as text, its arguments as an object.")
    return ScriptedReply(**{**entry, "calls": calls})


def _newest_texts(prompt: Prompt) -> Iterator[str]:
    """Yield what came since the agent's last reply: the results of its calls, and events."""
    for row in reversed(prompt.queue):
        if row.role == "assistant":
            return
        yield row.content


def _pieces(reply: ScriptedReply, finish: Finish) -> Iterator[tuple[str | int, str]]:
    """Yield the pieces of a reply, each with "reasoning", "content" or the index of its call.

    The last part is halved where the reply breaks off.
    """
    parts: list[tuple[str | int, str]] = []
    if reply.monologue:
        parts.append(("content" if reply.calls else "reasoning", reply.monologue))
    if reply.text:
        parts.append(("content", reply.text))
    parts += [(index, call.raw) for index, call in enumerate(reply.calls)]
    if finish is not Finish.STOP and parts:
        kind, words = parts[-1]
        parts[-1] = (kind, words[: len(words) // 2])
    for kind, words in parts:
        for start in range(0, max(len(words), 1), reply.chunk_chars):
            yield kind, words[start : start + reply.chunk_chars]


def _chunk(reply: ScriptedReply, kind: str | int, piece: str) -> Chunk:
    if isinstance(kind, int):
        return Chunk(calls=(CallPiece(kind, None, reply.calls[kind].name, piece),))
    return Chunk(reasoning=piece) if kind == "reasoning" else Chunk(piece)

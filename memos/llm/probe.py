"""Active probes of one model at one endpoint: a few small real calls, whose replies fill a capability card.

They cost money or time, so nobody makes them but a user who was told how much (`memos doctor --probe`, `memos
configure`). Each task is as easy as a task can be: who fails it once is not given a harder one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from memos.errors import MemosError, ProcessorError, ProcessorUnreachable
from memos.llm.call_grammar import ARGUMENTS, FUNCTION, THOUGHTS, call_grammar
from memos.llm.capability_card import FAILURES_ALLOWED, CapabilityCard, FormatName, Reasoning
from memos.llm.catalogue import listed_cost_usd
from memos.llm.chat_messages import tools
from memos.llm.provider_errors import Failure, failure_of
from memos.llm.road import ChatRequest, Chunk, Road
from memos.messages import FunctionSchema, TokenUsage, utc_now

CALL_LIMIT_S = 120.0
"""A reply may take so long; a local model may have to be loaded first."""
_REPLY_LIMIT_CHARS = 20_000
_LONGEST_WAIT_S = 30.0
_REPLY_TOKENS = 80
_CHARS_PER_TOKEN = 4
_IMAGE_TOKENS = 300
_DEAR_IMAGE_USD = 0.02
"""A picture that may cost more is not sent."""
_STREAMED_PIECES = 3
_HONEST_GROWTH = (0.4, 3.0)
"""How many tokens a server may count more for a longer prompt, for each that a rough estimate finds."""

_NOTE = FunctionSchema(
    "write_note",
    "Write a note down.",
    {
        "type": "object",
        "properties": {"title": {"type": "string"}, "text": {"type": "string"}},
        "required": ["title", "text"],
    },
)
_CALL_SCHEMA = {
    "type": "object",
    "properties": {
        THOUGHTS: {"type": "string"},
        FUNCTION: {"type": "string", "enum": [_NOTE.name]},
        ARGUMENTS: {**_NOTE.parameters, "additionalProperties": False},
    },
    "required": [THOUGHTS, FUNCTION, ARGUMENTS],
    "additionalProperties": False,
}
_THINK = "You act by calling functions. Before a call, write one short sentence on what you are about to do."
_ONE_NOTE = 'Write the note titled "List" with this text: bread, butter, eggs, milk, apples, pears, tea and salt.'
_TWO_NOTES = 'Write two notes by two calls in one reply: "A" with the text "one", and "B" with the text "two".'
_PADDING = "For the record, nothing follows from these words: " + " ".join(
    f"shelf {number} holds {thing}," for number, thing in enumerate(("jars", "maps", "coins", "ropes", "lamps") * 8, 1)
)
_AS_JSON = "Answer in JSON, as one object."
_AS_THIS_JSON = (
    f'Answer with nothing but one JSON object: {{"{THOUGHTS}": "one short sentence", "{FUNCTION}": "{_NOTE.name}", '
    f'"{ARGUMENTS}": {{"title": "…", "text": "…"}}}}'
)
_COLOUR, _COLOUR_RGB = "orange", (255, 128, 0)  # nobody who sees nothing would guess it first
_ASK_COLOUR = "Which colour does this picture have? Answer in one word."
_IMAGE_PIXELS = 32  # some models refuse a side of less than 28


_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_NOT_THE_REQUEST = frozenset({401, 402, 403, 404, 429})
"""Key, account, model, rate: with these no other request fares better."""

Tell = Callable[[int, int, str], None]
"""Takes how many probes are done, of how many, and what the next one tries."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One small call: what it is to find out, what is asked, and where it tries a call format, which."""

    name: str
    request: ChatRequest
    format: FormatName | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The probes of one model, and what they cost at most as far as anyone knows: None is an unknown price."""

    probes: tuple[Probe, ...]
    tokens: int
    cost_usd: float | None


def plan(model: str, *, own_server: bool, takes_grammar: bool) -> Plan:
    """Return what is to be tried on a model. `own_server`: it is reached at an address of the user's own, whose
    prices nobody lists."""

    def price(usage: TokenUsage) -> float | None:
        return None if own_server else listed_cost_usd(model, usage)

    probes = [_NATIVE, _PARALLEL, _SCHEMA, *([_GRAMMAR] if takes_grammar else []), _PROMPTED]
    if (price(TokenUsage(_IMAGE_TOKENS, _REPLY_TOKENS)) or 0.0) <= _DEAR_IMAGE_USD:
        probes.append(_IMAGE)
    prompts = sum(_tokens(probe.request) for probe in probes)
    replies = len(probes) * _REPLY_TOKENS
    return Plan(tuple(probes), prompts + replies, price(TokenUsage(prompts, replies)))


async def card_by_probes(
    road: Road,
    model: str,
    probes: Sequence[Probe],
    *,
    who: str,
    secrets: Iterable[str] = (),
    tell: Tell = lambda done, count, name: None,
) -> CapabilityCard:
    """Make the calls, one after another, and return what they show. `who` names the endpoint for a person.

    Raises: BadInput, NotConfigured, ProcessorError, where the endpoint answers none of them, or breaks off.
    """
    await road.check()
    results: dict[str, _Heard] = {}
    refusals: dict[str, MemosError] = {}
    for number, probe in enumerate(probes):
        if probe.name == _PARALLEL.name and _NATIVE.name in refusals:
            continue
        tell(number, len(probes), probe.name)
        try:
            results[probe.name] = await _answered(road, probe.request, lambda e: failure_of(e, who, model, secrets))
        except _Refused as refused:
            refusals[probe.name] = refused.error
    tell(len(probes), len(probes), "")
    if not results:
        raise next(iter(refusals.values()))
    return _card(probes, results, refusals)


# --- The calls ------------------------------------------------------------------------------------------------


def _request(system: str, user: Any, **more: Any) -> ChatRequest:
    return ChatRequest([{"role": "system", "content": system}, {"role": "user", "content": user}], **more)


def _png(rgb: tuple[int, int, int], pixels: int) -> bytes:
    """Return a square picture of one colour."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", pixels, pixels, 8, 2, 0, 0, 0)
    lines = (b"\0" + bytes(rgb) * pixels) * pixels
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(lines)) + part(b"IEND", b"")


def _picture() -> list[dict[str, Any]]:
    data = base64.b64encode(_png(_COLOUR_RGB, _IMAGE_PIXELS)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return [{"type": "text", "text": _ASK_COLOUR}, image]


_NATIVE = Probe("function calls", _request(_THINK, _ONE_NOTE, tools=tools([_NOTE])), FormatName.NATIVE)
_PARALLEL = Probe("several calls in a reply", _request(f"{_THINK}\n{_PADDING}", _TWO_NOTES, tools=tools([_NOTE])))
_SCHEMA = Probe("JSON by a schema", _request(_AS_JSON, _ONE_NOTE, schema=_CALL_SCHEMA), FormatName.JSON_SCHEMA)
_GRAMMAR = Probe("a grammar", _request(_AS_JSON, _ONE_NOTE, grammar=call_grammar([_NOTE])), FormatName.GRAMMAR)
_PROMPTED = Probe("JSON by request", _request(f"{_AS_THIS_JSON}\n{_PADDING}", _ONE_NOTE), FormatName.JSON_PROMPT)
_IMAGE = Probe("images", ChatRequest([{"role": "user", "content": _picture()}]))


def _tokens(request: ChatRequest) -> int:
    """Return what a request costs by a rough estimate."""
    bulk = [request.messages, request.tools, request.schema]
    if any(isinstance(message["content"], list) for message in request.messages):
        return _IMAGE_TOKENS
    return sum(len(json.dumps(part)) for part in bulk if part) // _CHARS_PER_TOKEN


class _Refused(Exception):
    """The endpoint said no to one request, and may say yes to another."""

    def __init__(self, error: MemosError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class _Heard:
    """One reply, put together as it came; a call is its name and the pieces of its arguments."""

    content: str = ""
    reasoning: str = ""
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)
    usage: TokenUsage | None = None

    def take(self, chunk: Chunk) -> None:
        """Add a piece."""
        self.content += chunk.content
        self.reasoning += chunk.reasoning
        self.usage = chunk.usage or self.usage
        for piece in chunk.calls:
            if piece.name:
                self.calls.append((piece.name, []))
            if self.calls and piece.arguments:
                self.calls[-1][1].append(piece.arguments)

    @property
    def words(self) -> str:
        """What it says beside its thoughts."""
        return _THOUGHT.sub("", self.content).strip()

    def notes(self) -> list[Mapping[str, Any]]:
        """Return the arguments of its calls that are as they should be."""
        given = [
            _object("".join(pieces) if all(isinstance(p, str) for p in pieces) else pieces[-1])
            for name, pieces in self.calls
            if name == _NOTE.name
        ]
        return [arguments for arguments in given if _is_note(arguments)]


async def _answered(road: Road, request: ChatRequest, means: Callable[[Exception], Failure]) -> _Heard:
    """Make one call; what passes (overload, too many requests) is tried once more.

    Raises: _Refused; BadInput, NotConfigured, ProcessorError where another call would fare no better.
    """
    for attempt in (1, 2):
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                return await _heard(road, request)
        except TimeoutError as error:
            what = f"One reply took longer than {CALL_LIMIT_S:.0f} s."
            raise ProcessorUnreachable(what, "try again when the server has less to do") from error
        except Exception as error:
            failure = means(error)
            wait_s = failure.retry_after_s or 1.0
            if failure.passing and attempt == 1 and wait_s <= _LONGEST_WAIT_S:
                await asyncio.sleep(wait_s)
                continue
            status = getattr(error, "status_code", None)
            if isinstance(failure.error, ProcessorError) and isinstance(status, int) and status not in _NOT_THE_REQUEST:
                raise _Refused(failure.error) from error
            raise failure.error from error
    raise AssertionError("the second attempt returns or raises")


async def _heard(road: Road, request: ChatRequest) -> _Heard:
    heard, chars = _Heard(), 0
    async with aclosing(road.stream(request)) as chunks:
        async for chunk in chunks:
            heard.take(chunk)
            chars += len(chunk.content) + len(chunk.reasoning) + sum(len(str(c.arguments or "")) for c in chunk.calls)
            if chars > _REPLY_LIMIT_CHARS:
                break
    return heard


# --- What they show -------------------------------------------------------------------------------------------


def _card(probes: Sequence[Probe], results: Mapping[str, _Heard], refusals: Mapping[str, MemosError]) -> CapabilityCard:
    card = CapabilityCard(probed=True, seen_at=utc_now().isoformat())
    for probe in probes:
        if probe.format is None:
            continue
        if probe.name in refusals:
            card = card.after(probe.format, "refused")
        elif probe.name in results:
            card = _after(card, probe.format, results[probe.name])
    native, both, image = (results.get(probe.name) for probe in (_NATIVE, _PARALLEL, _IMAGE))
    if native and native.notes():
        arguments = next(pieces for name, pieces in native.calls if name == _NOTE.name)
        card = replace(
            card,
            streams_arguments=len(arguments) >= _STREAMED_PIECES,
            monologue="content" if native.words else "argument",
        )
    if both and both.calls:
        card = replace(card, parallel_calls=len(both.notes()) > 1)
    if image or _IMAGE.name in refusals:
        card = replace(card, images=bool(image and _COLOUR in image.words.casefold()))
    return replace(card, reasoning=_reasoning(results.values()), honest_usage=_is_honest(probes, results))


def _after(card: CapabilityCard, name: FormatName, heard: _Heard) -> CapabilityCard:
    obeyed = (
        bool(heard.notes()) if name is FormatName.NATIVE else _is_call(heard.words, bare=name is not _PROMPTED.format)
    )
    if obeyed:
        return card.after(name, "obeyed")
    for _ in range(FAILURES_ALLOWED):
        card = card.after(name, "failed")
    return card


def _reasoning(replies: Iterable[_Heard]) -> Reasoning:
    heard = list(replies)
    if any(reply.reasoning for reply in heard):
        return "field"
    return "tags" if any(_THOUGHT.search(reply.content) for reply in heard) else "none"


def _is_honest(probes: Sequence[Probe], results: Mapping[str, _Heard]) -> bool | None:
    """Whether the reported prompt tokens grow as the prompts do; koboldcpp, for one, always says 100.

    Only prompts of a kind are compared: nobody knows what a chat template makes of functions.
    """
    verdicts = [
        _grows(_tokens(long.request) - _tokens(short.request), results[short.name].usage, results[long.name].usage)
        for short, long in ((_NATIVE, _PARALLEL), (_SCHEMA, _PROMPTED))
        if short.name in results and long.name in results
    ]
    return any(verdicts) if verdicts else None


def _grows(expected: int, short: TokenUsage | None, long: TokenUsage | None) -> bool:
    if short is None or long is None or short.prompt_tokens is None or long.prompt_tokens is None:
        return False
    least, most = _HONEST_GROWTH
    return least <= (long.prompt_tokens - short.prompt_tokens) / expected <= most


def _is_call(words: str, *, bare: bool) -> bool:
    """Whether a text is the call that was asked for; not `bare`: fences and words around it do no harm."""
    text = words if bare else words[words.find("{") : words.rfind("}") + 1]
    call = _object(text)
    return call.get(FUNCTION) == _NOTE.name and THOUGHTS in call and _is_note(_object(call.get(ARGUMENTS)))


def _is_note(arguments: Mapping[str, Any]) -> bool:
    return isinstance(arguments.get("title"), str) and isinstance(arguments.get("text"), str)


def _object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, given as one or as its text; empty where it is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}

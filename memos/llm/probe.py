"""Active probes of one model at one endpoint: a few small real calls, whose replies fill a capability card.

They cost money or time, so nobody makes them but a user who was told how much (`memos doctor --probe`, `memos
configure`). Each task is as easy as a task can be: who fails it once is not given a harder one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from memos.errors import MemosError, ProcessorError, ProcessorUnreachable
from memos.llm.call_formats import Plain, format_named
from memos.llm.capability_card import FAILURES_ALLOWED, CapabilityCard, FormatName, HowUsed, Monologue, Reasoning
from memos.llm.catalogue import model_table
from memos.llm.prices import cost_usd
from memos.llm.provider_errors import Failure, failure_of
from memos.llm.reply_decoder import ReplyDecoder, Seen
from memos.llm.road import OPTIONAL_FIELDS, ChatRequest, Road
from memos.messages import (
    Counters,
    EventKind,
    Finish,
    FunctionCall,
    FunctionSchema,
    Message,
    Prompt,
    Reply,
    TokenUsage,
    utc_now,
)

CALL_LIMIT_S = 120.0
"""A reply may take so long; a local model may have to be loaded first."""
_REPLY_LIMIT_CHARS = 20_000
_TRIES = 3
_LONGEST_WAIT_S = 30.0
_REPLY_TOKENS = 80
_CHARS_PER_TOKEN = 4
_PICTURE_TOKENS = 300
_DEAR_PICTURE_USD = 0.02
"""A picture that may cost more is not sent."""
_HONEST_GROWTH = (0.4, 3.0)
"""How many tokens a server may count more for a longer prompt, for each that a rough estimate finds."""
_NOT_THE_REQUEST = frozenset({401, 402, 403, 404, 429})
"""Key, account, model, rate: with these no other request fares better."""

_NOTE = FunctionSchema(
    "write_note",
    "Write a note down.",
    {
        "type": "object",
        "properties": {"title": {"type": "string"}, "text": {"type": "string"}},
        "required": ["title", "text"],
    },
)
_THINK = "You act by calling functions. Before a call, write one short sentence on what you are about to do."
_ONE_NOTE = 'Write the note titled "List" with this text: bread, butter, eggs, milk, apples, pears, tea and salt.'
_TWO_NOTES = 'Write two notes by two calls in one reply: "A" with the text "one", and "B" with the text "two".'
_PADDING = "For the record; nothing follows from it: " + " ".join(
    f"shelf {number} holds {thing}," for number, thing in enumerate(("jars", "maps", "coins", "ropes", "lamps") * 8, 1)
)
_COLOUR, _COLOUR_RGB = "orange", (255, 128, 0)  # nobody who sees nothing would guess it first
_ASK_COLOUR = "Which colour does this picture have? Answer in one word."
_PICTURE_PIXELS = 32  # some models refuse a side of less than 28

Tell = Callable[[int, int, str], None]
"""Takes how many probes are done, of how many, and what the next one tries."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One small call: what it is to find out, the prompt and the format in which it is asked.

    `long` puts words before the task that only make the prompt longer; `picture` is a URL.
    """

    name: str
    format: FormatName
    task: str
    long: bool = False
    picture: str = ""

    @property
    def prompt(self) -> Prompt:
        """Main context of a model that has nothing but this to do."""
        event = Message("user", self.task, "", "probe", kind=EventKind.USER_MESSAGE)
        instructions = f"{_THINK}\n\n{_PADDING}" if self.long else _THINK
        return Prompt(instructions, () if self.picture else (_NOTE,), (), (event,), Counters(utc_now().astimezone()))

    @property
    def request(self) -> ChatRequest:
        """What is sent."""
        if not self.picture:
            return format_named(self.format).request(self.prompt)
        parts = [{"type": "text", "text": self.task}, {"type": "image_url", "image_url": {"url": self.picture}}]
        return ChatRequest([{"role": "user", "content": parts}])

    @property
    def prompt_tokens(self) -> int:
        """What the request costs, by a rough estimate."""
        if self.picture:
            return _PICTURE_TOKENS
        request = self.request
        return sum(len(json.dumps(part)) for part in (request.messages, request.tools)) // _CHARS_PER_TOKEN


def _picture(rgb: tuple[int, int, int], pixels: int) -> str:
    """Return a square PNG of one colour as a URL."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = part(b"IHDR", struct.pack(">IIBBBBB", pixels, pixels, 8, 2, 0, 0, 0))
    lines = part(b"IDAT", zlib.compress((b"\0" + bytes(rgb) * pixels) * pixels))
    png = b"\x89PNG\r\n\x1a\n" + head + lines + part(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_ONE = Probe("function calls", FormatName.NATIVE, _ONE_NOTE)
_TWO = Probe("several calls in a reply", FormatName.NATIVE, _TWO_NOTES, long=True)
_SCHEMA = Probe("JSON under a schema", FormatName.JSON_SCHEMA, _ONE_NOTE)
_GRAMMAR = Probe("JSON under a grammar", FormatName.GRAMMAR, _ONE_NOTE)
_WORDS = Probe("JSON asked for in words", FormatName.JSON_PROMPT, _ONE_NOTE, long=True)
_IMAGE = Probe("images", FormatName.PLAIN, _ASK_COLOUR, picture=_picture(_COLOUR_RGB, _PICTURE_PIXELS))


@dataclass(frozen=True, slots=True)
class Plan:
    """The probes of one model, and what they cost, roughly; None where nobody lists the price."""

    probes: tuple[Probe, ...]
    tokens: int
    cost_usd: float | None


def plan(model: str, *, own_server: bool, takes_grammar: bool) -> Plan:
    """Return what is to be tried. `own_server`: it is at an address of the user's own, whose prices nobody lists."""

    def price(usage: TokenUsage) -> float | None:
        return None if own_server else cost_usd(model_table(), model, usage)

    picture_usd = price(TokenUsage(_PICTURE_TOKENS, _REPLY_TOKENS)) or 0.0
    grammar = [_GRAMMAR] if takes_grammar else []
    probes = [_ONE, _TWO, _SCHEMA, *grammar, _WORDS, *([_IMAGE] if picture_usd <= _DEAR_PICTURE_USD else [])]
    prompts, replies = sum(probe.prompt_tokens for probe in probes), len(probes) * _REPLY_TOKENS
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

    Raises: BadInput, NotConfigured, ProcessorError, where the endpoint answers none of them, or cannot be reached.
    """
    await road.warm_up()
    await road.check()
    results: dict[Probe, _Result] = {}
    refusals: dict[Probe, MemosError] = {}
    for number, probe in enumerate(probes):
        if probe == _TWO and _ONE in refusals:
            continue
        tell(number, len(probes), probe.name)
        try:
            results[probe] = await _made(road, probe, lambda error: failure_of(error, who, model, secrets))
        except _Refused as refused:
            refusals[probe] = refused.error
    tell(len(probes), len(probes), "")
    if not results:
        raise next(iter(refusals.values()))
    return _card(results, refusals)


# --- One call -------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """The endpoint said no to one request, and may say yes to another."""

    def __init__(self, error: MemosError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class _Result:
    """The reply to a probe, and what its decoder saw."""

    reply: Reply
    seen: Seen

    @property
    def notes(self) -> int:
        """How many calls are as they were asked for."""
        return sum(_is_note(call) for call in self.reply.calls)


async def _made(road: Road, probe: Probe, means: Callable[[Exception], Failure]) -> _Result:
    """Make one call; again where that was a passing failure, or a field of it that can be left out was refused.

    Raises: _Refused; BadInput, NotConfigured, ProcessorError where another probe would fare no better.
    """
    request = probe.request
    for tries_left in reversed(range(_TRIES)):
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                return await _heard(road, probe, request)
        except TimeoutError as error:
            what = f"The reply to a small request took longer than {CALL_LIMIT_S:.0f} s."
            raise ProcessorUnreachable(what, "try again when the server has less to do") from error
        except Exception as error:
            failure = means(error)
            wait_s = failure.retry_after_s or 1.0
            if tries_left and failure.refuses in OPTIONAL_FIELDS - {"grammar"}:
                request = replace(request, without=request.without | {failure.refuses})
            elif tries_left and failure.passing and wait_s <= _LONGEST_WAIT_S:
                await asyncio.sleep(wait_s)
            elif isinstance(failure.error, ProcessorError) and _is_about_the_request(error):
                raise _Refused(failure.error) from error
            else:
                raise failure.error from error
    raise AssertionError("the last try returns or raises")


def _is_about_the_request(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and status not in _NOT_THE_REQUEST


async def _heard(road: Road, probe: Probe, request: ChatRequest) -> _Result:
    """Return one reply, ended where it does not come to an end itself."""
    prompt = probe.prompt
    decoder: ReplyDecoder = (Plain() if probe.picture else format_named(probe.format)).decoder(prompt)
    usage = TokenUsage()
    async with aclosing(road.stream(request)) as chunks:
        async for chunk in chunks:
            decoder.feed(chunk)
            usage = chunk.usage or usage
            if decoder.size_chars > _REPLY_LIMIT_CHARS:
                break
    decoder.finish()
    return _Result(decoder.reply(Finish.STOP, usage), decoder.seen)


def _is_note(call: FunctionCall) -> bool:
    try:
        given = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return False
    fits = isinstance(given, dict) and all(isinstance(given.get(key), str) for key in ("title", "text"))
    return fits and call.name == _NOTE.name


# --- What they show -------------------------------------------------------------------------------------------


def _card(results: Mapping[Probe, _Result], refusals: Mapping[Probe, MemosError]) -> CapabilityCard:
    card = CapabilityCard(probed=True, seen_at=utc_now().isoformat(timespec="seconds"))
    for probe in (_ONE, _SCHEMA, _GRAMMAR, _WORDS):
        if probe in refusals:
            card = card.after(probe.format, "refused")
        elif probe in results:
            card = _after(card, probe.format, "obeyed" if _obeyed(probe, results[probe]) else "failed")
    one, two, image = (results.get(probe) for probe in (_ONE, _TWO, _IMAGE))
    called = one is not None and card.record(_ONE.format).obeyed
    return replace(
        card,
        parallel_calls=two.seen.native_calls > 1 if two and two.seen.native_calls else None,
        streams_arguments=one.seen.argument_pieces > 1 if one and called else None,
        honest_usage=_is_honest(results),
        reasoning=_reasoning(result.seen for result in results.values()),
        monologue=_monologue(one.seen) if one and called else None,
        images=_sees(image) if image or _IMAGE in refusals else None,
    )


def _obeyed(probe: Probe, result: _Result) -> bool:
    in_its_place = result.seen.native_calls if probe.format is FormatName.NATIVE else result.seen.text_calls
    return bool(result.notes and in_its_place)


def _after(card: CapabilityCard, name: FormatName, how: HowUsed) -> CapabilityCard:
    """Return the card after a probe: one failure decides, for no real task is as easy."""
    for _ in range(FAILURES_ALLOWED if how == "failed" else 1):
        card = card.after(name, how)
    return card


def _monologue(seen: Seen) -> Monologue | None:
    """Return where the model thinks beside a call; one that has reasoned apart from it may have had no more to say."""
    if seen.words:
        return "content"
    return "argument" if seen.reasoning == "none" else None


def _reasoning(replies: Iterable[Seen]) -> Reasoning:
    kinds = {seen.reasoning for seen in replies}
    return "field" if "field" in kinds else "tags" if "tags" in kinds else "none"


def _sees(image: _Result | None) -> bool:
    return image is not None and _COLOUR in image.reply.text.casefold()


def _is_honest(results: Mapping[Probe, _Result]) -> bool | None:
    """Whether the reported prompt tokens grow as the prompts do; koboldcpp, for one, always says 100.

    Only prompts of a kind are compared: nobody knows what a chat template makes of functions.
    """
    pairs = [(short, long) for short, long in ((_ONE, _TWO), (_SCHEMA, _WORDS)) if short in results and long in results]
    verdicts = [
        _grows(long.prompt_tokens - short.prompt_tokens, results[short].reply.usage, results[long].reply.usage)
        for short, long in pairs
    ]
    return any(verdicts) if verdicts else None


def _grows(expected: int, short: TokenUsage, long: TokenUsage) -> bool:
    if short.prompt_tokens is None or long.prompt_tokens is None or expected <= 0:
        return False
    least, most = _HONEST_GROWTH
    return least <= (long.prompt_tokens - short.prompt_tokens) / expected <= most

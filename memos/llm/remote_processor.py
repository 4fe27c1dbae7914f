"""A model behind an endpoint: which call format it is asked in, how long it may be silent, when it is asked again.

Between a road (how an endpoint is reached) and the call formats (how functions are offered) this decides what goes
out, tells failures in memos' own errors, and learns from every reply what the model can do. Every retry is announced.
"""

from __future__ import annotations

import asyncio
import random
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from memos.errors import ContentFiltered, ProcessorUnreachable, StreamCut
from memos.llm.call_formats import CallFormat, Plain, format_named
from memos.llm.call_grammar import lengths_within
from memos.llm.capability_card import CapabilityCard, FormatName, KeptCards, card_of, learnt, told_change
from memos.llm.catalogue import facts, model_table, redirection
from memos.llm.chat_messages import blind
from memos.llm.prices import cost_usd
from memos.llm.processor import DEFAULT_WINDOW_TOKENS
from memos.llm.reply_decoder import ReplyDecoder
from memos.llm.road import NO_KEY, OPTIONAL_FIELDS, AddressMended, ChatRequest, Chunk, Road
from memos.llm.server_window import window_of
from memos.llm.token_counts import KeptScales, TokenCounts
from memos.messages import (
    Finish,
    Notice,
    Progress,
    Prompt,
    PromptTokens,
    Reply,
    ReplyPart,
    RetryIn,
    TokenUsage,
    utc_now,
)

if TYPE_CHECKING:
    from memos.llm.probe import Probe, Tell
    from memos.llm.provider_errors import Failure

LONGEST_WAIT_S = 30.0
REPLY_LIMIT_CHARS = 1024 * 1024
"""A reply is ended here: nobody reads on, and a model that never ends would fill the memory."""
_FINISHES = {"length": Finish.LENGTH, "max_tokens": Finish.LENGTH, "error": Finish.CUT}
_REFUSABLE = {
    FormatName.NATIVE: ("tools", "tool_choice"),
    FormatName.JSON_SCHEMA: ("response_format",),
    FormatName.GRAMMAR: ("grammar",),
}
"""What an endpoint that refuses a call format says it does not take."""


class KeptNotes(KeptScales, KeptCards, Protocol):
    """Where what was learned of models outlives the process."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for the first piece of a reply, and between two; how often to ask again."""

    first_byte_s: float = 60.0
    gap_s: float = 30.0
    retries: int = 3
    backoff_s: float = 0.5


class RemoteProcessor:
    """One model behind an endpoint, by way of a road. `model` is the string the user chose, `api_base` the server's
    address where it is the user's own, `call_format` one of `FormatName` or `auto`, which begins with `first_format`
    where a kind of server is known to do best with it."""

    def __init__(
        self,
        model: str,
        road: Road,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        window_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        stream: bool = True,
        call_format: str = "auto",
        first_format: FormatName | None = None,
        signed_thoughts: bool = False,
        patience: Patience = Patience(),
        notes: KeptNotes | None = None,
    ) -> None:
        self._model = model
        self._road = road
        self._api_base = api_base
        self._api_key = api_key or None
        self._window_tokens = window_tokens
        self._params = dict(params or {})
        self._stream = stream
        self._chosen = None if call_format == "auto" else FormatName(call_format)
        self._first = first_format
        self._signed_thoughts = signed_thoughts
        self._patience = patience
        self._notes = notes
        self._without: frozenset[str] = frozenset()
        self._asked_window: asyncio.Task[int | None] | None = None
        self._card = card_of(notes, model, api_base or "")
        self._token_counts = TokenCounts(model, api_base or "", scales=notes, window_tokens=lambda: self.window_tokens)

    # --- What is known of it ----------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The model string the user chose."""
        return self._model

    @property
    def card(self) -> CapabilityCard:
        """What has been seen of the model at its endpoint."""
        return self._card

    @property
    def format_name(self) -> FormatName:
        """The call format of the next reply: the user's choice, or what the card says is best."""
        return self._chosen or self._card.best(self._first)

    @property
    def window_tokens(self) -> int | None:
        """The window the user set; else what the server said, or what litellm's list says; else None.

        A server named by `api_base` may run anything under any name, so the list is not asked about it.
        """
        if self._window_tokens is not None or self._api_base is not None:
            return self._window_tokens or self._card.window_tokens
        return facts(self._model).window_tokens

    @property
    def reads_queue(self) -> bool:
        """The model reads all of the prompt."""
        return True

    @property
    def summarises(self) -> bool:
        """Whether it can write a summary to order: any remote model is trusted to, and held to its form."""
        return True

    @property
    def sees(self) -> bool | None:
        """What the card says: a probe has shown it a picture, or its endpoint has refused one."""
        return self._card.images

    def measure(self, prompt: Prompt) -> PromptTokens:
        """Count by the offline tokenizer, corrected by what this model has reported."""
        return self._token_counts.measure(prompt)

    def learn(self, measured: PromptTokens, usage: TokenUsage) -> None:
        """Correct later counts by what the provider reported, unless it was of a prompt without its pictures."""
        if not (measured.images and self.sees is False):
            self._token_counts.learn(measured, usage)

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return the price by litellm's list; None for what it does not list, and for every server of one's own."""
        if self._api_base is not None or redirection(self._model):
            return None
        return cost_usd(model_table(), self._model, usage)

    # --- Life -------------------------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Load the tokenizer and what the road needs, in helper threads or processes; ask the server for its window.

        Raises: BadInput, NotConfigured.
        """
        await asyncio.to_thread(self._token_counts.load)
        await self._road.warm_up()
        await self._ask_for_window()

    async def find_window(self) -> None:
        """Ask the server the user named for its window, unless it was asked before, in this process or another."""
        if not self._card.window_asked:
            await self._ask_for_window()

    async def check(self) -> None:
        """Check, without contact to anyone, that the model can be meant and its key is there.

        Raises: BadInput, NotConfigured.
        """
        await self._road.check()

    async def probe(self, probes: Sequence[Probe], tell: Tell) -> CapabilityCard:
        """Make these calls, which the user has agreed to, and keep what they show as the model's card.

        Raises: BadInput, NotConfigured, ProcessorError.
        """
        from memos.llm.probe import card_by_probes

        secrets = [self._api_key] if self._api_key else []
        card = await card_by_probes(self._road, self._model, probes, who=self._who, secrets=secrets, tell=tell)
        await self._ask_for_window()
        told = self._card
        self._keep(replace(card, window_tokens=told.window_tokens, window_asked=told.window_asked))
        return self._card

    async def aclose(self) -> None:
        """Close the connections."""
        if self._asked_window is not None:
            self._asked_window.cancel()
        await self._road.aclose()

    async def _ask_for_window(self) -> None:
        """Ask the server the user named, once a process; without such a server read litellm's list ahead."""
        if self._window_tokens is not None:
            return
        if self._api_base is None:
            await asyncio.to_thread(facts, self._model)
            return
        if self._asked_window is None:
            key = None if self._api_key == NO_KEY else self._api_key
            self._asked_window = asyncio.create_task(window_of(self._model, self._api_base, key))
        told = await asyncio.shield(self._asked_window)
        if not self._card.window_asked or (told is not None and told != self._card.window_tokens):
            self._keep(replace(self._card, window_tokens=told, window_asked=True))

    def _keep(self, card: CapabilityCard) -> None:
        self._card = card
        if self._notes:
            self._notes.note_card(self._model, self._api_base or "", card.as_json())

    def _keep_seen(self, card: CapabilityCard) -> None:
        """Keep what a reply or a refusal showed just now."""
        self._keep(replace(card, seen_at=utc_now().isoformat(timespec="seconds")))

    # --- A reply ----------------------------------------------------------------------------------------------

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        """Stream the reply, as `Processor.infer` says.

        Raises: BadInput, NotConfigured, ProcessorError.
        """
        if not self._road.is_ready:
            yield Progress("loading the model")
        await self._road.check()
        attempt = 1
        while True:
            call_format = self._format(prompt)
            try:
                async with aclosing(self._attempt(prompt, call_format)) as parts:
                    async for part in parts:
                        yield part
                return
            except _Failed as failed:
                if failed.failure.refuses == "images" and prompt.images:
                    prompt = blind(prompt)
                    yield Notice(self._sees_nothing())
                    continue
                if change := failed.mended or self._adapted(failed.failure, call_format.name):
                    yield Notice(change)
                    continue
                wait_s = self._wait_before_retry(failed.failure, attempt)
                if wait_s is None:
                    raise failed.failure.error from failed.__cause__
                reason = failed.failure.error.what
            yield RetryIn(wait_s, attempt, self._patience.retries, reason)
            await asyncio.sleep(wait_s)
            attempt += 1

    def _format(self, prompt: Prompt) -> CallFormat:
        if prompt.purpose == "summarise" or not prompt.functions:
            return Plain()
        in_arguments = self._card.monologue == "argument"
        own_server = self._api_base is not None
        return format_named(
            self.format_name,
            thinks_in_arguments=in_arguments,
            signed=self._signed_thoughts,
            lengths=lengths_within(self.window_tokens or DEFAULT_WINDOW_TOKENS) if own_server else None,
        )

    def _request(self, prompt: Prompt, call_format: CallFormat) -> ChatRequest:
        request = call_format.request(prompt)
        return replace(
            request,
            params=self._params,
            stream=self._stream,
            without=self._without,
            stable_chars=request.stable_chars if prompt.purpose == "chat" else 0,
            window_tokens=self.window_tokens or DEFAULT_WINDOW_TOKENS,
        )

    async def _attempt(self, prompt: Prompt, call_format: CallFormat) -> AsyncGenerator[ReplyPart]:
        """Ask once. Before anything was streamed a failure is raised as `_Failed`; after, the reply is cut."""
        decoder = call_format.decoder(prompt)
        wire = _Wire(self._road.stream(self._request(prompt, call_format)), self._patience)
        try:
            while (chunk := await wire.next()) is not None:
                for part in decoder.feed(chunk):
                    yield part
                if decoder.size_chars > REPLY_LIMIT_CHARS:
                    raise StreamCut(f"{self._who} wrote more than {REPLY_LIMIT_CHARS:,} characters without an end.")
            finish = self._finish(decoder, wire)
        except Exception as error:
            failure = self._failure(error, wire.limit_s)
            if decoder.is_empty:
                raise _Failed(failure, str(error) if isinstance(error, AddressMended) else "") from error
            yield Notice(failure.error.what)
            finish = Finish.CUT
        finally:
            await wire.aclose()
        for part in decoder.finish():
            yield part
        reply = decoder.reply(finish, wire.usage)
        if prompt.functions and (change := self._learnt(call_format.name, decoder, reply)):
            yield Notice(change)
        yield reply

    def _finish(self, decoder: ReplyDecoder, wire: _Wire) -> Finish:
        """Return how the reply ended. Raises: StreamCut, ContentFiltered."""
        if wire.finish is None and decoder.is_empty:
            raise StreamCut(
                f"{self._who} ended its answer before a word came.",
                "try again; if it stays so, check the address given as api_base.",
            )
        if wire.finish in ("content_filter", "refusal"):
            raise ContentFiltered(f"The content filter of {self._who} stopped the reply.", "put it in other words.")
        return Finish.CUT if wire.finish is None else _FINISHES.get(wire.finish, Finish.STOP)

    # --- What a reply teaches ---------------------------------------------------------------------------------

    def _learnt(self, name: FormatName, decoder: ReplyDecoder, reply: Reply) -> str:
        """Note on the card what a reply showed; return a sentence where the next one is asked for in another way."""
        before = self._card
        after = learnt(before, name, decoder.seen, reply, streamed=self._stream)
        if after == before:
            return ""
        self._keep_seen(after)
        return "" if self._chosen else told_change(before, after, self._model, self._first)

    def _adapted(self, failure: Failure, name: FormatName) -> str:
        """Leave out what the endpoint does not take, for good; return a sentence on it, empty where that is not it."""
        if failure.refuses in _REFUSABLE.get(name, ()) and self._chosen is None:
            before = self._card
            self._keep_seen(before.after(name, "refused"))
            return told_change(before, self._card, self._model, self._first)
        if failure.refuses in OPTIONAL_FIELDS and failure.refuses not in self._without:
            self._without |= {failure.refuses}
            return f"{self._who} does not take {failure.refuses}; it is left out from now on."
        return ""

    def _sees_nothing(self) -> str:
        """Note on the card that the endpoint refused an image; return a sentence on what it gets in its place."""
        self._keep_seen(replace(self._card, images=False))
        return (
            f"{self._model} takes no images: it was sent their names and sizes in words instead. /model switches to a"
            " model that sees; memos doctor --probe tries this one again."
        )

    # --- Failures ---------------------------------------------------------------------------------------------

    @property
    def _who(self) -> str:
        """The endpoint as a person knows it: its host, or the provider's name."""
        host = urllib.parse.urlsplit(self._api_base or "").netloc.rpartition("@")[2]
        return host or self._model.partition("/")[0]

    def _failure(self, error: Exception, waited_s: float) -> Failure:
        from memos.llm.provider_errors import Failure, failure_of

        if isinstance(error, TimeoutError):
            what = f"{self._who} sent nothing for {waited_s:g} s."
            # Not tried again by itself: a slow server would do the same work twice.
            return Failure(ProcessorUnreachable(what, "try again, or allow more time under [timeouts] in config.toml."))
        return failure_of(error, self._who, self._model, [self._api_key] if self._api_key else [])

    def _wait_before_retry(self, failure: Failure, attempt: int) -> float | None:
        """Return the seconds to wait before the next try, or None where there is none."""
        if not failure.passing or attempt > self._patience.retries:
            return None
        if failure.retry_after_s is not None:
            return failure.retry_after_s if failure.retry_after_s <= LONGEST_WAIT_S else None
        wait_s: float = self._patience.backoff_s * 2 ** (attempt - 1)
        # Jitter, so that many clients do not come back at once.
        return min(LONGEST_WAIT_S, wait_s * random.uniform(0.5, 1.5))


class _Failed(Exception):
    """One attempt failed before anything was streamed. `mended` says what the road has changed, if it did."""

    def __init__(self, failure: Failure, mended: str = "") -> None:
        super().__init__(str(failure.error))
        self.failure = failure
        self.mended = mended


class _Wire:
    """One request under way: its chunks, each within its time, and what it said of its end."""

    def __init__(self, chunks: AsyncGenerator[Chunk], patience: Patience) -> None:
        self.finish: str | None = None
        self.usage = TokenUsage()
        self.limit_s = patience.first_byte_s
        self._chunks = chunks
        self._gap_s = patience.gap_s

    async def next(self) -> Chunk | None:
        """Return the next chunk, None at the end. Raises: TimeoutError, and what the road raises."""
        async with asyncio.timeout(self.limit_s):
            chunk = await anext(self._chunks, None)
        self.limit_s = self._gap_s
        if chunk is not None:
            self.finish = chunk.finish or self.finish
            self.usage = chunk.usage or self.usage
        return chunk

    async def aclose(self) -> None:
        """Close the connection."""
        await self._chunks.aclose()

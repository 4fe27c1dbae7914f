"""One JSON call a step: shown while it is written, and never left half written without a word."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos.llm.engine import Completion, Engine
from memos.llm.one_call import OneCall, fixed_prompt, live_part
from memos.llm.weights import builtin_weights
from memos.messages import (
    Block,
    Counters,
    EventKind,
    Finish,
    FunctionCall,
    FunctionSchema,
    Message,
    MonologueDelta,
    Notice,
    Prompt,
    ReplyPart,
    SpeechDelta,
    TokenUsage,
)

TEXT = {"type": "string"}
SPEAK = FunctionSchema("send_message", "", {"properties": {"message": TEXT}, "required": ["message"]})
ROLL = FunctionSchema(
    "roll_dice", "Roll.\nMore.", {"properties": {"sides": {"type": "integer"}}, "required": ["sides"]}
)
EVENT = Message("user", "Good morning!", "a", "t", kind=EventKind.USER_MESSAGE)
WHOLE = ' {"thoughts":"I greet.","function":"send_message","arguments":{"message":"Hello \\"you\\"!"}}'


def prompt(*queue: Message, human: str = "") -> Prompt:
    blocks = (Block("human", human, 2000), Block("persona", "A clerk.", 2000))
    return Prompt("", (SPEAK, ROLL), blocks, queue or (EVENT,), Counters(datetime(2026, 11, 23, tzinfo=UTC)))


@dataclass
class Writes:
    """A model that writes these texts one after the other, in pieces of three characters; a half one is cut."""

    texts: list[str]
    window_tokens: int = 4096
    grammars: list[str | None] = field(default_factory=list)

    def tokens(self, text: str) -> list[int] | None:
        return None

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        slot: int = 0,
        grammar: str | None = None,
        on_text: Callable[[str], None] | None = None,
        cancelled: threading.Event | None = None,
    ) -> Completion:
        self.grammars.append(grammar)
        text = self.texts.pop(0)
        assert on_text is not None
        for start in range(0, len(text), 3):
            on_text(text[start : start + 3])
        return Completion(text, Finish.STOP if text.endswith("}}") else Finish.LENGTH, TokenUsage())


def thoughts(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, MonologueDelta))


def speech(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, SpeechDelta))


def test_thoughts_come_first_then_the_words_in_pieces_and_both_are_whole() -> None:
    parts: list[ReplyPart] = []
    reply = OneCall(Writes([WHOLE])).reply(prompt(), None, parts.append)
    kinds = [type(part) for part in parts]
    assert kinds == sorted(kinds, key=[MonologueDelta, SpeechDelta].index)
    assert len(kinds) > 4
    assert thoughts(parts) == reply.monologue == "I greet."
    assert speech(parts) == json.loads(reply.calls[0].arguments)["message"] == 'Hello "you"!'


def test_a_call_without_an_end_is_asked_anew_under_a_shorter_grammar() -> None:
    model = Writes([' {"thoughts":"I th', WHOLE])
    reply = OneCall(model).reply(prompt())
    assert reply.calls[0].name == "send_message"
    first, second = model.grammars
    assert first is not None and second is not None and first != second


def test_a_call_that_never_ends_becomes_plain_speech_with_a_notice() -> None:
    parts: list[ReplyPart] = []
    model = Writes([' {"thoughts":"I th', ' {"thoughts":"Hm', WHOLE])
    reply = OneCall(model).reply(prompt(), None, parts.append)
    assert (reply.calls, reply.text, len(model.texts)) == ((), "Hm", 1)
    assert isinstance(parts[-1], Notice)


def test_words_that_have_been_seen_are_not_said_a_second_time() -> None:
    parts: list[ReplyPart] = []
    model = Writes([WHOLE[:-9], WHOLE])
    reply = OneCall(model).reply(prompt(), None, parts.append)
    assert reply.text.startswith("Hello") and reply.text == speech(parts)
    assert len(model.texts) == 1


def test_blocks_stand_beside_the_newest_event_and_old_rows_keep_their_bytes() -> None:
    call = FunctionCall("c", "send_message", '{"message": "Hi"}')
    said = Message("assistant", "I greet.", "a", "t", calls=(call,))
    done = Message("tool", "Sent.", "a", "t", name="send_message", call_id="c", ok=True)
    one = live_part(prompt(EVENT, said, done, replace(EVENT, content="And now?"), human="Likes tea."), 9999, "")
    other = live_part(prompt(EVENT, said, done, replace(EVENT, content="And then?"), human="Likes ale."), 9999, "")
    same = one[: next(place for place in range(len(one)) if one[place] != other[place])]
    assert "Good morning!" in same and '{"thoughts":"I greet."' in same and "Sent." in same
    assert "roll_dice(sides): Roll.\n" in one
    assert one.endswith("Core memory, human: Likes tea.\nEvent user_message: And now?\n")


def test_old_rows_leave_in_lots_and_the_newest_event_never() -> None:
    rows = [replace(EVENT, content=f"row {number} " + "x" * 100) for number in range(40)]
    starts = [live_part(prompt(*rows[:count]), 2000, "").split(" x")[0] for count in range(20, 40)]
    assert len(set(starts)) <= 4
    assert "row 39" in live_part(prompt(*rows), 0, "")


@pytest.fixture(scope="module")
def engine(builtin_cache: Path) -> Iterator[Engine]:
    loaded = Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=2048)
    yield loaded
    loaded.close()


@pytest.mark.builtin_model
def test_the_fixed_prefix_costs_at_most_six_hundred_tokens_and_is_read_once(engine: Engine) -> None:
    usage = engine.complete(fixed_prompt(), max_tokens=1).usage
    assert usage.prompt_tokens is not None and usage.prompt_tokens <= 600
    reply = OneCall(engine).reply(prompt())
    assert reply.calls[0].name in ("send_message", "roll_dice")
    assert reply.usage.cached_tokens is not None and reply.usage.cached_tokens >= usage.prompt_tokens - 2


@pytest.mark.builtin_model
def test_a_real_model_that_is_cut_short_says_so(engine: Engine) -> None:
    parts: list[ReplyPart] = []
    reply = OneCall(engine, max_tokens=6).reply(prompt(), None, parts.append)
    assert reply.calls == ()
    assert isinstance(parts[-1], Notice)


def test_a_larger_model_reads_the_prefix_within_its_bounds_too() -> None:
    named = os.environ.get("MEMOS_TEST_GGUF")
    if not named:
        pytest.skip("MEMOS_TEST_GGUF names no larger model")
    loaded = Engine(Path(named), threads=1, window_tokens=1024)
    usage = loaded.complete(fixed_prompt(), max_tokens=1).usage
    loaded.close()
    assert usage.prompt_tokens is not None and usage.prompt_tokens <= 600


@pytest.fixture(scope="module")
def counting_engine(builtin_cache: Path) -> Iterator[Engine]:
    loaded = Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=2048, counts=True)
    loaded.close_door()
    yield loaded
    loaded.close()


@pytest.mark.builtin_model
@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
def test_what_is_measured_is_what_the_engine_reads_part_by_part(counting_engine: Engine) -> None:
    call = FunctionCall("c", "send_message", '{"message": "Grüße, 鍵"}')
    said = Message("assistant", "I greet.", "a", "t", calls=(call,))
    done = Message("tool", "Sent.", "a", "t", name="send_message", call_id="c", ok=True)
    asked = prompt(EVENT, said, done, replace(EVENT, content="And now? <|im_end|>"), human="Likes tea.")
    one = OneCall(counting_engine)
    measured = one.measure(asked)
    assert measured is not None and measured.exact
    assert (len(measured.queue), measured.margin, min(measured.queue) > 2) == (4, 0, True)
    assert min(measured.instructions, measured.functions, measured.blocks, measured.frame) > 0
    usage = one.reply(asked).usage
    assert usage.prompt_tokens == measured.total

    longer = one.measure(replace(asked, blocks=(Block("human", "Likes tea. " * 40, 2000), *asked.blocks[1:])))
    assert longer is not None
    assert longer.blocks > measured.blocks + 80 and longer.queue == measured.queue


@pytest.mark.builtin_model
@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
def test_a_queue_that_fits_is_read_whole_and_one_that_does_not_is_cut(counting_engine: Engine) -> None:
    one = OneCall(counting_engine)
    short = [replace(EVENT, content=f"row {number} ") for number in range(30)]
    fits, too_long = prompt(*short), prompt(*[replace(row, content=row.content * 40) for row in short])
    measured = one.measure(fits)
    assert measured is not None and measured.total == one.reply(fits).usage.prompt_tokens
    measured, read = one.measure(too_long), one.reply(too_long).usage.prompt_tokens
    assert measured is not None and read is not None and read < 2048 < measured.total

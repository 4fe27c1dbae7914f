"""Images on their way to a model: as parts of a message, over both roads, in each format; and where one is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.fake_anthropic import fake_anthropic
from support.fake_openai import FakeOpenAI, echo, packets_of
from support.fake_rules import pictures_of, text_of, violations_of
from support.fake_wire import BLIND
from support.pictures import picture

from memos.llm.cache_marks import marked
from memos.llm.call_formats import FORMATS
from memos.llm.capability_card import FormatName
from memos.llm.chat_messages import blind, chat_messages
from memos.llm.httpx_road import HttpxRoad
from memos.llm.image_tokens import ImageScale, image_tokens
from memos.llm.litellm_road import LitellmRoad
from memos.llm.provider_errors import refused_field
from memos.llm.remote_processor import RemoteProcessor
from memos.llm.token_counts import TokenCounts
from memos.memory.image_files import read_image
from memos.messages import (
    Counters,
    EventKind,
    FunctionCall,
    FunctionSchema,
    Image,
    Message,
    Notice,
    Prompt,
    Reply,
    ReplyPart,
    TokenUsage,
)
from memos.storage.attachments import images_payload

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SAY = FunctionSchema("send_message", "Say it.", {"type": "object", "properties": {"message": {"type": "string"}}})


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return read_image(picture(tmp_path_factory.mktemp("pictures") / "cat.png", 80, 60))


@pytest.fixture(scope="module")
def dog(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return read_image(picture(tmp_path_factory.mktemp("pictures") / "dog.jpg", 50, 50, "blue"))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


def said(text: str, *images: Image, shown: bool = True) -> Message:
    return Message(
        "user",
        text,
        "a",
        "t",
        kind=EventKind.USER_MESSAGE,
        payload={"utc_offset_min": 0, **images_payload(images)},
        attachments=tuple(image.hash for image in images) if shown else (),
        created_at=NOON,
    )


def answer(number: int, text: str = "I see.") -> list[Message]:
    call = FunctionCall(f"c{number}", "send_message", json.dumps({"message": text}))
    reply = Message("assistant", "Hm.", "a", "t", calls=(call,), created_at=NOON)
    result = Message("tool", "Sent.", "a", "t", name="send_message", call_id=call.id, ok=True, created_at=NOON)
    return [reply, replace(result, payload={"utc_offset_min": 0})]


def prompt(*queue: Message, images: tuple[Image, ...] = ()) -> Prompt:
    return Prompt("Be kind.", (SAY,), (), queue, Counters(NOON), images={image.hash: image for image in images})


def ask(processor: RemoteProcessor, asked: Prompt) -> list[ReplyPart]:
    async def gather() -> list[ReplyPart]:
        try:
            return [part async for part in processor.infer(asked)]
        finally:
            await processor.aclose()

    return asyncio.run(gather())


# --- What is sent ----------------------------------------------------------------------------------------------


def test_a_picture_stands_before_the_words_and_rows_without_one_stay_strings(cat: Image, dog: Image) -> None:
    queue = (said("Who is it?", cat), *answer(1), said("And these?", cat, dog))
    messages = chat_messages(prompt(*queue, images=(cat, dog)))
    assert violations_of({"messages": messages, "tools": [{"function": {"name": "send_message"}}]}) == []
    assert [type(message["content"]) for message in messages] == [str, list, str, str, list]
    assert [part["type"] for part in messages[-1]["content"]] == ["image_url", "image_url", "text"]
    assert pictures_of(messages[1]) == [cat.data] and pictures_of(messages[-1]) == [cat.data, dog.data]
    assert packets_of(messages[-1])[0]["images"] == ["cat.png, 80x60", "dog.jpg, 50x50"]


def test_a_picture_out_of_view_is_named_so_that_nobody_invents_what_it_shows(cat: Image) -> None:
    (message,) = chat_messages(prompt(said("Who is it?", cat, shown=False)))[1:]
    assert json.loads(message["content"])["images"] == ["[cat.png, 80x60: not in view]"]
    assert chat_messages(blind(prompt(said("Who is it?", cat), images=(cat,))))[1:] == [message]


def test_a_picture_without_words_is_a_message(cat: Image) -> None:
    (message,) = chat_messages(prompt(said("", cat), images=(cat,)))[1:]
    assert "message" not in packets_of(message)[0] and pictures_of(message)


@pytest.mark.parametrize("name", FormatName)
def test_every_format_carries_pictures_of_old_and_new_messages(cat: Image, dog: Image, name: FormatName) -> None:
    queue = (said("One", cat), said("Two"), *answer(1), said("Three", dog))
    request = FORMATS[name].request(prompt(*queue, images=(cat, dog)))
    body = {"messages": list(request.messages), "tools": list(request.tools)}
    assert violations_of(body) == []
    users = [message for message in request.messages if message["role"] == "user"]
    assert [data for message in users for data in pictures_of(message)] == [cat.data, dog.data]
    words = [packet["message"] for message in users for packet in packets_of(message) if "time" in packet]
    assert [word for word in words if word in ("One", "Two", "Three")] == ["One", "Two", "Three"]


def test_a_mark_for_the_cache_stands_on_the_words_behind_the_picture(cat: Image) -> None:
    messages = chat_messages(prompt(said("One", cat), said("Two"), said("Three"), images=(cat,)))
    first = marked(messages, 4)[1]["content"]
    assert first[0]["type"] == "image_url" and "cache_control" not in first[0]
    assert first[-1]["cache_control"] == {"type": "ephemeral"} and '"One"' in first[-1]["text"]


@pytest.mark.parametrize("road", ["httpx", "litellm"])
def test_both_roads_deliver_the_very_bytes(server: FakeOpenAI, cat: Image, road: str) -> None:
    server.script, server.blind = echo, ""
    server.requests.clear()
    roads = {
        "httpx": lambda: HttpxRoad("m", server.url, "k"),
        "litellm": lambda: LitellmRoad("openai/m", api_base=server.url, api_key="k"),
    }
    processor = RemoteProcessor("openai/m", roads[road](), api_base=server.url, api_key="k")
    parts = ask(processor, prompt(said("Who is it?", cat), images=(cat,)))
    assert isinstance(parts[-1], Reply) and "Who is it?" in parts[-1].calls[0].arguments
    assert server.requests[-1].pictures == [cat.data] and server.violations == []


def test_anthropic_gets_the_picture_in_its_own_form(cat: Image) -> None:
    with fake_anthropic() as fake:
        road = LitellmRoad("anthropic/claude-x", api_base=fake.url, api_key="k")
        processor = RemoteProcessor("anthropic/claude-x", road, api_base=fake.url, api_key="k")
        ask(processor, prompt(said("Who is it?", cat), *answer(1), said("Sure?"), images=(cat,)))
    blocks = [block for message in fake.bodies[0]["messages"] for block in message["content"]]
    (shown,) = [block["source"] for block in blocks if block["type"] == "image"]
    assert (shown["type"], shown["media_type"]) == ("base64", "image/png")


# --- Endpoints that take none ----------------------------------------------------------------------------------


class Kept:
    """Notes that outlive a processor."""

    def __init__(self) -> None:
        self.card, self.scales = "", dict[str, str]()

    def load_card(self, model: str, endpoint: str) -> str:
        return self.card

    def note_card(self, model: str, endpoint: str, card: str) -> None:
        self.card = card

    def load(self, model: str, endpoint: str) -> dict[str, str]:
        return self.scales

    def note(self, model: str, endpoint: str, tokenizer: str, scale: str) -> None:
        self.scales[tokenizer] = scale


@pytest.mark.parametrize("how", BLIND)
def test_a_refusal_is_told_noted_and_the_message_goes_again_in_words(server: FakeOpenAI, cat: Image, how: str) -> None:
    server.script, server.blind = echo, how
    server.requests.clear()
    kept = Kept()
    processor = RemoteProcessor("openai/m", HttpxRoad("m", server.url), api_base=server.url, notes=kept)
    assert processor.sees is None
    asked = prompt(said("Who is it?", cat), images=(cat,))
    parts = ask(processor, asked)
    (notice,) = [part for part in parts if isinstance(part, Notice)]
    assert "takes no images" in notice.text and "/model" in notice.text
    assert isinstance(parts[-1], Reply) and "Who is it?" in parts[-1].calls[0].arguments
    first, second = server.requests
    assert first.pictures == [cat.data] and second.pictures == []
    assert "[cat.png, 80x60: not in view]" in text_of(second.messages[-1])
    again = RemoteProcessor("openai/m", HttpxRoad("m", server.url), api_base=server.url, notes=kept)
    assert again.sees is False
    measured = again.measure(asked)
    again.learn(replace(measured, images=1_000), TokenUsage(100, 1))
    assert "images" not in kept.scales, "what it counted had no pictures in it"


@pytest.mark.parametrize(
    "words",
    [
        "This model doesn't support the image content block that you provided.",
        "Model does not support images. Please use a model that does.",
        "Image input is not enabled for this model",
        "m is not a multimodal model",
        "At most 0 image(s) may be provided in one prompt.",
        "Failed to deserialize the JSON body: messages[1]: unknown variant `image_url`, expected `text`",
        '[{"loc":["body","messages",1,"content"],"msg":"Input should be a valid string"}]',
        "The server was not compiled for multimodal or the model projector can't be loaded.",
    ],
)
def test_refusals_of_images_are_known_by_their_words(words: str) -> None:
    with pytest.MonkeyPatch.context():
        assert _refuses(words) == "images"


@pytest.mark.parametrize(
    "words",
    [
        "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6 MB > 5 MB",
        "Could not process image",
        "this model does not support tools",
        "prompt is too long: 209000 tokens > 200000 maximum",
    ],
)
def test_what_is_wrong_with_one_image_alone_says_nothing_of_the_model(words: str) -> None:
    assert _refuses(words) != "images"


def _refuses(words: str) -> str:
    from memos.llm.provider_errors import failure_of
    from memos.llm.road import WireError

    return failure_of(WireError(words, 400), "h", "m").refuses or refused_field(words)


# --- What they cost --------------------------------------------------------------------------------------------


def image(width: int, height: int, data: bytes = b"") -> Image:
    return Image(f"{width}x{height}", "image/png", width, height, "x.png", data)


def anthropic(width: int, height: int) -> float:
    return width * height / 750


def openai(width: int, height: int) -> float:
    """Scale to a short side of 768, then 85 tokens and 170 for each tile of 512 (OpenAI's guide to vision)."""
    share = min(1.0, 768 / min(width, height))
    width, height = round(width * share), round(height * share)
    return float(85 + 170 * -(-width // 512) * -(-height // 512))


@pytest.mark.parametrize(
    "size", [(1, 1), (32, 32), (512, 512), (1_024, 768), (1_568, 300), (1_568, 1_176), (1_568, 1_568)]
)
def test_the_estimate_is_the_most_of_the_usual_ways_to_count(size: tuple[int, int]) -> None:
    for way in (anthropic, openai, lambda width, height: 576):
        assert image_tokens(image(*size)) >= way(*size)


def counted(shown: Message, picture_of: Image) -> tuple[int, int]:
    counts = TokenCounts("m")
    counts.load()
    bare = counts.measure(blind(prompt(shown, images=(picture_of,))))
    return counts.measure(prompt(shown, images=(picture_of,))).total - bare.total, image_tokens(picture_of)


def test_a_picture_counts_where_it_stands_and_only_while_it_is_shown(cat: Image) -> None:
    with_picture, estimate = counted(said("Who is it?", cat), cat)
    assert abs(with_picture - estimate) < 10  # the words say that it is not in view
    measured = TokenCounts("m").measure(prompt(said("Who?", cat), *answer(1), said("And?"), images=(cat,)))
    assert measured.queue[0] > estimate > measured.queue[-1] and measured.images == estimate


@pytest.mark.parametrize("true_share", [0.1, 0.5, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("text_share", [0.8, 1.0, 1.3])
def test_what_a_server_counts_for_pictures_is_learned_beside_the_words(true_share: float, text_share: float) -> None:
    kept, big = Kept(), image(1_500, 1_000)
    counts = TokenCounts("m", scales=kept)
    counts.load()
    rows: list[Message] = []
    for number in range(12):
        rows += [said(f"Words and more words of number {number}. " * 12), *answer(number)]
        asked = prompt(*rows, said("Look.", *([big] if number > 3 else [])), images=(big,))
        measured = counts.measure(asked)
        words = counts.measure(blind(asked)).counted
        true = round(text_share * sum(words) + (true_share * image_tokens(big) if number > 3 else 0))
        if number > 6:
            assert true <= measured.at_most * 1.01
            assert measured.at_most <= true * 1.35 + 100
        counts.learn(measured, TokenUsage(true, 1))
    again = TokenCounts("m", scales=kept)
    again.load()
    assert again.measure(asked).total == counts.measure(asked).total
    assert "images" in kept.scales


def test_nonsense_teaches_nothing_about_pictures() -> None:
    scale = ImageScale()
    for counted_tokens in (-5.0, 0.0, 1e9):
        assert not scale.learn(1_000, counted_tokens)
    assert scale.factor == 1.0
    for text in ("", "{", "[null]", '["x"]', "[1e999]", "[-1]", "3"):
        assert ImageScale.from_json(text).factor == 1.0
    assert ImageScale.from_json("[0.5, 2.0]").factor == 2.0


def test_the_estimate_from_bytes_leads_to_the_tokenizer_where_pictures_may_fill_the_window(cat: Image) -> None:
    counts = TokenCounts("m", window_tokens=lambda: 1_000)
    measured = counts.measure(prompt(said("Who?", cat), images=(cat,)))
    assert measured.counted_by == "cl100k_base"

"""Images in a conversation: kept with their message, counted, paged out before words are, found by their name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.fake_openai import FakeOpenAI
from support.listening import Listener, play, running, speak
from support.pictures import noise, picture
from support.strict_server import Counter, StrictServer, by_characters, by_words, paragraph

from memos.errors import BadInput
from memos.kernel.main_context import Paging
from memos.llm.chat_messages import event_packet
from memos.llm.embedded import EmbeddedProcessor
from memos.llm.httpx_road import HttpxRoad
from memos.llm.remote_processor import RemoteProcessor
from memos.llm.scripted import ScriptedProcessor
from memos.messages import Block, Event, EventKind, Evicted, Image, Message, Notice, Prompt, Stopped
from memos.storage.attachments import Attachments, images_payload, words_and_images


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


async def show(listener: Listener, words: str, *paths: Path) -> list[Image]:
    """Say words with images, as the terminal does."""
    images = list(await listener.kernel.attach([str(path) for path in paths]))
    await listener.post(Event(EventKind.USER_MESSAGE, words, images_payload(images)))
    return images


def talk(
    home: AgentHome, scene: Callable[[Listener], Awaitable[None]], window_tokens: int = 16_384, replies: int = 12
) -> ScriptedProcessor:
    processor = ScriptedProcessor([speak(f"I see {n}.") for n in range(replies)], window_tokens=window_tokens)
    play(home.kernel(processor), scene)
    return processor


def shown(prompt: Prompt) -> list[str]:
    """Return the names of the images that a prompt shows."""
    return [prompt.images[hash_].name for row in prompt.queue for hash_ in row.attachments]


def test_an_image_goes_with_its_message_and_is_kept_once(home: AgentHome, tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.png")

    async def scene(listener: Listener) -> None:
        await show(listener, "Who is it?", path)
        await show(listener, "And again?", path)

    processor = talk(home, scene)
    assert [shown(prompt) for prompt in processor.prompts] == [["cat.png"], ["cat.png", "cat.png"]]
    rows = home.recall.queue(0)
    assert len({hash_ for row in rows for hash_ in row.attachments}) == 1
    assert home.database.query("SELECT count(*) FROM attachments")[0][0] == 1


def test_the_newest_three_messages_with_images_show_them_and_older_ones_tell(home: AgentHome, tmp_path: Path) -> None:
    names = {"a": "red", "b": "green", "c": "blue", "d": "white", "e": "black"}

    async def scene(listener: Listener) -> None:
        for name, colour in names.items():
            await show(listener, f"This is {name}.", picture(tmp_path / f"{name}.png", colour=colour))
            await listener.say("And so on.")

    processor = talk(home, scene)
    assert shown(processor.prompts[-1]) == ["c.png", "d.png", "e.png"]
    packets = [json.loads(event_packet(row)) for row in processor.prompts[-1].queue if row.payload.get("images")]
    assert packets[0]["images"] == ["[a.png, 40x30: not in view]"] and packets[4]["images"] == ["e.png, 40x30"]
    reopened = talk(agent_home(tmp_path), lambda listener: listener.say("Hello again."))  # type: ignore[arg-type]
    assert shown(reopened.prompts[0]) == ["c.png", "d.png", "e.png"]
    kept = [row for row in home.database.query("SELECT attachments FROM messages") if row["attachments"] != "[]"]
    assert len(kept) == 5, "the rows themselves keep what they showed"


def test_a_message_is_found_and_named_by_its_image_once_it_has_left(home: AgentHome, tmp_path: Path) -> None:
    async def scene(listener: Listener) -> None:
        await show(listener, "Our new kitten.", picture(tmp_path / "Minka on sofa.png", 800, 600))

    talk(home, scene)
    home.begin_turn()
    found = home.recall.conversation_search("Minka sofa")
    assert "Our new kitten. [image Minka on sofa.png, 800x600]" in found
    assert "kitten" in home.recall.conversation_search("kitten")


def test_a_flush_leaves_the_images_name_in_the_summary(home: AgentHome, tmp_path: Path) -> None:
    async def scene(listener: Listener) -> None:
        await show(listener, "Our kitten.", picture(tmp_path / "minka.png"))
        while not listener.of(Evicted):
            await listener.say("And then we talked of other things. " * 30)

    processor = talk(home, scene, window_tokens=4_096, replies=60)
    assert "minka.png" in processor.prompts[-1].summary
    assert shown(processor.prompts[-1]) == [] and not processor.prompts[-1].images


def test_where_a_picture_has_no_room_its_name_takes_its_place_and_the_words_stay(
    home: AgentHome, tmp_path: Path
) -> None:
    notices: list[Notice] = []

    async def scene(listener: Listener) -> None:
        await show(listener, "What is written here?", noise(tmp_path / "page.jpg", 1_560, 1_560))
        notices.extend(listener.of(Notice))
        assert not listener.of(Stopped)

    processor = talk(home, scene, window_tokens=2_048)
    assert shown(processor.prompts[-1]) == []
    assert processor.prompts[-1].queue[-1].content == "What is written here?"
    assert [notice.text for notice in notices] == [
        "There is no room for a picture in the model's window: it gets its name and size (page.jpg, 1560x1560)."
    ]


def test_undo_takes_the_image_back_and_retry_shows_it_again(home: AgentHome, tmp_path: Path) -> None:
    processor = ScriptedProcessor([speak(f"I see {n}.") for n in range(5)])
    kernel = home.kernel(processor)

    async def scene(listener: Listener) -> None:
        operator = home.operator(kernel)
        (image,) = await show(listener, "Who is it?", picture(tmp_path / "cat.png"))
        turns = len(processor.prompts)
        taken = await operator.retry()
        await listener.until(lambda: len(processor.prompts) > turns and not kernel.busy)
        assert taken.words == "Who is it?"
        assert shown(processor.prompts[-1]) == ["cat.png"]
        assert (await operator.undo()).images == images_payload([image])
        await listener.say("Hello.")
        assert shown(processor.prompts[-1]) == []
        await show(listener, "Again?", tmp_path / "cat.png")
        await operator.pop(3)
        await listener.say("Hello.")
        assert shown(processor.prompts[-1]) == []
        assert Attachments(home.database).load([image.hash])

    play(kernel, scene)


def test_a_message_that_waits_for_its_turn_keeps_its_image_over_a_restart(home: AgentHome, tmp_path: Path) -> None:
    image = picture(tmp_path / "cat.png")
    kernel = home.kernel(ScriptedProcessor([]))

    async def leave_it() -> None:
        images = await kernel.attach([str(image)])
        await kernel.machine.queue_manager.defer(Event(EventKind.USER_MESSAGE, "Who?", images_payload(images)))

    asyncio.run(leave_it())
    processor = ScriptedProcessor([speak("I see.")])

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: bool(processor.prompts))

    play(agent_home(tmp_path).kernel(processor), scene)
    assert shown(processor.prompts[0]) == ["cat.png"]


def test_an_image_whose_bytes_are_gone_is_named(home: AgentHome, tmp_path: Path) -> None:
    async def scene(listener: Listener) -> None:
        await show(listener, "Who is it?", picture(tmp_path / "cat.png"))

    talk(home, scene)
    with home.database.transaction() as connection:
        connection.execute("DELETE FROM attachments")
    processor = talk(agent_home(tmp_path), lambda listener: listener.say("And now?"))  # type: ignore[arg-type]
    (row,) = [row for row in processor.prompts[0].queue if row.payload.get("images")]
    assert row.attachments == () and "cat.png" in words_and_images(row)


class Blind(ScriptedProcessor):
    """Sees nothing, and says so."""

    @property
    def sees(self) -> bool | None:
        return False


def test_a_model_that_sees_nothing_is_told_of_before_anything_is_sent(home: AgentHome, tmp_path: Path) -> None:
    clerk = EmbeddedProcessor("builtin/tiny", lambda report: Path(), lambda texts: None)  # type: ignore[arg-type, return-value]
    for processor in (Blind([]), clerk):
        kernel = home.kernel(processor)
        with pytest.raises(BadInput, match="sees no images") as caught:
            asyncio.run(kernel.attach([str(picture(tmp_path / "cat.png"))]))
        assert "/model" in caught.value.next_step
    assert home.database.query("SELECT count(*) FROM attachments")[0][0] == 0


def test_a_blind_model_that_takes_over_gets_names_and_the_next_one_the_pictures(
    home: AgentHome, tmp_path: Path
) -> None:
    async def scene(listener: Listener) -> None:
        await show(listener, "Who is it?", picture(tmp_path / "cat.png"))

    talk(home, scene)
    blind = Blind([speak("A name.")])
    play(agent_home(tmp_path).kernel(blind), lambda listener: listener.say("And now?"))
    assert shown(blind.prompts[0]) == [] and blind.prompts[0].queue[0].payload["images"]
    seeing = talk(agent_home(tmp_path), lambda listener: listener.say("And now?"))  # type: ignore[arg-type]
    assert shown(seeing.prompts[0]) == ["cat.png"]


# --- A server that counts --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.mark.parametrize("counter", [by_words, by_characters])
@pytest.mark.parametrize("window", [8_192, 4_096])
def test_a_strict_server_never_has_to_refuse_a_prompt_with_pictures(
    tmp_path: Path, server: FakeOpenAI, window: int, counter: Counter
) -> None:
    home = agent_home(tmp_path, (Block("persona", "I am Sam.", 2000), Block("human", "Ana keeps bees.", 2000)))
    server.script = script = StrictServer(window, counter)
    server.requests.clear()
    pictures = [noise(tmp_path / f"p{n}.jpg", 400 + 180 * n, 500 + 40 * n, n, quality=40) for n in range(6)]

    async def scene() -> Listener:
        road = HttpxRoad("fake-model", server.url)
        processor = RemoteProcessor("openai/m", road, api_base=server.url, window_tokens=window)
        await processor.warm_up()
        try:
            async with running(home.kernel(processor, paging=Paging())) as listener:
                for script.number in range(1, 31):
                    words = paragraph("m", script.number, 90)
                    paths = [pictures[script.number % 6]] if script.number % 2 else []
                    await show(listener, words, *paths)
                return listener
        finally:
            await processor.aclose()

    listener = asyncio.run(scene())
    assert (script.refused, listener.of(Stopped), server.violations) == ([], [], [])
    seen = [len(request.pictures) for request in server.requests]
    print(f"\n{window} {counter.__name__}: {len(seen)} requests, largest {script.largest}, pictures {max(seen)}")
    assert max(seen) >= (2 if window > 4_096 else 1) and len(listener.of(Evicted)) >= 2
    home.database.close()


def test_a_row_of_an_older_memos_keeps_its_images_when_it_was_shortened() -> None:
    from memos.memory.message_rows import overridden

    row = Message("user", "Long words.", "a", "t", attachments=("ab",))
    assert overridden(row, '{"content": "Long", "arguments": []}').attachments == ("ab",)

"""The models of one agent in a real session: who takes over, /model and /params, and what they leave behind."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.able_model import able
from support.fake_openai import Answer, FakeOpenAI, Request, say
from support.listening import Listener
from support.pictures import picture

from memos.cli import agent_models
from memos.cli.agent_choice import Machinery, Wish, create_agent
from memos.cli.boot import open_session
from memos.cli.probing import Probing
from memos.config import Places, write_config
from memos.llm.catalogue import LocalServerKind
from memos.messages import Notice, Said, Stopped
from memos.storage.database import Database
from memos.storage.usage_ledger import UsageLedger
from memos.terminal.commands import CommandContext, run_command
from memos.terminal.consoles import make_console
from memos.terminal.marks import DRAWN
from memos.terminal.session import Session

NOBODY = "http://127.0.0.1:9/v1"


class Desk:
    """A session that is open, with what was typed at its console answered as text."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self.session = session
        self.listener = listener

    async def command(self, line: str) -> str:
        """Run a slash command and return what it prints, once all is quiet."""
        paper = io.StringIO()
        console = make_console(paper, colours=False, width_cells=300)
        context = CommandContext(self.session, console, DRAWN, lambda code: None, self.session.kernel.post)
        await run_command(context, line)
        await self.session.kernel.idle()
        await asyncio.sleep(0)
        return paper.getvalue()

    def said(self) -> list[str]:
        return [body.text for body in self.listener.of(Said)]

    def stops(self) -> list[str]:
        return [body.reason for body in self.listener.of(Stopped)]


Scene = Callable[[Desk], Awaitable[None]]


class Home:
    """A home with one agent; each `play` opens a session with it."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.places = Places.find({"MEMOS_HOME": str(folder / "home"), "MEMOS_CACHE": str(folder / "cache")})
        self.database = Database.open(self.places.database)
        self.environ = dict(environ)

    @property
    def machinery(self) -> Machinery:
        return Machinery(self.places, self.environ, self.database)

    def play(self, scene: Scene, **flags: object) -> None:
        async def run() -> None:
            async with self._opened({name.replace("__", "."): value for name, value in flags.items()}) as desk:
                async with asyncio.timeout(60):
                    await scene(desk)

        asyncio.run(run())

    @asynccontextmanager
    async def _opened(self, flags: Mapping[str, object]) -> AsyncIterator[Desk]:
        machinery = self.machinery
        wish = Wish("sam", flags={"memory.embedding": "none", "terminal.greet": False, **flags})
        agent = machinery.agents.find("sam") or create_agent(machinery, wish, machinery.settings(wish.flags))
        async with open_session(machinery, agent, machinery.settings(wish.flags, agent), wish, stays=False) as session:
            yield Desk(session, Listener(session.kernel))

    def kept(self) -> Mapping[str, object]:
        """Return the settings stored with the agent."""
        return self.machinery.agents.get("sam").settings


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, {})
    yield home
    home.database.close()


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(script=by_name) as server:
        yield server
        assert server.violations == []


def by_name(request: Request) -> Answer:
    """Answer as the model's name says: `fault-401` fails so, another one names itself."""
    name = str(request.body["model"])
    return Answer(fault=name.removeprefix("fault-")) if name.startswith("fault-") else say(f"I am {name}.")


def scripted(folder: Path, *messages: str, name: str = "script") -> str:
    replies = [{"calls": [{"name": "send_message", "arguments": {"message": message}}]} for message in messages]
    (folder / f"{name}.json").write_text(json.dumps(replies), encoding="utf-8")
    return f"scripted:{folder / name}.json"


# --- fallbacks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["401", "404", "400", "stall_headers"])
def test_the_next_model_answers_over_the_wire_and_the_ledger_names_it(
    home: Home, server: FakeOpenAI, fault: str
) -> None:
    async def scene(desk: Desk) -> None:
        await desk.listener.say("Hello.")
        assert desk.said() == ["I am spare."] and desk.stops() == []
        (notice,) = desk.listener.of(Notice)
        assert notice.text.startswith(f"openai/fault-{fault} did not answer: ")
        assert notice.text.endswith("; openai/spare takes over.")
        shown = await desk.command("/model")
        assert shown.startswith("openai/spare answers. ") and f"\nopenai/fault-{fault} did not, and is left" in shown
        assert "1 call;" in await desk.command("/usage")
        assert f"Where openai/fault-{fault} does not answer: openai/spare." in desk.session.header

    home.play(
        scene,
        model=f"openai/fault-{fault}",
        api_base=server.url,
        fallback_models=("openai/spare",),
        timeouts__first_byte_local_s=0.3,
    )
    assert [total.model for total in UsageLedger(home.database).totals()] == ["openai/spare"]


def test_a_fallback_of_another_provider_takes_no_foreign_address_key_or_format_along(
    home: Home, server: FakeOpenAI, tmp_path: Path
) -> None:
    async def scene(desk: Desk) -> None:
        await desk.listener.say("Hello.")
        assert desk.said() == ["From the script."]
        assert "anthropic/x needs a key" not in str(desk.stops())

    spare = scripted(tmp_path, "From the script.")
    home.play(
        scene,
        model="openai/fault-403",
        api_base=server.url,
        call_format="native",
        fallback_models=("anthropic/x", spare),
    )
    assert len(server.requests) == 1


def test_after_the_last_the_first_error_is_told_and_retry_sends_the_message(home: Home, server: FakeOpenAI) -> None:
    async def scene(desk: Desk) -> None:
        await desk.listener.say("Hello.")
        (stop,) = desk.stops()
        assert "refused the key" in stop and "Tried after it: openai/fault-404 (" in stop and "anthropic/x (" in stop
        await desk.command("/model openai/well")
        await desk.command("/retry")
        assert desk.said() == ["I am well."]

    home.play(scene, model="openai/fault-401", api_base=server.url, fallback_models=("openai/fault-404", "anthropic/x"))


# --- a failed request -----------------------------------------------------------------------------------------

FAILURES = (
    *("401", "403", "404", "400", "400_overflow", "400_filter", "429", "500", "502_html", "503"),
    *("stall_first", "stall_headers", "non_json", "empty_choices", "cut_text", "reset"),
)


@pytest.mark.parametrize("way", ["/retry", "/continue"])
@pytest.mark.parametrize("fault", FAILURES)
def test_a_message_whose_request_failed_is_kept_and_answered_on_demand(home: Home, fault: str, way: str) -> None:
    """Whatever class of error it was; a reply that broke off is kept, and marked, until it is asked for anew."""
    is_well = False

    def script(request: Request) -> Answer:
        return say("Here.") if is_well else Answer(text="A few words.", fault=fault, retry_after="100")

    async def scene(desk: Desk) -> None:
        nonlocal is_well
        await desk.listener.say("My name is Ana.")
        assert len(desk.stops()) == 1 and "Next: " in desk.stops()[0] and "Traceback" not in desk.stops()[0]
        is_well = True
        await desk.command(way)
        await desk.listener.until(lambda: "Here." in desk.said())

    with FakeOpenAI(script=script) as server:
        patience = {"timeouts.first_byte_local_s": 0.3, "timeouts.gap_s": 0.3}
        home.play(scene, model="openai/x", api_base=server.url, **patience)
        assert server.violations == []
    words = "SELECT count(*) AS n FROM messages WHERE content = 'My name is Ana.' AND superseded_by IS NULL"
    assert home.database.query(words)[0]["n"] == 1


def test_a_server_that_is_not_there_is_told_and_the_message_is_sent_once_it_is(home: Home, server: FakeOpenAI) -> None:
    async def scene(desk: Desk) -> None:
        await desk.listener.say("My name is Ana.")
        assert "refused the connection" in desk.stops()[0]
        await desk.command(f"/model openai/well --api-base {server.url}")
        await desk.command("/retry")
        assert desk.said() == ["I am well."]

    home.play(scene, model="openai/x", api_base=NOBODY)


# --- /params --------------------------------------------------------------------------------------------------


def test_parameters_go_with_the_next_request_and_stay_with_the_agent(home: Home, server: FakeOpenAI) -> None:
    async def first(desk: Desk) -> None:
        assert "temperature          not set" not in await desk.command("/params temperature=0.3 seed=7")
        await desk.listener.say("Hello.")
        await desk.command("/params seed= reasoning_effort=low")
        await desk.listener.say("Again.")

    async def second(desk: Desk) -> None:
        shown = await desk.command("/params")
        assert "temperature" in shown and "0.3 (agent)" in shown and "limits.steps" in shown and "30 (default)" in shown
        await desk.listener.say("And now?")

    home.play(first, model="openai/x", api_base=server.url)
    home.play(second)
    sampling = [
        {name: request.body[name] for name in ("temperature", "seed", "reasoning_effort") if name in request.body}
        for request in server.requests
    ]
    low = {"temperature": 0.3, "reasoning_effort": "low"}
    assert sampling == [{"temperature": 0.3, "seed": 7}, low, low]


def test_unset_is_what_the_file_says_again(home: Home, server: FakeOpenAI) -> None:
    write_config(home.places.config_file, {"temperature": 0.9, "limits.steps": 9})

    async def scene(desk: Desk) -> None:
        assert "0.3 (agent)" in await desk.command("/params temperature=0.3 limits.steps=2")
        assert "2 steps" not in await desk.command("/params")
        assert desk.session.kernel.machine.limits.steps == 2
        assert "0.9 (config.toml)" in await desk.command("/params temperature=")
        await desk.command("/params limits.steps=")
        assert desk.session.kernel.machine.limits.steps == 9

    home.play(scene, model="openai/x", api_base=server.url, temperature=0.5)
    assert not {"temperature", "limits.steps"} & home.kept().keys()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/params temprature=1", '/params knows no "temprature". Next: temperature may be meant'),
        ("/params model=x", '/params knows no "model". Next: '),
        ("/params temperature=warm", "temperature must be a number, not 'warm' (/params). Next: for example: /params"),
        ("/params top_p=7", "top_p must be 1 or less (/params). Next: for example: /params top_p=0.9"),
        (
            "/params temperature",
            "temperature needs a value. Next: /params temperature=0.7, or temperature= to unset it",
        ),
        ("/params limits.steps=0", "limits.steps must be 1 or more"),
        ("/params seed=1", "seed is 5 by environment MEMOS_SEED, which no agent overrides. Next: unset that variable"),
        ("/params temperature=0.1 seed=lucky", "seed must be a whole number"),
    ],
)
def test_nonsense_is_one_sentence_and_changes_nothing(home: Home, server: FakeOpenAI, line: str, words: str) -> None:
    home.environ["MEMOS_SEED"] = "5"
    before: list[object] = []

    async def scene(desk: Desk) -> None:
        before.append(home.kept())
        printed = await desk.command(line)
        assert words in printed and printed.count("\n") == 1

    home.play(scene, model="openai/x", api_base=server.url)
    assert home.kept() == before[0]


def test_a_model_inside_memos_takes_bounds_on_a_turn_alone(home: Home, tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        assert "runs inside memos, where temperature means nothing. Next: " in await desk.command(
            "/params temperature=1"
        )
        assert "limits.steps  5 (agent)" in (await desk.command("/params limits.steps=5")).replace(" (a", " (a")

    home.play(scene, model=scripted(tmp_path, "Hi."))
    assert home.kept()["limits.steps"] == 5


# --- /model ---------------------------------------------------------------------------------------------------


def test_a_model_of_the_same_provider_keeps_the_address_and_the_agent_keeps_the_model(
    home: Home, server: FakeOpenAI
) -> None:
    async def first(desk: Desk) -> None:
        shown = await desk.command("/model openai/other")
        assert shown.startswith(f"sam goes on with openai/other at {server.url}; its memory is the same.\n")
        assert "window is unknown; memos reckons with 8,192 tokens." in shown
        await desk.listener.say("Hello.")

    async def second(desk: Desk) -> None:
        await desk.listener.say("Hello.")
        assert desk.said() == ["I am other."]

    home.play(first, model="openai/x", api_base=server.url)
    home.play(second)
    assert {request.body["model"] for request in server.requests} == {"other"}


def test_a_model_of_another_provider_takes_neither_address_nor_key_nor_window_along(
    home: Home, server: FakeOpenAI, tmp_path: Path
) -> None:
    home.environ["GATEWAY_KEY"] = "sk-gateway-canary"
    spare = scripted(tmp_path, "From the script.")

    async def scene(desk: Desk) -> None:
        shown = await desk.command(f"/model {spare}")
        assert shown.splitlines()[0].endswith("its memory is the same.") and "Its window is 8,192 tokens." in shown
        settings = desk.session.models.settings.config  # type: ignore[attr-defined]
        assert (settings.api_base, settings.api_key_env, settings.window_tokens) == ("", "", 0)

    home.play(scene, model="openai/x", api_base=server.url, api_key_env="GATEWAY_KEY", window_tokens=20_000)
    assert (home.kept()["model"], home.kept()["api_base"]) == (spare, "")
    assert "api_key_env" not in home.kept()


def test_back_at_the_model_of_the_file_its_address_and_window_hold_again(
    home: Home, server: FakeOpenAI, tmp_path: Path
) -> None:
    write_config(
        home.places.config_file, {"model": "openai/x", "api_base": server.url, "window_tokens": 20_000, "seed": 3}
    )

    async def scene(desk: Desk) -> None:
        await desk.command(f"/model {scripted(tmp_path, 'Hi.')}")
        shown = await desk.command("/model openai/x")
        assert f"openai/x at {server.url};" in shown and "Its window is 20,000 tokens." in shown
        await desk.listener.say("Hello.")
        assert desk.said() == ["I am x."]

    home.play(scene)


def test_an_address_that_is_named_wins_and_may_be_the_providers_own(home: Home, server: FakeOpenAI) -> None:
    async def scene(desk: Desk) -> None:
        assert f"at {server.url};" in await desk.command(f"/model openai/x --api-base {server.url}")
        assert "OPENAI_API_KEY is not set" in await desk.command('/model openai/x --api-base ""')
        assert "must be an address" in await desk.command("/model openai/x --api-base localhost")
        await desk.listener.say("Hello.")
        assert desk.said() == ["I am x."]

    home.play(scene, model="openai/x", api_base=NOBODY)
    assert home.kept()["api_base"] == server.url


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("anthropic/x", "ANTHROPIC_API_KEY is not set"),
        ("gguf:/nowhere.gguf", "/nowhere.gguf"),
        ("builtin/huge", "There is no built-in model builtin/huge."),
        ("builtin/small", "1,117 MB from"),  # a gigabyte is not fetched in the middle of a conversation
        ("scripted:/nowhere.json", "cannot be read"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_and_the_old_one_goes_on(
    home: Home, server: FakeOpenAI, name: str, words: str
) -> None:
    async def scene(desk: Desk) -> None:
        printed = await desk.command(f"/model {name}")
        assert words in printed and "Next: " in printed and printed.count("\n") == 1
        await desk.listener.say("Hello.")
        assert desk.said() == ["I am x."]

    home.play(scene, model="openai/x", api_base=server.url)
    assert home.kept()["model"] == "openai/x"


def test_a_smaller_window_is_told_before_and_flushed_at_the_next_step(home: Home, tmp_path: Path) -> None:
    small = scripted(tmp_path, "Small.", "Small.", name="small")
    write_config(home.places.config_file, {"model": small, "window_tokens": 3_000})

    async def scene(desk: Desk) -> None:
        for number in range(8):
            await desk.listener.say(f"Line {number}. " + "word " * 150)
        count = len(desk.session.kernel.machine.queue_manager.queue)
        shown = await desk.command(f"/model {small}")
        assert "Its window is 3,000 tokens: the older part of the queue is flushed at the next step." in shown
        assert len(desk.session.kernel.machine.queue_manager.queue) == count
        await desk.listener.say("And now?")
        assert "Small." in desk.said() and len(desk.session.kernel.machine.queue_manager.queue) < count

    home.play(scene, model=scripted(tmp_path, *["Noted."] * 20), window_tokens=30_000)


def test_a_window_that_nothing_would_fit_is_refused(home: Home, tmp_path: Path) -> None:
    tiny = scripted(tmp_path, "Never.", name="tiny")
    write_config(home.places.config_file, {"model": tiny, "window_tokens": 300})

    async def scene(desk: Desk) -> None:
        assert "core memory alone take" in await desk.command(f"/model {tiny}")
        await desk.listener.say("Hello.")
        assert desk.said() == ["Noted."]

    home.play(scene, model=scripted(tmp_path, "Noted."), window_tokens=30_000)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_server_on_this_computer_is_asked_where_it_usually_is(
    home: Home, server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0]) if is_there else 9
    monkeypatch.setattr(agent_models, "LOCAL_SERVERS", (LocalServerKind("LM Studio", port, "lm_studio"),))

    async def scene(desk: Desk) -> None:
        shown = await desk.command("/model lm_studio/qwen")
        if is_there:
            assert f"lm_studio/qwen at http://127.0.0.1:{port}/v1;" in shown
            assert "LM Studio does not list qwen; it has fake-model." in shown
            await desk.listener.say("Hello.")
            assert desk.said() == ["I am qwen."]
        else:
            assert "Nothing answers at 127.0.0.1:9, where LM Studio usually is. Next: start it, or name" in shown

    home.play(scene, model=scripted(tmp_path, "Hi."))


def test_a_switch_while_the_agent_speaks_lets_it_finish_and_holds_from_then_on(home: Home, server: FakeOpenAI) -> None:
    server.script = lambda request: say(f"I am {request.body['model']}. " * 20, delay_s=0.02)

    async def scene(desk: Desk) -> None:
        speaking = asyncio.create_task(desk.listener.say("Hello."))
        await desk.listener.until(lambda: len(desk.listener.bodies) > 5)
        assert "goes on with openai/other" in await desk.command("/model openai/other")
        await speaking
        await desk.listener.say("And now?")
        assert [text[:13].strip() for text in desk.said()] == ["I am x. I am", "I am other. I"]
        assert desk.stops() == []

    home.play(scene, model="openai/x", api_base=server.url)


def test_variables_that_will_stand_above_the_switch_are_named(home: Home, server: FakeOpenAI) -> None:
    home.environ["MEMOS_API_BASE"] = server.url

    async def scene(desk: Desk) -> None:
        shown = await desk.command("/model openai/other")
        assert "MEMOS_API_BASE in the environment will stand above this at the next start." in shown

    home.play(scene, model="openai/x")


@pytest.mark.builtin_model
def test_from_a_server_to_the_model_inside_memos_and_back_the_history_stays_valid(
    home: Home, server: FakeOpenAI, builtin_cache: Path
) -> None:
    home.places = Places.find({"MEMOS_HOME": str(home.places.database.parents[1]), "MEMOS_CACHE": str(builtin_cache)})

    async def scene(desk: Desk) -> None:
        await desk.listener.say("My name is Ana.")
        shown = await desk.command("/model builtin/tiny")
        assert "It reads only the newest messages" in shown and "It writes no summaries" in shown
        await desk.listener.say("I keep bees.")
        await desk.command(f"/model openai/x --api-base {server.url}")
        await desk.listener.say("What do I keep?")
        assert desk.said()[0] == desk.said()[-1] == "I am x." and len(desk.said()) >= 3 and desk.stops() == []

    home.play(scene, model="openai/x", api_base=server.url)
    assert any("bees" in str(message) for message in server.requests[-1].messages)
    assert any(message.get("tool_calls") for message in server.requests[-1].messages)


# --- what `/model` shows --------------------------------------------------------------------------------------


def test_model_shows_the_format_in_use_and_what_real_turns_or_a_probe_have_shown(
    home: Home, server: FakeOpenAI
) -> None:
    async def talk(desk: Desk) -> None:
        before = await desk.command("/model")
        assert "in the call format native. Nothing was seen of it yet" in before
        await desk.listener.say("Hello.")
        shown = (await desk.command("/model")).splitlines()
        assert shown[0].startswith(f"openai/able answers at {server.url}. Its window is")
        assert shown[1].startswith("Its functions are offered in the call format native. Seen of it, from real turns,")
        assert "calls, native: obeyed" in shown and "images: ?" in shown

    async def look(desk: Desk) -> None:
        shown = await desk.command("/model")
        assert "Seen of it, from a probe, last changed " in shown and "several calls in a reply: yes" in shown

    flags = {"model": "openai/able", "api_base": server.url}
    home.play(talk, **flags)
    server.script = able
    settings = home.machinery.settings(flags)
    probing = Probing.of(settings, home.places, {})
    probing.run(lambda done, count, name: None)
    home.play(look, **flags)
    server.violations.clear()  # the picture: this server takes text alone


# --- images ---------------------------------------------------------------------------------------------------


def test_a_switch_to_a_model_that_sees_nothing_says_what_becomes_of_the_images(
    home: Home, server: FakeOpenAI, tmp_path: Path
) -> None:
    path = picture(tmp_path / "cat.png")

    async def scene(desk: Desk) -> None:
        server.blind = "ollama"
        assert "image cat.png: 40x30 PNG" in await desk.command(f"/image {path} who?")
        (notice,) = [notice.text for notice in desk.listener.of(Notice) if "images" in notice.text]
        assert notice.startswith("openai/one takes no images")
        assert "openai/one sees no images; nothing was sent." in await desk.command(f"/image {path} who?")
        server.blind = ""
        assert "sees no images" not in await desk.command("/model openai/two")
        await desk.listener.say("And now?")
        assert len(server.requests[-1].pictures) == 1
        assert "It sees no images: it gets the names and sizes of yours." in await desk.command("/model openai/one")
        await desk.listener.say("And now?")
        assert server.requests[-1].pictures == []

    home.play(scene, model="openai/one", api_base=server.url, window_tokens=32_000)

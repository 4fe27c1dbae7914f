"""`memos configure` without questions: settings are written, shown with their origin, and tried."""

import asyncio
import json
from pathlib import Path

import pytest
from support.able_model import able
from support.command_line import memos
from support.fake_openai import FakeOpenAI
from support.listening import Listener

from memos.cli.agent_choice import Machinery, Wish, create_agent
from memos.cli.boot import open_session
from memos.cli.configure import absolute_model, configure
from memos.config import Places, read_config, write_config
from memos.errors import BadInput, MemosError
from memos.llm.capability_card import card_of
from memos.messages import Evicted, Stopped
from memos.storage.database import Database
from memos.storage.model_notes import ModelNotes


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return Places.find({"MEMOS_HOME": str(tmp_path / "home")})


def script(tmp_path: Path, *replies: dict[str, object]) -> str:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(list(replies)))
    return f"scripted:{path}"


GREETING = {"calls": [{"name": "send_message", "arguments": {"message": "Hello."}}]}


def set_to(*assignments: str, test: bool = True) -> int:
    return configure(list(assignments), non_interactive=True, show=False, test=test)


def test_a_setting_is_written(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_to("limits.steps=9", "terminal.greet=no") == 0
    assert read_config(places.config_file).given == {"limits.steps": 9, "terminal.greet": False}
    assert str(places.config_file) in capsys.readouterr().err


def test_one_wrong_assignment_leaves_all_unwritten(places: Places) -> None:
    with pytest.raises(BadInput):
        set_to("limits.steps=9", "nonsense=1")
    assert not places.config_file.exists()


def test_a_model_is_tried_with_a_call_before_it_is_kept(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = script(tmp_path, GREETING)
    assert set_to(f"model={model}") == 0
    assert read_config(places.config_file).given == {"model": model}
    assert "calls functions" in capsys.readouterr().err


def test_a_model_that_fails_its_trial_is_not_kept(places: Places, tmp_path: Path) -> None:
    write_config(places.config_file, {"model": "a/b"})
    model = script(tmp_path, {"error": "refused"})
    with pytest.raises(MemosError):
        set_to(f"model={model}")
    assert read_config(places.config_file).given == {"model": "a/b"}
    assert set_to(f"model={model}", test=False) == 0
    assert read_config(places.config_file).given == {"model": model}


def test_without_questions_a_probe_is_made_by_its_flag_alone(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeOpenAI(able) as server:
        assignments = ["model=openai/fake-model", f"api_base={server.url}"]
        assert configure(assignments, non_interactive=True, show=False, test=False) == 0
        assert server.requests == []
        assert configure(assignments, non_interactive=True, show=False, test=False, probe=True) == 0
        assert len(server.requests) == 5
    told = capsys.readouterr().err
    assert "5 small calls, about" in told and "calls, native: obeyed" in told
    database = Database.open(places.database)
    assert card_of(ModelNotes(database), "openai/fake-model", server.url).probed
    database.close()


def test_a_setting_without_a_model_needs_no_trial(places: Places) -> None:
    assert set_to("persona=sam") == 0


def test_the_settings_of_paging_reach_the_kernel(places: Places, tmp_path: Path) -> None:
    summary = {"text": "Facts:\n- Ana keeps bees.\nOpen threads:\n- None.", "purpose": "summarise"}
    (tmp_path / "writer").mkdir()
    assert set_to(f"model={script(tmp_path, *[GREETING] * 60)}", "window_tokens=4096", test=False) == 0
    writer = script(tmp_path / "writer", *[summary] * 9)
    percents = ("paging.warn_percent=30", "paging.flush_percent=60", "paging.evict_percent=95")
    assert set_to(*percents, f"paging.summariser={writer}") == 0
    database = Database.open(places.database)
    machinery = Machinery(places, {"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_MEMORY_EMBEDDING": "none"}, database)

    async def talk() -> None:
        agent = create_agent(machinery, Wish(new=True), machinery.settings({}))
        async with open_session(machinery, agent, machinery.settings({}, agent), Wish(), stays=False) as session:
            listener = Listener(session.kernel)
            left = []
            for number in range(12):
                flushes = len(listener.of(Evicted))
                await listener.say(f"Fact {number}: " + "word " * 150)
                context = session.kernel.machine.main_context
                assert context.gauge is not None and context.gauge.fill <= 0.6
                if len(listener.of(Evicted)) > flushes:
                    left.append(len(context.gauge.tokens.queue))
            assert left and max(left) <= 6, "nearly all of the queue has left at a flush"
            assert not listener.of(Stopped)

    asyncio.run(talk())
    assert database.query("SELECT count(*) AS n FROM messages WHERE kind = 'memory_pressure'")[0]["n"] >= 2
    authors = {row["author"] for row in database.query("SELECT author FROM summaries")}
    assert authors == {"memos", writer}
    database.close()


def test_a_path_in_a_model_string_holds_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_model("gguf:m.gguf") == f"gguf:{tmp_path / 'm.gguf'}"
    assert absolute_model("scripted:/x.json") == "scripted:/x.json"
    assert absolute_model("ollama_chat/llama:8b") == "ollama_chat/llama:8b"


def test_show_names_each_value_with_its_origin_and_masks_keys(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_config(Places.find({"MEMOS_HOME": str(home)}).config_file, {"model": "openai/x", "limits.steps": 9})
    key = "sk-0123456789abcdefghij"
    done = memos(home, "configure", "--show", environ={"MEMOS_PERSONA": "sam", "OPENAI_API_KEY": key})
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert done.returncode == 0
    assert rows["model"].endswith("config.toml") and "openai/x" in rows["model"]
    assert rows["persona"].endswith("environment MEMOS_PERSONA")
    assert rows["limits.identical_calls"].endswith("default")
    assert "environment OPENAI_API_KEY" in rows["key"]
    assert key not in done.stdout and "0123456789" not in done.stdout
    assert str(home) in rows["settings"]


def test_show_hides_a_password_in_an_address(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(places.config_file, {"model": "openai/x", "api_base": "http://me:secret@box:1/v1"})
    configure([], non_interactive=False, show=True, test=True)
    out = capsys.readouterr().out
    assert "secret" not in out and "@box:1/v1" in out


def test_show_warns_of_names_that_mean_nothing(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text("modle = 'x'\n")
    configure([], non_interactive=False, show=True, test=True)
    assert '"model" may be meant' in capsys.readouterr().err

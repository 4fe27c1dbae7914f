"""`memos run`: whom it opens, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.command_line import ROOT, clean_environ, memos
from support.fake_anthropic import fake_anthropic
from support.fake_openai import Answer, FakeOpenAI, say
from support.pictures import picture

from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agents
from memos.storage.database import Database

ONE_SHOT = {"MEMOS_MEMORY_EMBEDDING": "none"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def script(folder: Path, *replies: object) -> str:
    path = folder / "script.json"
    path.write_text(json.dumps(list(replies)), encoding="utf-8")
    return f"scripted:{path}"


def speaking(text: str, **more: object) -> dict[str, object]:
    return {"calls": [{"name": "send_message", "arguments": {"message": text}}], **more}


def filing(text: str) -> dict[str, object]:
    arguments = {"name": "human", "content": text, "request_heartbeat": "true"}
    return {"calls": [{"name": "core_memory_append", "arguments": arguments}]}


def test_the_reply_alone_is_on_stdout(home: Path, tmp_path: Path) -> None:
    model = script(tmp_path, filing("Name: Ana"), speaking("Hello [Ana] \x1b[2J."))
    done = memos(home, "run", "-p", "I am Ana.", "-m", model, environ=ONE_SHOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello [Ana] \x1b[2J.\n", "")
    shown = json.loads(memos(home, "show", "sam", "--json").stdout)
    assert {block["label"]: block["value"] for block in shown["blocks"]}["human"] == "Name: Ana"


def test_a_provider_with_a_form_of_its_own_is_reached(home: Path) -> None:
    key = {"ANTHROPIC_API_KEY": "sk-ant-test-4711"}
    with fake_anthropic() as server:
        words = ("run", "-p", "Hello.", "-m", "anthropic/claude-x", "--api-base", server.url)
        done = memos(home, *words, environ=ONE_SHOT | key)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hi.\n", "")
    assert len(server.bodies) == 1 and server.bodies[0]["stream"]


def test_an_agent_goes_on_where_it_was_and_memos_alone_opens_the_last_one(home: Path, tmp_path: Path) -> None:
    model = script(tmp_path, speaking("One."))
    assert memos(home, "run", "--new", "eve", "-p", "x", "-m", model, environ=ONE_SHOT).returncode == 0
    assert memos(home, "run", "--new", "sam", "-p", "x", "-m", model, environ=ONE_SHOT).returncode == 0
    assert memos(home, "run", "eve", "-p", "y", environ=ONE_SHOT).stdout == "One.\n"  # its model is kept with it
    agents = {agent["name"]: agent for agent in json.loads(memos(home, "list", "--json").stdout)}
    assert set(agents) == {"eve", "sam"}


def test_a_model_given_on_the_command_line_holds_for_this_run_only(home: Path, tmp_path: Path) -> None:
    first = script(tmp_path, speaking("First."))
    (tmp_path / "other").mkdir()
    second = script(tmp_path / "other", speaking("Second."))
    memos(home, "run", "--new", "sam", "-p", "x", "-m", first, environ=ONE_SHOT)
    assert memos(home, "run", "sam", "-p", "x", "-m", second, environ=ONE_SHOT).stdout == "Second.\n"
    assert memos(home, "run", "sam", "-p", "x", environ=ONE_SHOT).stdout == "First.\n"


def test_an_unknown_agent_is_six_and_names_those_there_are(home: Path, tmp_path: Path) -> None:
    model = script(tmp_path, speaking("One."))
    memos(home, "run", "--new", "sam", "-p", "x", "-m", model, environ=ONE_SHOT)
    done = memos(home, "run", "eve", "-p", "x")
    assert done.returncode == 6 and "sam" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "hint"),
    [
        (["--persona", "sma", "-m", "builtin/tiny"], 2, "sam"),
        (["--human", "nobody", "-m", "builtin/tiny"], 2, "human"),
        (["-m", "gguf:/nowhere/model.gguf"], 2, "/nowhere/model.gguf"),
        (["-m", "scripted:/nowhere.json"], 2, "/nowhere.json"),
        (["-m", "openai/anything"], 3, "OPENAI_API_KEY"),
        (["-m", "no-such-provider/x"], 2, "no-such-provider"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_leaves_no_agent(
    home: Path, flags: list[str], code: int, hint: str
) -> None:
    done = memos(home, "run", "-p", "x", *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert hint in done.stderr and "Next:" in done.stderr and "Traceback" not in done.stderr
    assert json.loads(memos(home, "list", "--json").stdout) == []


def test_a_refused_connection_is_five_and_the_message_is_kept(home: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    done = memos(home, "run", "-p", "Precious.", "-m", "openai/x", "--api-base", address, environ=ONE_SHOT)
    assert done.returncode == 5 and address.split("/")[2] in done.stderr and "Traceback" not in done.stderr
    assert "Precious." in memos(home, "show", "sam").stdout


def test_an_agent_that_is_open_elsewhere_is_seven_and_can_be_looked_at(home: Path, tmp_path: Path) -> None:
    model = script(tmp_path, speaking("One."), speaking("Two."))
    memos(home, "run", "--new", "sam", "-p", "x", "-m", model, environ=ONE_SHOT)
    database = Database.open(home / "data" / "memos.db")
    agent = Agents(database).get("sam")
    lock = AgentLock(home / "state" / "locks", agent.id, agent.name)
    lock.acquire()
    done = memos(home, "run", "sam", "-p", "x", environ=ONE_SHOT)
    assert done.returncode == 7 and "--read-only" in done.stderr and "--take-over" in done.stderr
    looked = memos(home, "run", "sam", "--read-only", typed="/memory\nhello\n", environ=ONE_SHOT)
    assert looked.returncode == 0 and "persona" in looked.stdout and "One." not in looked.stdout
    lock.release()
    assert database.query("SELECT count(*) FROM messages WHERE content = 'hello'")[0][0] == 0
    database.close()


def test_sigterm_is_143_and_everything_said_is_kept(home: Path) -> None:
    with FakeOpenAI(script=lambda _: say("Slow. " * 200, delay_s=0.05)) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "memos", "run", "-p", "Kept words.", "-m", "openai/x", "--api-base", server.url],
            env=clean_environ(home, **ONE_SHOT),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        server.wait_for_requests(1, timeout_s=60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 143 and b"Traceback" not in errors
    assert "Kept words." in memos(home, "show", "sam").stdout


def test_piped_lines_are_answered_one_after_another(home: Path, tmp_path: Path) -> None:
    model = script(tmp_path, speaking("To one.", match="one"), speaking("To two.", match="two"))
    done = memos(home, "run", "-m", model, typed="one\ntwo\n", environ=ONE_SHOT)
    assert done.returncode == 0 and done.stdout.index("To one.") < done.stdout.index("To two.")
    assert "\x1b" not in done.stdout


GUARD = textwrap.dedent(
    """
    import os, sys
    allowed = os.environ["GUARD_ALLOWS"]
    def guard(event, arguments):
        if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
            place = arguments[0] if event == "socket.getaddrinfo" else arguments[-1]
            host = place[0] if isinstance(place, tuple) else place
            port = arguments[1] if event == "socket.getaddrinfo" else place[1] if isinstance(place, tuple) else ""
            if f"{host}:{port}" != allowed and not (isinstance(place, str) and place.startswith("/")):
                with open(os.environ["GUARD_LOG"], "a") as log:
                    log.write(f"{event} {host}:{port}\\n")
    sys.addaudithook(guard)
    """
)


def test_nothing_is_contacted_but_the_configured_endpoint_import_time_included(home: Path, tmp_path: Path) -> None:
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    log = tmp_path / "contacts.log"
    with FakeOpenAI(script=lambda _: Answer(text="Plain.")) as server:
        guarded = {
            "PYTHONPATH": os.pathsep.join([str(guard), str(ROOT)]),
            "GUARD_ALLOWS": server.url.removeprefix("http://").removesuffix("/v1"),
            "GUARD_LOG": str(log),
        }
        done = memos(home, "run", "-p", "x", "-m", "openai/x", "--api-base", server.url, environ=guarded)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Plain.\n", "")
        for words in (["--help"], ["list"], ["show", "sam"], ["configure", "--show"]):
            assert memos(home, *words, environ=guarded).returncode == 0
    assert not log.exists(), log.read_text()
    elsewhere = memos(home, "run", "-p", "x", "-m", "openai/x", "--api-base", "http://127.0.0.1:9/v1", environ=guarded)
    assert elsewhere.returncode == 5 and "127.0.0.1:9" in log.read_text(), "the guard sees nothing"


def test_a_providers_key_is_not_sent_to_another_server(home: Path) -> None:
    with FakeOpenAI() as server:
        done = memos(
            home,
            *("run", "-p", "x", "-m", "openai/x", "--api-base", server.url),
            environ={**ONE_SHOT, "OPENAI_API_KEY": "sk-canary-0123456789"},
        )
        assert done.returncode == 0
        assert all("canary" not in str(request.headers) for request in server.requests)


def test_a_model_switched_to_is_kept_and_takes_no_foreign_address_along(home: Path, tmp_path: Path) -> None:
    other = script(tmp_path, speaking("From the script."), speaking("From the script."))
    with FakeOpenAI() as server:
        memos(home, "configure", "--non-interactive", "--set", "model=openai/x", "--set", f"api_base={server.url}")
        memos(home, "run", "--new", "sam", "-p", "x", environ=ONE_SHOT)
        switched = memos(home, "run", "sam", typed=f"/model {other}\nhello\n", environ=ONE_SHOT)
        assert "From the script." in switched.stdout
        assert memos(home, "run", "sam", "-p", "x", environ=ONE_SHOT).stdout == "From the script.\n"
        asked = len(server.requests)
        refused = memos(home, "run", "sam", "-p", "x", "-m", "anthropic/y", environ=ONE_SHOT)
        assert refused.returncode == 3 and "ANTHROPIC_API_KEY" in refused.stderr and len(server.requests) == asked


def test_a_model_of_its_own_may_write_the_summaries(home: Path, tmp_path: Path) -> None:
    talking = script(tmp_path, *(speaking(f"Noted {n}.") for n in range(9)))
    summary = {"text": "Facts:\n- Ana keeps bees.\nDates:\n- none", "purpose": "summarise"}
    (tmp_path / "summaries").mkdir()
    writing = script(tmp_path / "summaries", *[summary] * 60)
    typed = "".join(f"line {n} " + "word " * 250 + "\n" for n in range(9))
    settings = ("--set", "window_tokens=2048", "--set", f"paging.summariser={writing}")
    done = memos(home, "run", "-m", talking, *settings, typed=typed, environ=ONE_SHOT)
    assert "Noted 8." in done.stdout
    database = Database.open(home / "data" / "memos.db")
    authors = {row["author"] for row in database.query("SELECT author FROM summaries")}
    assert authors == {"memos", writing}
    assert "Ana keeps bees." in database.query("SELECT summary FROM agents")[0]["summary"]
    assert {row["model"] for row in database.query("SELECT model FROM model_calls WHERE purpose = 'summarise'")} == {
        writing
    }
    database.close()


def test_a_persona_names_model_functions_and_limits_of_a_new_agent(home: Path, tmp_path: Path) -> None:
    searching = {"calls": [{"name": "archival_memory_search", "arguments": {"query": "x", "request_heartbeat": True}}]}
    wished = script(tmp_path, filing("Name: Ana"), searching, speaking("Done."))
    folder = home / "data" / "personas"
    folder.mkdir(parents=True)
    front = f"model: '{wished}'\nfunctions: [core_memory_*]\nlimits: {{steps: 2}}\nblocks: [{{label: garden}}]"
    (folder / "mine.md").write_text(f"---\n{front}\n---\nI am.", encoding="utf-8")
    done = memos(home, "run", "--persona", "mine", "-p", "I am Ana.", environ=ONE_SHOT)
    assert done.returncode == 8 and "2 steps" in done.stderr
    shown = json.loads(memos(home, "show", "mine", "--json").stdout)
    assert [block["label"] for block in shown["blocks"]] == ["persona", "human", "garden"]
    assert shown["settings"]["functions"] == ["send_message", "core_memory_append", "core_memory_replace"]
    assert "only send_message, core_memory_append" in memos(home, "show", "mine").stdout
    assert memos(home, "run", "mine", "-p", "x", "--set", "limits.steps=9", environ=ONE_SHOT).stdout == "Done.\n"
    database = Database.open(home / "data" / "memos.db")
    (refused,) = database.query("SELECT content FROM messages WHERE name = 'archival_memory_search' AND ok = 0 LIMIT 1")
    assert refused["content"].startswith('There is no function "archival_memory_search".')
    database.close()


def test_a_model_the_user_named_stands_above_that_of_the_persona(home: Path, tmp_path: Path) -> None:
    folder = home / "data" / "personas"
    folder.mkdir(parents=True)
    (folder / "mine.md").write_text("---\nmodel: scripted:/nowhere.json\n---\nI am.", encoding="utf-8")
    configured = script(tmp_path, speaking("Configured."))
    memos(home, "configure", "--non-interactive", "--set", f"model={configured}")
    assert memos(home, "run", "--persona", "mine", "-p", "x", environ=ONE_SHOT).stdout == "Configured.\n"


def test_what_a_server_reports_is_kept_for_the_next_session(home: Path) -> None:
    usage = {"prompt_tokens": 4000, "completion_tokens": 5}
    with FakeOpenAI(script=lambda _: say("Hello.", usage=usage)) as server:
        options = ("-m", "openai/fake-model", "--api-base", server.url)
        assert memos(home, "run", "-p", "Hi.", *options, environ=ONE_SHOT).returncode == 0
        database = Database.open(home / "data" / "memos.db")
        (row,) = database.query("SELECT * FROM model_notes WHERE topic LIKE 'scale:%'")
        database.close()
        assert (row["model"], row["endpoint"]) == ("openai/fake-model", server.url)
        assert json.loads(row["note"])["observations"][0][3] == 4000


def test_images_go_with_one_message_to_the_model(home: Path, tmp_path: Path) -> None:
    first, second = picture(tmp_path / "one.png"), picture(tmp_path / "two.jpg")
    with FakeOpenAI(script=lambda request: say("Two pictures.")) as server:
        words = ("run", "-m", "openai/fake-model", "--api-base", server.url, "--set", "window_tokens=32000")
        shown = ("--image", str(first), "--image", str(second))
        done = memos(home, *words, "-p", "What is it?", *shown, environ=ONE_SHOT)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Two pictures.\n", "")
        (request,) = server.requests
        assert [data[:4] for data in request.pictures] == [b"\x89PNG", b"\xff\xd8\xff\xe0"]
        server.blind = "openai"
        done = memos(home, *words, "-p", "And this?", "--image", str(first), environ=ONE_SHOT)
        assert (done.returncode, done.stdout) == (0, "Two pictures.\n")
        assert "takes no images" in done.stderr
        done = memos(home, *words, "-p", "And this?", "--image", str(first), environ=ONE_SHOT)
        assert (done.returncode, done.stdout) == (2, "")
        assert "sees no images" in done.stderr
        done = memos(home, *words, "-p", "And now?", environ=ONE_SHOT)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Two pictures.\n", "")
        assert server.violations == []


def test_an_image_that_cannot_be_shown_ends_with_the_code_of_bad_input(home: Path, tmp_path: Path) -> None:
    model = script(tmp_path, speaking("Never."))
    done = memos(home, "run", "-m", model, "-p", "What?", "--image", "/nowhere/cat.png", environ=ONE_SHOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no file /nowhere/cat.png" in done.stderr
    done = memos(home, "run", "-m", model, "--image", "/nowhere/cat.png", environ=ONE_SHOT)
    assert done.returncode == 2
    assert "-p TEXT" in done.stderr
    path = str(picture(tmp_path / "cat.png"))
    done = memos(home, "run", "-m", "builtin/tiny", "--new", "clerk", "-p", "What?", "--image", path, environ=ONE_SHOT)
    assert done.returncode == 2
    assert "builtin/tiny sees no images; nothing was sent." in done.stderr

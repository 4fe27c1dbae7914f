"""The operator's console: a registry from which help and completion are made."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from support.desk import Desk

from memos.memory.message_rows import event_message
from memos.messages import Event, EventKind, TokenUsage, utc_now
from memos.storage.usage_ledger import ModelCall
from memos.terminal.commands import (
    COMMANDS,
    MAIN,
    CommandContext,
    as_message,
    command,
    completions,
    find_command,
    is_command,
    run_command,
)


def test_help_lists_the_main_commands_first(tmp_path: Path) -> None:
    rows = [row.split()[0] for row in Desk(tmp_path).run("/help").splitlines()]
    listed = [row.removeprefix("/") for row in rows if row.startswith("/")]
    more = rows.index("More:")
    assert listed[:more] == list(MAIN) and len(MAIN) == 12
    assert listed[more:] == sorted(listed[more:]) and set(listed) == set(COMMANDS)


def test_help_lists_every_command_with_its_first_line(tmp_path: Path) -> None:
    printed = Desk(tmp_path).run("/help")
    for entry in COMMANDS.values():
        assert f"{entry.usage} " in printed
        assert entry.summary in printed


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_explains_itself(tmp_path: Path, name: str) -> None:
    printed = Desk(tmp_path).run(f"/help {name}").split("\n\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in COMMANDS[name].help.split("\n\n")]
    assert all(paragraph in said for paragraph, said in zip(paragraphs, printed, strict=True))


def test_a_beginning_or_an_alias_is_enough() -> None:
    assert find_command("mem").name == "memory"
    assert find_command("?").name == "help"
    assert find_command("Quit").name == "exit"


def test_an_unknown_command_is_guessed(tmp_path: Path) -> None:
    printed = Desk(tmp_path).run("/memroy")
    assert printed == (
        '· There is no command "/memroy". Did you mean /memory? Next: /help lists them all; //text sends a slash.\n'
    )


def test_an_ambiguous_beginning_names_what_it_could_be(tmp_path: Path) -> None:
    assert "Did you mean /memory or /memorywarning or /model?" in Desk(tmp_path).run("/m")
    assert find_command("mem").name == "memory"  # the beginning of all that it could be


def test_memory_shows_blocks_with_their_limits_counts_and_last_edits(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.memory.core_memory_append("human", "Name: [Ana] \x1b[2J")
    printed = desk.run("/memory")
    assert "persona  ░░░░░░░░░░░░░░░░░░░░  9/2000\n  I am Sam.\n" in printed
    assert "  Name: [Ana] ␛[2J\n" in printed
    assert "Recall storage: 0 messages. Archival storage: 0 passages.\n" in printed
    assert "    + Name: [Ana] ␛[2J\n" in printed


def test_memory_log_lists_twenty_edits_with_their_authors(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run("/memory log") == "No block has been edited yet.\n"
    for number in range(21):
        desk.home.memory.core_memory_append("human", f"Fact {number}.")
    desk.home.memory.edit("persona", "I am Eve.")
    printed = desk.run("/memory log")
    assert "  user  persona\n    - I am Sam.\n    + I am Eve.\n" in printed
    assert "  agent  human\n    + Fact 20.\n" in printed
    desk.home.memory.edit("human", "\n".join("abcdef"))
    assert "more changed lines\n" in desk.run("/memory log")
    assert "+ Fact 2.\n" in printed and "+ Fact 1.\n" not in printed


def test_memory_shows_one_block_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.memory.edit("human", "\n".join(f"Line {number}." for number in range(50)))
    printed = desk.run("/memory Human")
    assert printed.startswith("human  ") and printed.endswith("  Line 49.\n") and "persona" not in printed
    assert "Next: /memory with one of: persona, human; /memory log shows edits" in desk.run("/memory user")
    assert [text for text, _ in completions("/memory h", desk.session)] == ["human"]


def test_model_shows_and_switches(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert (
        desk.run("/model")
        == "scripted answers.\nWhere scripted does not answer: builtin/tiny.\n/model NAME switches.\n"
    )
    assert desk.run("/model openai/gpt-4.1").endswith("Goes on with openai/gpt-4.1.\nIts window is small.\n")
    assert desk.models.switched == [("openai/gpt-4.1", None)]


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("/model openai/x --api-base http://a:1/v1", ("openai/x", "http://a:1/v1")),
        ("/model openai/x --api-base=http://a:1/v1", ("openai/x", "http://a:1/v1")),
        ('/model openai/x --api-base ""', ("openai/x", "")),
        ("/model gguf:/my models/a.gguf", ("gguf:/my models/a.gguf", None)),
    ],
)
def test_an_address_may_stand_beside_the_model(tmp_path: Path, line: str, asked: tuple[str, str | None]) -> None:
    desk = Desk(tmp_path)
    desk.run(line)
    assert desk.models.switched == [asked]


@pytest.mark.parametrize("line", ["/model openai/x --api-base", "/model --api-base http://a:1/v1"])
def test_a_flag_without_its_half_is_told(tmp_path: Path, line: str) -> None:
    desk = Desk(tmp_path)
    assert "Next: /model openai/NAME --api-base URL" in desk.run(line) and not desk.models.switched


def test_params_are_shown_set_and_completed_word_by_word(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run("/params").splitlines() == ["temperature  0.3 (agent)", "top_p        not set"]
    assert desk.run("/params top_p= temperature=0.3").count("temperature") == 2
    assert desk.models.set == ["top_p=", "temperature=0.3"]
    assert [text for text, _ in completions("/params te", desk.session)] == ["temperature="]
    assert [text for text, _ in completions("/params top_p=1 te", desk.session)] == ["top_p=1 temperature="]


def test_a_model_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run("/model nonsense") == '· There is no model "nonsense". Next: memos list models\n'
    assert not desk.models.switched


def test_usage_of_an_agent_that_was_never_asked_is_said(tmp_path: Path) -> None:
    assert Desk(tmp_path).run("/usage") == "Today: no call of a model.\nIn all: no call of a model.\n"


def test_usage_shows_this_agents_today_and_total(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    other = desk.home.agents.create("other", model="m", persona_name="p", human_name="h", blocks=[])
    before = utc_now() - timedelta(days=2)
    for agent_id in (desk.home.agent.id, other.id):
        desk.home.ledger.record(agent_id, "t", ModelCall("a/b", "chat", TokenUsage(1_200, 34, 1_000), 0.0125))
    for _ in range(2):
        desk.home.ledger.record(desk.home.agent.id, "t", ModelCall("c/d", "chat", created_at=before))
    assert desk.run("/usage").splitlines() == [
        "Today: 1 call; tokens in: 1,200, of these cached: 1,000, out: 34; USD: 0.0125.",
        "In all: 3 calls; tokens in: 1,200 + unknown, of these cached: 1,000, out: 34 + unknown;"
        " USD: 0.0125 + unknown.",
        "Calls by model: c/d 2, a/b 1.",
    ]


@pytest.mark.parametrize(
    ("cost_usd", "shown"),
    [(None, "unknown"), (0.0, "0"), (0.00002, "<0.0001"), (0.5, "0.5000"), (1234.5, "1,234.5000")],
)
def test_money_is_shown_as_far_as_it_is_known(tmp_path: Path, cost_usd: float | None, shown: str) -> None:
    desk = Desk(tmp_path)
    desk.home.ledger.record(desk.home.agent.id, "t", ModelCall("a/b", "chat", cost_usd=cost_usd))
    printed = desk.run("/usage")
    assert f"tokens in: unknown, of these cached: unknown, out: unknown; USD: {shown}.\n" in printed


def test_continue_lets_a_stopped_turn_go_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.recall.append(event_message(Event(EventKind.USER_MESSAGE, "Count."), desk.home.agent.id, "turn"))
    assert desk.run("/continue") == ""
    assert [event.kind for event in desk.posted] == [EventKind.HEARTBEAT]
    assert "go on" in desk.posted[0].payload["reason"]


def test_continue_says_honestly_that_nothing_was_stopped(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run("/continue") == "· Nothing was stopped: the agent had come to its end. Next: say something.\n"
    assert desk.posted == []


def test_continue_does_not_push_an_agent_at_work(tmp_path: Path) -> None:
    async def at_work(desk: Desk) -> None:
        desk.session.kernel.post(Event(EventKind.USER_MESSAGE, "x"))
        await run_command(desk.context, "/continue")

    desk = Desk(tmp_path)
    asyncio.run(at_work(desk))
    assert "still at work" in desk.paper.getvalue() and desk.posted == []


def test_like_posts_the_event(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.run("/like")
    assert [event.kind for event in desk.posted] == [EventKind.USER_LIKED]


@pytest.mark.parametrize("line", ["/like", "/model other", "/continue", "/params temperature=1"])
def test_a_reading_session_changes_nothing(tmp_path: Path, line: str) -> None:
    desk = Desk(tmp_path, read_only=True)
    assert "This session only reads." in desk.run(line)
    assert not desk.posted
    assert not desk.models.switched and not desk.models.set


@pytest.mark.parametrize("line", ["/exit", "/quit", "/bye"])
def test_three_words_leave(tmp_path: Path, line: str) -> None:
    desk = Desk(tmp_path)
    desk.run(line)
    assert desk.left == [0]


@pytest.mark.parametrize(
    ("line", "is_one"), [("/help", True), ("/x y", True), ("//x", False), ("/", False), ("/ x", False), ("!x", False)]
)
def test_a_slash_and_a_word_are_a_command(line: str, is_one: bool) -> None:
    assert is_command(line) is is_one


def test_a_doubled_slash_is_a_message_with_one() -> None:
    assert as_message("//etc") == "/etc"
    assert as_message("!x /y") == "!x /y"


def test_names_and_arguments_are_completed(tmp_path: Path) -> None:
    session = Desk(tmp_path).session
    assert [text for text, _ in completions("/m", session)] == ["/memory", "/memorywarning", "/model"]
    assert [text for text, _ in completions("/help mo", session)] == ["model"]
    assert list(completions("/nonsense x", session)) == []


def test_a_command_without_a_docstring_or_with_a_taken_name_is_refused() -> None:
    async def silent(context: CommandContext, argument: str) -> None: ...

    with pytest.raises(ValueError, match="docstring"):
        command("silent")(silent)
    silent.__doc__ = "Now it speaks."
    with pytest.raises(ValueError, match="name of its own"):
        command("quit")(silent)
    assert "silent" not in COMMANDS


def test_context_draws_the_window_and_its_parts_add_up(tmp_path: Path) -> None:
    lines = Desk(tmp_path).run("/context").splitlines()
    bar = lines[1].strip()
    letters = "".join(dict.fromkeys(bar))
    assert len(bar) == 60 and letters == "IFB.R"  # in the order of the prompt
    parts = [int(line.rsplit(maxsplit=1)[1].replace(",", "")) for line in lines[2:7]]
    assert sum(parts) == 8192
    assert "Nothing in the queue can be evicted yet." in lines[-1]


@pytest.mark.parametrize("command", ["/undo", "/retry", "/pop", "/clear", "/summarize"])
def test_a_command_on_an_empty_queue_says_so_in_one_sentence(tmp_path: Path, command: str) -> None:
    printed = Desk(tmp_path).run(command)
    assert printed.startswith("· ") and "Next: " in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        (TokenUsage(1_000, 20, 600), "1,000 tokens; 600 of them were in the cache (60%)."),
        (TokenUsage(1_000, 20, 0), "1,000 tokens; 0 of them were in the cache (0%)."),
        (TokenUsage(100, 20, 200), "100 tokens, and 200 more that were in the cache."),
        (TokenUsage(0, 0, 0), "0 tokens; 0 of them were in the cache (0%)."),
        (TokenUsage(1_000, 20), "1,000 tokens; how many were read from a cache is not reported."),
        (TokenUsage(), "its tokens are not reported."),
    ],
)
def test_context_says_what_of_the_last_request_was_in_the_cache(tmp_path: Path, usage: TokenUsage, shown: str) -> None:
    desk = Desk(tmp_path)
    assert "Last request" not in desk.run("/context")
    desk.home.ledger.record(desk.home.agent.id, "t", ModelCall("a/b", "chat", TokenUsage(1, 1, 1)))
    desk.home.ledger.record(desk.home.agent.id, "t", ModelCall("a/b", "chat", usage))
    desk.home.ledger.record(desk.home.agent.id, "t", ModelCall("a/b", "summarise", TokenUsage(5, 5, 5)))
    assert f"\nLast request: {shown}\n" in desk.run("/context")


def test_context_as_json_has_the_last_call_or_null(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert json.loads(desk.run("/context --json"))["last_call"] is None
    call = desk.home.ledger.record(desk.home.agent.id, "t", ModelCall("a/b", "chat", TokenUsage(1_000, 20)))
    assert json.loads(desk.run("/context --json").splitlines()[-1])["last_call"] == {
        "model": "a/b",
        "created_at": call.created_at.isoformat(),
        "prompt_tokens": 1_000,
        "cached_tokens": None,
        "reply_tokens": 20,
    }


@pytest.mark.parametrize("command", ["/pop x", "/pop -1", "/context --yaml"])
def test_an_argument_that_cannot_be_used_is_told(tmp_path: Path, command: str) -> None:
    assert "Next: " in Desk(tmp_path).run(command)


def test_the_agent_is_warned_and_woken_by_command(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.run("/memorywarning")
    desk.run("/heartbeat")
    assert [event.kind for event in desk.posted] == [EventKind.MEMORY_PRESSURE, EventKind.HEARTBEAT]


def test_a_session_that_only_reads_shows_the_window_and_changes_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, read_only=True)
    assert "kept for the reply" in desk.run("/context")
    assert "only reads" in desk.run("/undo") and "only reads" in desk.run("/heartbeat")


def test_what_was_said_and_archived_is_searched_with_time_and_speaker(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    event = Event(EventKind.USER_MESSAGE, "My bees\nmade honey. [red] \x1b[2J")
    desk.home.recall.append(event_message(event, desk.home.agent.id, "turn"))
    desk.home.archival.archival_memory_insert("Ana sells honey.")
    printed = desk.run("/search honey")
    when = event.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    assert printed.startswith(f"Recall storage: 1 found:\n  {when}  user: My bees made honey. [red] ␛[2J\nArchival")
    assert printed.endswith("  Ana sells honey.\n") and "Archival storage: 1 found:\n" in printed
    assert "Archival" not in Desk(tmp_path / "other").run("/recall honey")
    assert Desk(tmp_path / "other").run("/archival honey") == "Archival storage: nothing found.\n"
    assert "Next: for example: /recall honey yield" in desk.run("/recall")


def test_at_most_ten_hits_are_shown_and_how_many_there_are_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for number in range(12):
        desk.home.archival.archival_memory_insert(f"Honey {number}.")
    printed = desk.run("/archival honey")
    assert printed.startswith("Archival storage: 12 found, the best 10:\n") and len(printed.splitlines()) == 11

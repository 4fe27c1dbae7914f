"""An agent with a life: calls that worked and failed, corrections, turns taken back, images, notes, imported chats."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.memory.imported_messages import ImportedMessage, store
from memos.messages import Event, EventKind, TokenUsage
from memos.storage.attachments import images_payload
from memos.storage.usage_ledger import ModelCall
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, play, speak
from support.pictures import noise, picture

SAID_BY_HOSTILE_PEOPLE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1)) <a href='javascript:alert(1)'>x</a>",
    "```\n# Not a heading\n````\n<b>bold</b>",
    "\u202eevil\u2066 \x1b]8;;http://x\x07link\x1b]8;;\x07 \x9b31m \u2028\x7f",
    "&lt;not&amp;escaped&gt; ]]> --> <!-- </style><style>*{display:none}</style>",
    "Zürich 東京 👩\u200d🚀 \U000e0041",
)


def lived(folder: Path, name: str = "sam") -> AgentHome:
    """Return an agent of whom every table that an export has knows something."""
    home = agent_home(folder, name=name)
    store(
        home.database,
        home.agent,
        [
            ImportedMessage("user", "I kept bees then.", datetime(2020, 5, 1, tzinfo=UTC), "Ana", "old", "1"),
            ImportedMessage("assistant", "How many hives?", datetime(2020, 5, 1, 0, 1, tzinfo=UTC), "", "old", "2"),
        ],
    )
    script = [
        append("Dog: Rex"),
        ScriptedReply(
            "I will keep that.",
            calls=(ScriptedCall("archival_memory_insert", {"content": "Rex is a dog.", "tags": ["pets"]}),),
        ),
        call("archival_memory_insert", {"content": "Rex is a spaniel.", "tags": ["dogs"], "replaces": "Rex is a dog."}),
        call("core_memory_replace", {"name": "human", "old_content": "nothing", "new_content": "x"}),
        speak("Noted."),
        *(speak(f"Reply to {number}.") for number in range(len(SAID_BY_HOSTILE_PEOPLE) + 2)),
        call("conversation_search", {"query": "dog", "request_heartbeat": True}),
        call("archival_memory_search", {"query": "spaniel", "request_heartbeat": True}),
        speak("Rex."),
        append("A mistake."),
        speak("Oh."),
        speak("Rex, I think."),
    ]

    async def scene(listener: Listener) -> None:
        kernel, operator = listener.kernel, home.operator(listener.kernel)
        await listener.say("My dog is Rex.")
        for text in SAID_BY_HOSTILE_PEOPLE:
            await listener.say(text)
        paths = [picture(folder / "cat <x>.png"), noise(folder / "noise.png", 64, 48)]
        for shown in (paths, paths[:1]):
            images = await kernel.attach([str(path) for path in shown])
            await listener.post(Event(EventKind.USER_MESSAGE, "Look.", images_payload(images)))
        manager = kernel.machine.queue_manager
        await manager.evict(len(manager.queue) - 6, "A dog was named.", "scripted")
        await listener.say("What is my dog called?")
        await listener.say("A slip of the tongue.")
        await operator.undo()
        await listener.say("Are you sure?")
        await operator.rewrite("Rex, I am sure.")
        home.recall.override(manager.queue[0])

    play(home.kernel(ScriptedProcessor(script)), scene)
    home.ledger.record(home.agent.id, "turn", ModelCall("scripted", "chat", TokenUsage(10, 5), 0.25))
    home.recall.defer(Event(EventKind.USER_MESSAGE, "Typed while you worked."))
    home.agents.keep_settings(home.agent, {"temperature": 0.5})
    return home


def tables(home: AgentHome) -> dict[str, list[dict[str, object]]]:
    """Return all that lies in the database, but what is derived."""
    names = [row[0] for row in home.database.query("SELECT name FROM sqlite_master WHERE type = 'table'")]
    kept = [name for name in names if "_fts" not in name and not name.startswith(("sqlite", "_", "counts"))]
    return {name: [dict(row) for row in home.database.query(f"SELECT * FROM {name}")] for name in kept}

"""A secret planted in an agent's memory by one of many paths, and a search for it that knows nothing of memos'."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from memos.kernel.kernel import Kernel
from memos.kernel.operator import Operator
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.memory.forgetting import Forgetting
from memos.memory.image_files import read_image
from memos.memory.imported_messages import ImportedMessage, store
from memos.memory.index import Index
from memos.messages import Event, EventKind, Message, MessageState, Provenance
from memos.storage.attachments import Attachments, images_payload
from memos.storage.fork import fork_agent
from memos.storage.home_files import HomeFiles
from memos.storage.model_notes import ModelNotes
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, running, speak
from support.pictures import picture
from support.search_home import WordCounts

SECRET = 'Zoë\'s magenta "heliotrope" 4711'
STEMS = ("magenta", "heliotrop", "4711", "zoe")
IMPORTED_AT = datetime(2024, 3, 1, 12, tzinfo=UTC)


@dataclass
class Stage:
    """An agent at work, what acts on it, and the folder of all its files."""

    home: AgentHome
    listener: Listener
    kernel: Kernel
    operator: Operator
    index: Index
    root: Path

    async def say(self, text: str) -> None:
        await self.listener.say(text)

    async def flush(self, summary: str) -> None:
        manager = self.kernel.machine.queue_manager
        await manager.evict(len(manager.queue), summary, "scripted")

    def index_all(self) -> None:
        assert self.index.indexer is not None
        while self.index.indexer.step(flush=True):
            pass

    def write(self, place: str, text: str) -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


Scene = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Way:
    """A way into memory: what the model replies, and what happens."""

    replies: Sequence[ScriptedReply]
    scene: Scene


def said(text: str) -> Scene:
    async def scene(stage: Stage) -> None:
        await stage.say(text)

    return scene


async def block_of_user_undone(stage: Stage) -> None:
    block = stage.home.memory.block("human")
    edit = await stage.operator.edit_block("human", block.value, f"{block.value}\n{SECRET}\nLikes tea.")
    assert edit is not None
    await stage.operator.undo_edit(edit.seq)


async def summarised(stage: Stage) -> None:
    await stage.say(f"Remember {SECRET}, please.")
    await stage.flush(f"Facts:\n- Bees on the roof. The code is {SECRET}. Rex is a dog.\nDates:\n- {SECRET}")
    await stage.kernel.machine.queue_manager.set_summary(f"Facts:\n- Bees on the roof. {SECRET.upper()}!", "scripted")


async def imported(stage: Stage) -> None:
    texts = [f"My code: {SECRET}", "I grow turnips."]
    store(
        stage.home.database,
        stage.home.agent,
        [ImportedMessage("user", text, IMPORTED_AT, "Ana", "s1") for text in texts],
    )


async def imported_name_and_session(stage: Stage) -> None:
    messages = [
        ImportedMessage("user", "Hello there.", IMPORTED_AT, SECRET, "s1"),
        ImportedMessage("user", "I grow turnips.", IMPORTED_AT, "Ana", f"chat about {SECRET}"),
    ]
    store(stage.home.database, stage.home.agent, messages)


async def found_again(stage: Stage) -> None:
    await stage.say(f"The word is {SECRET}.")
    await stage.flush("Bees on the roof.")
    await stage.say("What was the word?")


async def undone(stage: Stage) -> None:
    await stage.say(f"A slip: {SECRET}")
    await stage.operator.undo()


async def popped_and_reworded(stage: Stage) -> None:
    await stage.say("Tell me.")
    await stage.operator.rewrite("Something else.")
    await stage.operator.rethink("Another thought.")
    await stage.say(f"And {SECRET}")
    await stage.operator.pop(2)


async def shortened(stage: Stage) -> None:
    await stage.say(f"{SECRET} " + "A long story of a long day. " * 400 + SECRET)
    manager = stage.kernel.machine.queue_manager
    long = next(message for message in manager.queue if SECRET in message.content)
    await manager.shorten(replace(long, content=f"{SECRET} […] {SECRET}"))


async def with_image(stage: Stage) -> None:
    path = picture(stage.root.parent / "Zoë's magenta heliotrope 4711.png")
    image = read_image(path)
    image = type(image)(image.hash, image.media_type, image.width, image.height, SECRET, image.data)
    Attachments(stage.home.database).keep([image])
    await stage.listener.post(Event(EventKind.USER_MESSAGE, "Look at this.", images_payload([image])))


async def many_rows(stage: Stage) -> None:
    for number in range(20):
        stage.home.recall.append(_event(stage, f"{SECRET} and number {number}"))
    stage.index_all()
    store(
        stage.home.database,
        stage.home.agent,
        [ImportedMessage("user", f"Turnip {number}", IMPORTED_AT, "", str(number)) for number in range(300)],
    )
    stage.index_all()
    await stage.say(f"Again {SECRET}")
    await stage.flush("Bees on the roof.")
    stage.index_all()


async def incomplete(stage: Stage) -> None:
    await stage.say("Tell me.")
    draft = Message(
        role="assistant",
        content=f"I think of {SECRET}",
        agent_id=stage.home.agent.id,
        turn_id="lost",
        payload={"speech": f"It is {SECRET}"},
        state=MessageState.PROVISIONAL,
        provenance=Provenance.AGENT,
    )
    stage.home.recall.append(draft)
    await stage.kernel.machine.queue_manager.settle()


async def waiting(stage: Stage) -> None:
    stage.home.recall.defer(Event(EventKind.USER_MESSAGE, f"Later: {SECRET}"))


async def in_files(stage: Stage) -> None:
    stage.write("state/history", f"\n# 2026-11-24 10:00:00\n+I keep bees\n\n# 2026-11-24 10:01:00\n+two\n+{SECRET}\n")
    stage.write("state/logs/memos.log", f"INFO fine\nERROR x: ValueError({SECRET!r})\nINFO still\n")
    stage.write("state/logs/bug-1.log", f"memos 0.1\nValueError: {json.dumps({'a': json.dumps(SECRET)})}\n")
    stage.write("state/drafts/tmp1/human.md", f"Bees\n{SECRET}\n")
    stage.write("data/humans/me.md", f"---\nname: Me\n---\nI keep bees.\nI say {SECRET}.\n")
    with closing(sqlite3.connect(stage.root / "data" / "memos.before-schema-5.db")) as copy, copy:
        copy.execute("CREATE TABLE old (text TEXT)")
        copy.execute("INSERT INTO old VALUES (?)", (SECRET,))


async def forked(stage: Stage) -> None:
    await stage.say(f"Keep {SECRET}")
    fork_agent(stage.home.database, stage.home.agents.reload(stage.home.agent), "copy")


async def corrected(stage: Stage) -> None:
    await stage.say("Keep it.")
    await stage.say("No, it is another one.")


async def noted(stage: Stage) -> None:
    notes = ModelNotes(stage.home.database)
    notes.note_card("m", "e", json.dumps({"said": SECRET}))
    notes.store()


async def renamed_result(stage: Stage) -> None:
    await stage.say("Try it.")


def _event(stage: Stage, text: str) -> Message:
    return Message(
        role="user",
        content=text,
        agent_id=stage.home.agent.id,
        turn_id="t",
        kind=EventKind.USER_MESSAGE,
        provenance=Provenance.USER,
        payload={"utc_offset_min": 0},
    )


def insert(content: str, **more: object) -> ScriptedReply:
    return call("archival_memory_insert", {"content": content, "request_heartbeat": True, **more})


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" if not char.isspace() else char for char in text)


SEARCH = call("conversation_search", {"query": "word", "request_heartbeat": True})
PATHS: dict[str, Way] = {
    "typed": Way([speak("Noted.")], said(f"My code is {SECRET}.")),
    "typed in another form": Way(
        [speak("Noted.")], said(unicodedata.normalize("NFD", SECRET.upper()).replace(" ", "\n "))
    ),
    "replied": Way([speak(f"You mean {SECRET}?")], said("Guess.")),
    "replied without a call": Way([ScriptedReply(text=f"You mean {SECRET}?")], said("Guess.")),
    "thought": Way([call("send_message", {"message": "Hm."}, monologue=f"It is {SECRET}.")], said("Guess.")),
    "block": Way([append(f"Code: {SECRET}"), speak("Filed.")], said("File it.")),
    "block of the user, undone": Way([], block_of_user_undone),
    "archive": Way([insert(f"The code is {SECRET}.", tags=["code"]), speak("Kept.")], said("Keep it.")),
    "archive, corrected": Way(
        [insert(f"Code is {SECRET}."), speak("Kept."), insert("Code is gone.", replaces="Code is Zo"), speak("Done.")],
        corrected,
    ),
    "summary": Way([speak("Yes.")], summarised),
    "imported": Way([], imported),
    "imported: name and session": Way([], imported_name_and_session),
    "arguments with escapes": Way(
        [
            call(
                "core_memory_append", f'{{"name": "human", "content": "{escaped(SECRET)}", "request_heartbeat": true}}'
            ),
            call("no_such_function", f'{{"{escaped(SECRET)}": 1, "broken": "{escaped(SECRET)}'),
            speak("Filed."),
        ],
        said("File it."),
    ),
    "name of a function": Way([call(SECRET, {"x": 1}), speak("Oh.")], renamed_result),
    "result of a search": Way([speak("Yes."), SEARCH, speak("I found it.")], found_again),
    "undone": Way([append(f"Slip: {SECRET}"), speak("Yes.")], undone),
    "reworded and dropped": Way(
        [
            call("send_message", {"message": f"It is {SECRET}"}, monologue=f"So {SECRET}"),
            speak("Yes."),
        ],
        popped_and_reworded,
    ),
    "shortened in the queue": Way([speak("Long.")], shortened),
    "image": Way([speak("A picture.")], with_image),
    "vectors, before and after 128 rows": Way([speak("Yes.")], many_rows),
    "broken off": Way([speak("Yes.")], incomplete),
    "waiting": Way([], waiting),
    "files": Way([], in_files),
    "forked": Way([speak("Kept.")], forked),
    "what was seen of a model": Way([], noted),
}
"""Every path into memory, by name."""


BEFORE = [
    append("Name: Ana"),
    call("archival_memory_insert", {"content": "Rex is a dog.", "request_heartbeat": True}),
    speak("Bees, noted."),
]
"""What the model replies to the first message, before any secret."""


def forgetting_in(root: Path, home: AgentHome, index: Index) -> Forgetting:
    """Return what forgets in a home laid out as MEMOS_HOME is."""
    data, state = root / "data", root / "state"
    files = HomeFiles([root], data / "memos.db", state / "history", state / "logs", state / "drafts", [data / "humans"])
    return Forgetting(home.database, files, data / "lance", index.let_go)


def play(root: Path, ways: Sequence[Way], after: Scene | None = None) -> ScriptedProcessor:
    """Live a little, plant the secret in these ways, index it, and do what comes after, all in one session."""
    home = agent_home(root / "data")
    index = Index.of(root / "data" / "lance", home.database, WordCounts())
    replies = [reply for way in ways for reply in way.replies]
    processor = ScriptedProcessor([*BEFORE, *replies, speak("I go on.", match="And now?")])
    kernel = home.kernel(processor)
    operator = Operator(home.database, kernel, home.memory, home.archival, lambda: forgetting_in(root, home, index))

    async def scene() -> None:
        async with running(kernel) as listener:
            stage = Stage(home, listener, kernel, operator, index, root)
            await listener.say("I keep bees on the roof.")
            for way in ways:
                await way.scene(stage)
            stage.index_all()
            if after:
                await after(stage)

    asyncio.run(scene())
    index.close()
    home.database.close()
    return processor


# --- searching -----------------------------------------------------------------------------------------------


def forms(secret: str) -> Iterator[bytes]:
    """Yield the secret in every form in which a byte may hold it."""
    for way in ("NFC", "NFD"):
        for text in (secret, secret.lower(), secret.upper(), secret.replace(" ", "\n ")):
            plain = unicodedata.normalize(way, text)  # type: ignore[arg-type]
            once = json.dumps(plain)[1:-1]
            for form in (plain, once, json.dumps(once)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1]):
                yield from (form.encode("utf-8"), form.encode("utf-16-le"), form.encode("utf-16-be"))
            yield escaped(plain).encode()
            yield escaped(plain).replace("\\", "\\\\").encode()


def files_with(root: Path, secret: str = SECRET) -> list[str]:
    """Return the files below `root` that hold the secret, or a distinctive word of it."""
    wanted = {*forms(secret), *forms("heliotrope")}
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and any(form in path.read_bytes() for form in wanted)
    ]


def stems_in_full_text(database: Path) -> list[str]:
    """Return the terms of the secret that the full-text indexes still know: they are stored in pieces."""
    found = []
    with closing(sqlite3.connect(database)) as connection:
        for table in ("messages_fts", "passages_fts"):
            connection.execute(f"CREATE VIRTUAL TABLE temp.v_{table} USING fts5vocab('main', '{table}', 'row')")
            terms = {row[0] for row in connection.execute(f"SELECT term FROM temp.v_{table}")}
            found += [stem for stem in STEMS if stem in terms]
    return found


def cells_with(database: Path, word: str = "heliotrope") -> list[str]:
    """Return the columns of any table with a distinctive word of the secret."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [
            f"{table}.{column[1]}"
            for table in tables
            for column in connection.execute(f"PRAGMA table_info({table})").fetchall()
            if connection.execute(
                f"SELECT 1 FROM {table} WHERE instr(lower(CAST({column[1]} AS TEXT)), ?)", (word,)
            ).fetchone()
        ]


def vector_bytes(texts: Sequence[str]) -> list[bytes]:
    """Return what the vectors of texts are on disk."""
    vectors = WordCounts().embed(texts)
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return [vector.tobytes() for vector in unit]

"""A home in which every store holds terminal attacks: what any command prints of it must be harmless."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from memos.errors import BadInput
from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.messages import Block, TokenUsage
from memos.storage.usage_ledger import ModelCall
from support.agent_home import AgentHome
from support.desk import Desk
from support.listening import running, speak


def hostile_desk(folder: Path, attack: str) -> Desk:
    """Return a console whose agent, models, settings and log are all named, filled and described by `attack`.

    `folder` is the folder of data.
    """
    attack = attack.replace("\x00", "")
    desk = Desk(folder, blocks=[Block("persona", attack, 9000, attack), Block(f"b{attack}", attack, 9000, attack)])
    home = desk.home
    script = [
        ScriptedReply(
            monologue=attack,
            calls=(
                ScriptedCall("core_memory_append", {"name": "persona", "content": attack}),
                ScriptedCall("archival_memory_insert", {"content": f"bees {attack}"}),
                ScriptedCall(attack, attack),
                ScriptedCall("conversation_search", {"query": attack, "request_heartbeat": True}),
            ),
        ),
        speak(f"bees {attack}"),
        speak(f"again {attack}"),
    ]
    kernel = home.kernel(ScriptedProcessor(script))
    desk.session.kernel, desk.session.operator = kernel, home.operator(kernel)

    async def live() -> None:
        async with running(kernel) as listener:
            await listener.say(f"bees {attack}")
            manager = kernel.machine.queue_manager
            await manager.evict(2, f"Facts: {attack}", attack)
            await listener.say(f"once more {attack}")

    asyncio.run(live())

    async def refused(assignments: Sequence[str]) -> None:
        raise BadInput(f"There is no parameter {attack}.", attack)

    home.ledger.record(home.agent.id, "turn", ModelCall(attack, "chat", TokenUsage(1, 1)))
    _rename(home, f"sam{attack}", attack)
    desk.session.agent = home.agents.reload(home.agent)
    home.agents.create("eve", model=attack, persona_name=attack, human_name=attack, blocks=[])
    desk.session.settings = lambda: [("model", attack, attack)]
    desk.models.names = lambda: [attack]  # type: ignore[method-assign]
    desk.models.set_params = refused  # type: ignore[method-assign]
    desk.models.describe = lambda: [f"{attack} answers."]  # type: ignore[method-assign]
    (folder / "memos.log").write_text(attack, encoding="utf-8", newline="")
    for kind in ("personas", "humans"):
        (folder / kind).mkdir(exist_ok=True)
        front = f"---\nname: x\ndescription: {json.dumps(attack)}\n---\n{attack}\n"
        (folder / kind / "hostile.md").write_text(front, encoding="utf-8", newline="")
    return desk


def _rename(home: AgentHome, name: str, model: str) -> None:
    """Name the agent as memos would never let anybody name one."""
    with home.database.transaction() as connection:
        connection.execute("UPDATE agents SET name = ?, model = ? WHERE id = ?", (name, model, home.agent.id))

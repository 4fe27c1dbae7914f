"""An agent with something of everything in its memory."""

from __future__ import annotations

from pathlib import Path

from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, play, speak


def lived(folder: Path) -> AgentHome:
    """Return an agent that has been told, has found, filed and archived something, and has flushed its queue once."""
    home = agent_home(folder)

    async def scene(listener: Listener) -> None:
        await listener.say("My dog is Rex.")
        manager = listener.kernel.machine.queue_manager
        await manager.evict(len(manager.queue), "A dog was named.", "scripted")
        await listener.say("What is my dog called?")
        await listener.say("A mistake.")
        await home.operator(listener.kernel).undo()

    archive = ScriptedCall("archival_memory_insert", {"content": "Rex is a dog.", "request_heartbeat": True})
    search = call("conversation_search", {"query": "dog", "request_heartbeat": True})
    dig = call("archival_memory_search", {"query": "dog", "request_heartbeat": True})
    script = [append("Dog: Rex"), ScriptedReply(calls=(archive,)), speak("Noted."), search, dig, speak("Rex.")]
    play(home.kernel(ScriptedProcessor([*script, speak("Oh.")])), scene)
    return home

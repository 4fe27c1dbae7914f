"""One call with `tools=` through litellm as it was installed, against a server on this computer.

Guards against releases of litellm that cannot do it at all: 1.106.2 raises ModuleNotFoundError on every such call.
Run with the Python of a clean environment and `tests/` on PYTHONPATH; fails unless the call comes back decoded.
"""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version

from support.fake_openai import Answer, Call, FakeOpenAI, Request

from memos.llm.litellm_road import LitellmRoad
from memos.llm.remote_processor import RemoteProcessor
from memos.messages import Counters, Event, EventKind, FunctionSchema, Message, Prompt, Reply, SpeechDelta, utc_now

WORDS = "A tool call came through."
SEND_MESSAGE = FunctionSchema(
    "send_message",
    "Say something to the person.",
    {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
)


def prompt() -> Prompt:
    """Return the smallest main context that offers a function."""
    event = Event(EventKind.USER_MESSAGE, "Call send_message.")
    question = Message(
        role="user",
        content=event.text,
        agent_id="agent",
        turn_id="turn",
        kind=event.kind,
        id=event.id,
        seq=1,
        created_at=event.created_at,
    )
    return Prompt("You call functions.", (SEND_MESSAGE,), (), (question,), Counters(utc_now()))


def answer(request: Request) -> Answer:
    """Call the function that was offered; a request that offers none gets none."""
    offered = [tool["function"]["name"] for tool in request.body.get("tools", [])]
    return Answer(calls=tuple(Call(name, {"message": WORDS}) for name in offered))


async def infer(api_base: str) -> tuple[str, Reply]:
    """Return what was streamed as speech, and the reply."""
    processor = RemoteProcessor("openai/any", LitellmRoad("openai/any", api_base=api_base), api_base=api_base)
    spoken = ""
    reply = Reply()
    async for part in processor.infer(prompt()):
        if isinstance(part, SpeechDelta):
            spoken += part.text
        elif isinstance(part, Reply):
            reply = part
    await processor.aclose()
    return spoken, reply


def main() -> None:
    """Make the call and compare."""
    with FakeOpenAI(script=answer) as server:
        spoken, reply = asyncio.run(infer(server.url))
        assert not server.violations, server.violations
    (call,) = reply.calls
    assert call.name == "send_message", call
    assert json.loads(call.arguments) == {"message": WORDS}, call
    assert spoken == WORDS, spoken
    print(f"litellm {version('litellm')}: {call.name}({call.arguments})")


if __name__ == "__main__":
    main()

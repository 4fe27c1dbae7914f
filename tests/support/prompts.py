"""Prompts as an agent's main context makes them, invented: for measuring how well tokens are counted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from memos.messages import (
    Block,
    Counters,
    EventKind,
    FunctionCall,
    FunctionSchema,
    Message,
    Prompt,
)

BEGAN = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
TOPICS = (
    "the bees in the garden behind the old mill",
    "a train to Lisbon that leaves at 07:45 from platform 3",
    "her grandmother's recipe for plum cake with cinnamon",
    "why the boiler makes that noise whenever somebody showers",
    "the third chapter, which still lacks a convincing ending",
    "an invoice of 1,284.50 EUR from Müller & Söhne GmbH",
    "das Wetter am Wochenende und die Wanderung zum Gipfel",
    "the meeting with Aleksandra about https://example.org/plan?v=2",
    "a list comprehension such as [x ** 2 for x in range(10) if x % 2]",
)
PHRASES = (
    "I have been thinking about {}.",
    "Could you remind me what I said concerning {}?",
    "Please keep a note about {}, for I always forget it.",
    "Nobody else seems to care, but {} matters to me more than I can say right now.",
    "It turned out that {} was not what we had expected at all!",
    "ok, and {}?",
)


def words(chance: random.Random, sentences: int) -> str:
    """Return so many invented sentences."""
    return " ".join(chance.choice(PHRASES).format(chance.choice(TOPICS)) for _ in range(sentences))


def _text_parameter(meaning: str) -> dict[str, str]:
    return {"type": "string", "description": meaning}


def functions(number: int = 8) -> tuple[FunctionSchema, ...]:
    """Return the schemas of `number` functions."""
    names = ("send_message", "core_memory_append", "core_memory_replace", "conversation_search", "archival_insert")
    heartbeat = {"type": "boolean", "description": "Whether you want to act again right after this call."}
    return tuple(
        FunctionSchema(
            names[place] if place < len(names) else f"extra_function_{place}",
            f"Function number {place}: does what its name says with {TOPICS[place % len(TOPICS)]}, and tells you so.",
            {
                "type": "object",
                "properties": {
                    "content": _text_parameter("What it is about, in the words of the user."),
                    "name": {"type": "string", "enum": ["human", "persona"]},
                    "request_heartbeat": heartbeat,
                },
                "required": ["content"],
            },
        )
        for place in range(number)
    )


def _turn(chance: random.Random, number: int) -> Iterator[Message]:
    """Yield the rows of one turn: an event, then steps of one call and its result."""
    at = BEGAN + timedelta(minutes=7 * number)
    zone = {"utc_offset_min": 60}
    text = words(chance, chance.randint(1, 4))
    yield Message("user", text, "a", f"t{number}", kind=EventKind.USER_MESSAGE, payload=zone, created_at=at)
    for step in range(chance.randint(1, 3)):
        call = FunctionCall(f"call_{number}_{step}", chance.choice(functions()).name, _arguments(chance))
        yield Message("assistant", words(chance, 1), "a", f"t{number}", calls=(call,), created_at=at)
        told = words(chance, chance.randint(1, 3)) if chance.random() < 0.4 else "None"
        yield Message(
            "tool", told, "a", f"t{number}", name=call.name, call_id=call.id, ok=True, payload=zone, created_at=at
        )


def _arguments(chance: random.Random) -> str:
    return f'{{"content": "{words(chance, chance.randint(1, 3))}", "request_heartbeat": true}}'


def invented_prompt(seed: int, *, turns: int | None = None, offered: int = 8) -> Prompt:
    """Return a prompt with functions: always the same for a seed."""
    chance = random.Random(seed)
    length = chance.randint(1, 12) if turns is None else turns
    queue = [row for number in range(length) for row in _turn(chance, number)]
    newest = Message("user", words(chance, 2), "a", "new", kind=EventKind.USER_MESSAGE, created_at=BEGAN)
    return Prompt(
        instructions="You are an agent with a memory of your own. " + words(random.Random(7), 40),
        functions=functions(offered),
        blocks=(
            Block("persona", words(chance, chance.randint(1, 6)), 2000),
            Block("human", words(chance, chance.randint(1, 8)), 2000),
        ),
        queue=(*queue, newest),
        counters=Counters(BEGAN, chance.randint(0, 5000), chance.randint(0, 90)),
        summary=words(chance, 5) if chance.random() < 0.5 else "",
    )

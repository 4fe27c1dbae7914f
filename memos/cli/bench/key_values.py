"""Nested keys and values: made by a seeded generator or read from a file, the question, and what counts as solved.

Source: Packer et al. 2023, §3.2.3.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from memos.errors import BadInput
from memos.llm.chain_follower import UUID
from memos.llm.scripted import json_list

LEVELS = range(5)
PAIRS = 140
CHAINS = 6
"""So many chains of every level lie in one archive, each asked for once; the other pairs stand alone."""

_QUESTION = (
    "Your archival memory holds pairs of a key and a value, one pair a passage, written as `Key: …, value: …`. "
    "A value may itself be the key of another pair; then the value of that pair is what counts, which may again be a "
    "key. Search archival memory for the key, then for each value you find, until a search shows no pair with that "
    "key. What is the last value of the key {key}? Answer with that value alone."
)
_SHAPE = '{"kv": [[KEY, VALUE], …], "tasks": [{"level": 0, "key": KEY, "answer": VALUE}, …]}, keys and values UUIDs'


@dataclass(frozen=True, slots=True)
class Task:
    """A key to be asked for; its value is a key `level` times before `answer` comes, which is none."""

    level: int
    key: str
    answer: str

    @property
    def question(self) -> str:
        """What the agent is asked."""
        return _QUESTION.format(key=self.key)

    def is_solved_by(self, said: str) -> bool:
        """Whether the last line that names a value, the asked key aside, names the answer and no other."""
        named = [{value.lower() for value in UUID.findall(line)} - {self.key} for line in said.splitlines()]
        last = next(filter(None, reversed(named)), None)
        return last == {self.answer}


@dataclass(frozen=True, slots=True)
class Archive:
    """What lies in one archival storage, and what is asked of it."""

    pairs: Mapping[str, str]
    tasks: tuple[Task, ...]

    @property
    def passages(self) -> list[str]:
        """The pairs as passages."""
        return [f"Key: {key}, value: {value}" for key, value in self.pairs.items()]


def archives(tasks: int, seed: int) -> list[Archive]:
    """Make as many archives as hold `tasks` tasks of every level; more of them leave the first ones as they are."""
    return [_made(random.Random(f"{seed}:{number}")) for number in range(-(-tasks // CHAINS))]


def _made(rng: random.Random) -> Archive:
    pairs: list[tuple[str, str]] = []
    tasks = []
    for level in [level for level in LEVELS for _ in range(CHAINS)]:
        chain = [_new_uuid(rng) for _ in range(level + 2)]
        pairs += pairwise(chain)
        tasks.append(Task(level, chain[0], chain[-1]))
    pairs += [(_new_uuid(rng), _new_uuid(rng)) for _ in range(PAIRS - len(pairs))]
    rng.shuffle(pairs)
    return Archive(dict(pairs), tuple(tasks))


def _new_uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def archives_from(path: Path) -> list[Archive]:
    """Read archives from a JSON file. Raises: BadInput, also for a task whose answer does not follow from the pairs."""
    entries = json_list(path, "file of tasks")
    return [_read(entry, f"Entry {number} of {path}") for number, entry in enumerate(entries, 1)]


def _read(entry: Any, where: str) -> Archive:
    try:
        listed = [(_checked(key), _checked(value)) for key, value in entry["kv"]]
        tasks = [Task(task["level"], _checked(task["key"]), _checked(task["answer"])) for task in entry["tasks"]]
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{where} has another form.", f"write {_SHAPE}.") from None
    pairs = dict(listed)
    if len(pairs) < len(listed):
        raise BadInput(f"{where} has two values for one key.", "take one of them out.")
    for task in tasks:
        if (task.level, task.answer) != _followed(pairs, task.key):
            raise BadInput(
                f"{where} asks for {task.key}, and the pairs do not lead to that answer on level {task.level}.",
                "correct the task or the pairs.",
            )
    return Archive(pairs, tuple(tasks))


def _checked(value: Any) -> str:
    if not (isinstance(value, str) and UUID.fullmatch(value)):
        raise ValueError("not a UUID")
    return value.lower()


def _followed(pairs: Mapping[str, str], key: str) -> tuple[int, str | None]:
    """Return how often the value of `key` is itself a key, and the last value; None where there is none."""
    value = pairs.get(key)
    for level in range(len(pairs)):
        if value is None or value not in pairs:
            return level, value
        value = pairs[value]
    return len(pairs), None


def chosen(given: Iterable[Archive], level: int, count: int | None) -> list[tuple[Archive, Task]]:
    """Return the first `count` tasks of a level, None for all, each with its archive."""
    of_level = [(archive, task) for archive in given for task in archive.tasks if task.level == level]
    return of_level[:count]

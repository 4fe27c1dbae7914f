"""Invented people, and what they say to an agent: the same for the same seed.

The words lie in `data/`: `names.tsv` (origin, name), `talk.tsv` (kind, sentence) and `attributes.tsv` (attribute, kind
of row, texts). In a phrasing `{}` stands for the value, `{old}` for the value it replaces.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

NAME = "name"
FACTS = 10
"""What each person tells, their name included."""
DOUBLE_SENTENCES = 2
CORRECTIONS = 2
ARCHIVED = 1
"""What each person has put into the archive, beside what they tell."""
UNKNOWN = 5
_NEAR_UNKNOWN = 3
"""So many of the questions about what was never told are near to something that was, where there are so many."""
_JOINERS = (", and ", "; besides, ", ", and by the way, ")


class Kind(StrEnum):
    """What a line is there for."""

    LOGIN = "login"
    GREET = "greet"
    TELL = "tell"
    TALK = "talk"
    CORRECT = "correct"
    ASK = "ask"
    ARCHIVE = "archive"
    ASK_ARCHIVE = "ask_archive"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something people have, with the values it may take and ways to speak of it."""

    key: str
    group: str
    values: tuple[str, ...]
    tell: tuple[str, ...]
    ask: tuple[str, ...]
    correct: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of one attribute; `old` is what it replaces, where it does."""

    attribute: str
    value: str
    old: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing a person does: words to the agent (none at a login), and the facts they are about.

    For a question about what was never told, the one fact has the attribute and no value.
    """

    kind: Kind
    text: str = ""
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """An invented person: what is true of them, and their lines in two sessions."""

    name: str
    english: bool
    told: tuple[Fact, ...]
    first: tuple[Line, ...]
    second: tuple[Line, ...]

    @property
    def lines(self) -> int:
        """How many turns this person takes."""
        return len(self.first) + len(self.second)


def people(count: int, seed: int) -> list[Person]:
    """Return `count` people; at most every second name is an English one."""
    dice = random.Random(seed)
    pools = {origin: dice.sample(found, len(found)) for origin, found in names().items()}
    return [_person(dice, _name(pools, number), english=number % 2 == 1) for number in range(count)]


def _name(pools: dict[str, list[str]], number: int) -> str:
    pool = pools["english" if number % 2 else "other"]
    return pool[(number // 2) % len(pool)]


def _person(dice: random.Random, name: str, *, english: bool) -> Person:
    known = [attribute for attribute in attributes() if attribute.key != NAME]
    dice.shuffle(known)
    chosen, rest = known[: FACTS - 1], known[FACTS - 1 + ARCHIVED :]
    archived = [Fact(each.key, dice.choice(each.values)) for each in known[FACTS - 1 : FACTS - 1 + ARCHIVED]]
    told = [Fact(NAME, name), *(Fact(attribute.key, dice.choice(attribute.values)) for attribute in chosen)]
    corrected = [_another(dice, fact) for fact in dice.sample(told[1:], CORRECTIONS)]
    first = [
        Line(Kind.LOGIN),
        _talk(dice, Kind.GREET),
        *_telling(dice, told),
        *(Line(Kind.ARCHIVE, _archiving(dice, fact), (fact,)) for fact in archived),
        *(_correcting(dice, fact) for fact in corrected),
    ]
    current = [next((new for new in corrected if new.attribute == fact.attribute), fact) for fact in told]
    questions = [_asking(dice, Kind.ASK, fact) for fact in current]
    questions += [_asking(dice, Kind.ASK_ARCHIVE, fact) for fact in archived]
    questions += [_asking(dice, Kind.UNKNOWN, Fact(a.key, "")) for a in _never_told(chosen, rest)]
    dice.shuffle(questions)
    second = [Line(Kind.LOGIN), _talk(dice, Kind.GREET), *questions]
    return Person(name, english, tuple(told), tuple(first), tuple(second))


def _telling(dice: random.Random, told: Sequence[Fact]) -> list[Line]:
    """Return the sentences that tell `told`, the name first, some with two facts, with small talk between."""
    name, *others = told
    lines = [Line(Kind.TELL, _fill(dice.choice(attribute(NAME).tell), name), (name,))]
    for _ in range(DOUBLE_SENTENCES):
        one, two, *others = others
        lines.append(Line(Kind.TELL, _joined(dice, _told(dice, one), _told(dice, two), two.value), (one, two)))
    lines += [Line(Kind.TELL, _told(dice, fact), (fact,)) for fact in others]
    rest = lines[1:]
    dice.shuffle(rest)
    for _ in range(2):
        rest.insert(dice.randrange(1, len(rest)), _talk(dice, Kind.TALK))
    return [lines[0], *rest]


def _told(dice: random.Random, fact: Fact) -> str:
    return _fill(dice.choice(attribute(fact.attribute).tell), fact)


def _archiving(dice: random.Random, fact: Fact) -> str:
    return dice.choice(talk("archive")).replace("{}", _told(dice, fact))


def _joined(dice: random.Random, one: str, two: str, value: str) -> str:
    """Return two statements as one sentence; `value` is that of the second."""
    head = two.split(maxsplit=1)[0].split("'", maxsplit=1)[0]
    stays = head == "I" or two.startswith(value)
    return one.removesuffix(".") + dice.choice(_JOINERS) + (two if stays else two[0].lower() + two[1:])


def _correcting(dice: random.Random, fact: Fact) -> Line:
    return Line(Kind.CORRECT, _fill(dice.choice(attribute(fact.attribute).correct), fact), (fact,))


def _asking(dice: random.Random, kind: Kind, fact: Fact) -> Line:
    return Line(kind, dice.choice(attribute(fact.attribute).ask), (fact,))


def _talk(dice: random.Random, kind: Kind) -> Line:
    return Line(kind, dice.choice(talk("greeting" if kind is Kind.GREET else "small_talk")))


def _another(dice: random.Random, fact: Fact) -> Fact:
    """Return the correction of `fact`: another value of its attribute."""
    others = [value for value in attribute(fact.attribute).values if value != fact.value]
    return Fact(fact.attribute, dice.choice(others), fact.value)


def _never_told(told: Sequence[Attribute], rest: Sequence[Attribute]) -> list[Attribute]:
    """Return what to ask about that was never told, first of all what is near to something told."""
    groups = {attribute.group for attribute in told}
    near = [attribute for attribute in rest if attribute.group in groups][:_NEAR_UNKNOWN]
    return [*near, *(attribute for attribute in rest if attribute not in near)][:UNKNOWN]


def _fill(phrasing: str, fact: Fact) -> str:
    filled = phrasing.replace("{old}", fact.old).replace("{}", fact.value)
    return filled[0].upper() + filled[1:]


# --- the words -----------------------------------------------------------------------------------------------


@functools.cache
def attributes() -> tuple[Attribute, ...]:
    """Return every attribute, the name first."""
    rows: dict[str, dict[str, tuple[str, ...]]] = {}
    for key, kind, *texts in _table("attributes.tsv"):
        rows.setdefault(key, {})[kind] = tuple(texts)
    every_name = tuple(name for found in names().values() for name in found)
    rows[NAME]["values"] = every_name
    return tuple(
        Attribute(key, row["group"][0], row["values"], row["tell"], row["ask"], row.get("correct", ()))
        for key, row in rows.items()
    )


@functools.cache
def attribute(key: str) -> Attribute:
    """Return one attribute."""
    return next(attribute for attribute in attributes() if attribute.key == key)


@functools.cache
def names() -> dict[str, list[str]]:
    """Return the names of people by origin: "english" and "other"."""
    found: dict[str, list[str]] = {}
    for origin, name in _table("names.tsv"):
        found.setdefault(origin, []).append(name)
    return found


@functools.cache
def talk(kind: str) -> tuple[str, ...]:
    """Return sentences that tell nothing, "greeting" or "small_talk", or how the "archive" is asked to keep one."""
    return tuple(text for row_kind, text in _table("talk.tsv") if row_kind == kind)


def _table(name: str) -> list[list[str]]:
    from importlib.resources import files

    text = (files("memos.cli.bench") / "data" / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]

"""Which agent is meant by a command line, and how a new one is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

from memos.config import Places, Portrait, PortraitKind, Settings, load_human, load_persona, nearest_name, read_config
from memos.errors import BadInput
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import SPEECH_FUNCTION, function_names
from memos.llm.catalogue import BUILTIN_MODEL
from memos.memory.archival_storage import ArchivalStorage
from memos.memory.recall_storage import RecallStorage
from memos.memory.working_context import WorkingContext
from memos.messages import Block
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database

CLERK = "clerk"
"""The persona for the built-in model; others converse."""
_USUAL_PERSONA, _SHORT_PERSONA = "sam", "plain"
_BLOCK_SHARE_OF_WINDOW = 5
"""All blocks together take at most one part in so many of the window, but for limits the user named."""
_CHARS_PER_TOKEN = 4
_PERSONA = "Who I am and how I speak. I may refine it as I learn what suits my user."
_HUMAN = "What I know for certain about the person I talk to, one line a fact."
FUNCTION_CLASSES = (ProcessFunctions, WorkingContext, RecallStorage, ArchivalStorage)
"""Where the functions of an agent come from, in the order of its table."""
_NOT_KEPT = frozenset({"persona", "human", "agent", "memory.embedding_api_base", "memory.embedding_api_key_env"})
"""Flags that only matter while an agent is made, and the way to an embedder: the vectors are of all agents."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for; `flags` by dotted setting name, only those that were given."""

    agent_name: str = ""
    new: bool = False
    read_only: bool = False
    take_over: bool = False
    flags: Mapping[str, object] = field(default_factory=dict)
    incognito: bool = False


@dataclass(frozen=True, slots=True)
class Machinery:
    """What outlives a conversation: places, environment, the database."""

    places: Places
    environ: Mapping[str, str]
    database: Database

    @property
    def agents(self) -> Agents:
        """The register of agents."""
        return Agents(self.database)

    def settings(
        self,
        flags: Mapping[str, object],
        agent: Agent | None = None,
        wishes: Mapping[str, str] = MappingProxyType({}),
    ) -> Settings:
        """Return what holds for `agent`, or for one still to be made with these `wishes`. Raises: BadInput.

        An address that was set for the models of one provider is not used for those of another.
        """
        given = read_config(self.places.config_file).given
        of_agent = agent.settings if agent else {}
        settings = Settings.resolve(flags, self.environ, of_agent, given, wishes)
        if settings.origins["api_base"] == "config.toml" != settings.origins["model"]:
            meant_for = str(given.get("model", ""))
        elif settings.origins["api_base"] == "agent" and settings.origins["model"] not in ("agent", "config.toml"):
            meant_for = str(of_agent.get("model", ""))
        else:
            return settings
        if _provider(meant_for) == _provider(settings.config.model):
            return settings
        return Settings.resolve({**flags, "api_base": ""}, self.environ, of_agent, given, wishes)


def find_agent(machinery: Machinery, wish: Wish) -> Agent | None:
    """Return the agent that is meant: the named one, the configured one, or the one used last; None: a new one.

    Raises: AgentNotFound.
    """
    if wish.new:
        return None
    name = wish.agent_name or machinery.settings(wish.flags).config.agent
    if name:
        return machinery.agents.get(name)
    return next(iter(machinery.agents.all()), None)


def settings_of_portraits(machinery: Machinery, wish: Wish, settings: Settings) -> Settings:
    """Return what holds for an agent still to be made where nobody named a model: its persona or human may.

    Raises: BadInput.
    """
    persona, human = _portraits(machinery, settings)
    model = persona.front.model or human.front.model
    if not model:
        return settings
    return machinery.settings(wish.flags, wishes={"model": model, "persona": persona.name})


def create_agent(machinery: Machinery, wish: Wish, settings: Settings) -> Agent:
    """Make a new agent with its persona and human, and keep with it what they and the flags say. Raises: BadInput."""
    config = settings.config
    persona, human = _portraits(machinery, settings)
    kept = {name: value for name, value in wish.flags.items() if name not in _NOT_KEPT}
    if kept.get("memory.embedding") != "none":
        kept.pop("memory.embedding", None)
    if settings.origins["model"] == "persona":
        kept["model"] = config.model
        if fallbacks := persona.front.fallback_models or human.front.fallback_models:
            kept.setdefault("fallback_models", list(fallbacks))
    return machinery.agents.create(
        wish.agent_name or free_name(machinery.agents, persona.name),
        model=config.model,
        persona_name=persona.name,
        human_name=config.human,
        blocks=_blocks(persona, human, settings),
        settings={
            **human.front.params,
            **persona.front.params,
            **_turn_limits(persona, human),
            **_allowed(persona, human),
            **kept,
        },
    )


def check_portrait(portrait: Portrait, kind: PortraitKind, settings: Settings) -> None:
    """Find out whether an agent could be made with a persona or human. Raises: BadInput, as making one would."""
    nobody = Portrait("", "", "", "", own=True, path=portrait.path)
    persona, human = (portrait, nobody) if kind == "personas" else (nobody, portrait)
    _allowed(persona, human)
    _blocks(persona, human, settings)


def _portraits(machinery: Machinery, settings: Settings) -> tuple[Portrait, Portrait]:
    config = settings.config
    human = load_human(machinery.places, config.human)
    if config.persona or config.model == BUILTIN_MODEL:
        return load_persona(machinery.places, config.persona or CLERK), human
    persona = load_persona(machinery.places, _USUAL_PERSONA)
    if len(persona.text) > _usual_limit_chars(settings, blocks=2):
        persona = load_persona(machinery.places, _SHORT_PERSONA)  # nobody asked for one that fills a small window
    return persona, human


def _provider(model: str) -> str:
    return model.partition("/")[0]


def _turn_limits(persona: Portrait, human: Portrait) -> dict[str, int | float]:
    """Return the bounds on a turn by dotted name; where both files name one, the tighter."""
    first, second = persona.front.turn_limits, human.front.turn_limits
    return {name: _tighter(first.get(name), second.get(name)) for name in {**first, **second}}


def _tighter(one: int | float | None, other: int | float | None) -> int | float:
    bounds = [bound for bound in (one, other) if bound]  # 0 sets no bound
    return min(bounds, default=0)


def _allowed(persona: Portrait, human: Portrait) -> dict[str, list[str]]:
    """Return the names of the functions that both files allow; nothing where neither says so. Raises: BadInput."""
    allowed = [set(_matching(p, p.front.functions)) for p in (persona, human) if p.front.functions is not None]
    if not allowed:
        return {}
    names = set.intersection(*allowed) | {SPEECH_FUNCTION}
    return {"functions": [name for name in function_names(*FUNCTION_CLASSES) if name in names]}


def _matching(portrait: Portrait, patterns: Sequence[str]) -> Iterator[str]:
    names = function_names(*FUNCTION_CLASSES)
    for pattern in patterns:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            guess = nearest_name(pattern, names)
            raise BadInput(
                f'{portrait.path}: functions names "{pattern:.80}", and there is no such function.',
                f"{guess} may be meant" if guess else f"there are: {', '.join(names)}",
            )
        yield from found


def _blocks(persona: Portrait, human: Portrait, settings: Settings) -> list[Block]:
    """Return the first blocks of an agent. Raises: BadInput when a label stands in both files or a text is too long."""
    own = [("persona", persona, _PERSONA), ("human", human, _HUMAN)]
    further = [(block, portrait) for portrait in (persona, human) for block in portrait.front.blocks]
    limits = [*(_own_limit(p, settings) for _, p, _ in own), *(block.limit_chars for block, _ in further)]
    usual = _usual_limit_chars(settings, limits.count(None))
    blocks = [
        _block(Block(label, p.text, _own_limit(p, settings) or usual, description, p.front.read_only), p)
        for label, p, description in own
    ]
    for block, portrait in further:
        if block.label.casefold() in {made.label.casefold() for made in blocks}:
            raise BadInput(
                f"{portrait.path}: blocks.label {block.label} stands in {persona.path} too.", "rename one of them"
            )
        made = Block(block.label, block.value, block.limit_chars or usual, block.description, block.read_only)
        blocks.append(_block(made, portrait))
    return blocks


def _block(block: Block, portrait: Portrait) -> Block:
    if len(block.value) > block.limit_chars:
        raise BadInput(
            f"{portrait.path}: the {block.label} has {len(block.value)} characters, and its block takes"
            f" {block.limit_chars}.",
            "shorten that file, or set memory.block_limit_chars higher",
        )
    return block


def _own_limit(portrait: Portrait, settings: Settings) -> int | None:
    """Return what the file says its block may hold, unless a flag or the environment says otherwise."""
    named = settings.origins["memory.block_limit_chars"].startswith(("flag", "environment"))
    return None if named else portrait.front.block_chars


def _usual_limit_chars(settings: Settings, blocks: int) -> int:
    """Return the limit of a block without its own: as wanted, but all of them at most a fifth of a known window."""
    wanted_chars, window_tokens = settings.config.memory.block_limit_chars, settings.config.window_tokens
    if not window_tokens or not blocks:
        return wanted_chars
    return min(wanted_chars, window_tokens * _CHARS_PER_TOKEN // _BLOCK_SHARE_OF_WINDOW // blocks)


def free_name(agents: Agents, wanted: str) -> str:
    """Return that name, or the first of NAME-2, NAME-3, … that no agent has."""
    names = {agent.name.casefold() for agent in agents.all()}
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, len(names) + 3))]
    return next(name for name in candidates if name.casefold() not in names)

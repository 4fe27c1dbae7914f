"""Which agent is meant by a command line, and how a new one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from memos.config import Places, Settings, load_human, load_persona, read_config
from memos.errors import BadInput
from memos.messages import Block
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database

BUILTIN_MODEL = "builtin/tiny"
CLERK = "clerk"
"""The persona for the built-in model; others converse."""
_BLOCK_SHARE_OF_WINDOW = 5
"""Both blocks together take at most one part in so many of the window."""
_CHARS_PER_TOKEN = 4
_BLOCKS = (
    ("persona", "Who I am and how I speak. I may refine it as I learn what suits my user."),
    ("human", "What I know for certain about the person I talk to, one line a fact."),
)
_NOT_KEPT = frozenset({"persona", "human", "agent"})
"""Flags that only matter while an agent is made."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for; `flags` by dotted setting name, only those that were given."""

    agent_name: str = ""
    new: bool = False
    read_only: bool = False
    take_over: bool = False
    flags: Mapping[str, object] = field(default_factory=dict)


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

    def settings(self, flags: Mapping[str, object], agent: Agent | None = None) -> Settings:
        """Return what holds for `agent`, or for one still to be made. Raises: BadInput.

        An address that was set for the models of one provider is not used for those of another.
        """
        given = read_config(self.places.config_file).given
        of_agent = agent.settings if agent else {}
        settings = Settings.resolve(flags, self.environ, of_agent, given)
        if settings.origins["api_base"] == "config.toml" != settings.origins["model"]:
            meant_for = str(given.get("model", ""))
        elif settings.origins["api_base"] == "agent" and settings.origins["model"] not in ("agent", "config.toml"):
            meant_for = str(of_agent.get("model", ""))
        else:
            return settings
        if _provider(meant_for) == _provider(settings.config.model):
            return settings
        return Settings.resolve({**flags, "api_base": ""}, self.environ, of_agent, given)


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


def create_agent(machinery: Machinery, wish: Wish, settings: Settings) -> Agent:
    """Make a new agent with its persona and human; settings given as flags are kept with it. Raises: BadInput."""
    config = settings.config
    persona_name = config.persona or (CLERK if config.model == BUILTIN_MODEL else "sam")
    persona = load_persona(machinery.places, persona_name)
    human = load_human(machinery.places, config.human)
    limit_chars = _limit_chars(config.memory.block_limit_chars, config.window_tokens)
    return machinery.agents.create(
        wish.agent_name or _free_name(machinery.agents, persona_name),
        model=config.model,
        persona_name=persona_name,
        human_name=config.human,
        blocks=[
            _block(label, text, limit_chars, description)
            for (label, description), text in zip(_BLOCKS, (persona.text, human.text), strict=True)
        ],
        settings={name: value for name, value in wish.flags.items() if name not in _NOT_KEPT},
    )


def _provider(model: str) -> str:
    return model.partition("/")[0]


def _block(label: str, text: str, limit_chars: int, description: str) -> Block:
    if len(text) > limit_chars:
        raise BadInput(
            f"The {label} has {len(text)} characters, and its block takes {limit_chars}.",
            "shorten that file, or set memory.block_limit_chars higher",
        )
    return Block(label, text, limit_chars, description)


def _limit_chars(wanted_chars: int, window_tokens: int) -> int:
    """Return the limit of a block: as wanted, but both together at most a fifth of a window that is known."""
    if not window_tokens:
        return wanted_chars
    return min(wanted_chars, window_tokens * _CHARS_PER_TOKEN // _BLOCK_SHARE_OF_WINDOW // len(_BLOCKS))


def _free_name(agents: Agents, wanted: str) -> str:
    names = {agent.name.casefold() for agent in agents.all()}
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, len(names) + 3))]
    return next(name for name in candidates if name.casefold() not in names)

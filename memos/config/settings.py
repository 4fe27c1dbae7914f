"""What holds now, and where each value comes from: flag > environment > agent > config.toml > persona > default."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Self, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from memos.config.config import Config
from memos.errors import BadInput

Value = str | int | float | bool | tuple[str, ...] | None
"""What a setting may be; None is only for a setting that may be unset."""

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set: `name` is dotted, such as `limits.steps`."""

    name: str
    type: type
    default: Value
    optional: bool
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    or_litellm_id: bool = False
    address: bool = False
    sample: Value = None

    @property
    def variable(self) -> str:
        """The environment variable that sets it, such as MEMOS_LIMITS_STEPS."""
        return "MEMOS_" + self.name.replace(".", "_").upper()

    def checked(self, value: object, origin: str) -> Value:
        """Return `value` if it fits; a whole number is also a number. Raises: BadInput."""
        if value is None and self.optional:
            return None
        if self.type is tuple:
            return self._texts(value, origin)
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise self._refused(value, origin)
        if self.at_least is not None and not float(value) >= self.at_least:  # type: ignore[arg-type]
            raise BadInput(f"{self.name} must be {self.at_least:g} or more ({origin}).", self._next_step())
        if self.at_most is not None and not float(value) <= self.at_most:  # type: ignore[arg-type]
            raise BadInput(f"{self.name} must be {self.at_most:g} or less ({origin}).", self._next_step())
        if self.choices and value not in self.choices and not (self.or_litellm_id and _is_litellm_id(str(value))):
            choices = ", ".join(self.choices) + (", or PROVIDER/MODEL" if self.or_litellm_id else "")
            raise BadInput(f"{self.name} must be one of {choices} ({origin}).", self._next_step())
        if self.address and value and not _is_address(str(value)):
            raise BadInput(
                f"{self.name} must be an address such as http://127.0.0.1:8080/v1, not {value!r:.60} ({origin}).",
                f"memos configure --set {self.name}=http://127.0.0.1:8080/v1",
            )
        return value  # type: ignore[return-value]

    def parsed(self, text: str, origin: str) -> Value:
        """Return what `text` says, from an environment variable or `--set`. Raises: BadInput."""
        if self.optional and not text.strip():
            return None
        if self.type is str:
            return self.checked(text, origin)
        if self.type is tuple:
            return self.checked([part.strip() for part in text.split(",")] if text.strip() else [], origin)
        try:
            value = _READERS[self.type](text.strip())
        except ValueError:
            raise self._refused(text, origin) from None
        return self.checked(value, origin)

    def _texts(self, value: object, origin: str) -> tuple[str, ...]:
        """Return a list of texts, each of which says something. Raises: BadInput."""
        if not isinstance(value, list | tuple) or not all(type(text) is str for text in value):
            raise self._refused(value, origin)
        if not all(text.strip() for text in value):
            raise BadInput(f"{self.name} holds an empty text ({origin}).", self._next_step())
        return tuple(value)

    def _refused(self, value: object, origin: str) -> BadInput:
        return BadInput(f"{self.name} must be {_WORDS[self.type]}, not {value!r:.60} ({origin}).", self._next_step())

    def _next_step(self) -> str:
        return f"for example: memos configure --set {self.name}={as_text(self.sample_value)}"

    @property
    def sample_value(self) -> Value:
        """A value it may have: the default, unless that says nothing."""
        return self.sample if self.default is None or self.default == () else self.default


def as_text(value: Value) -> str:
    """Return a value as `--set` and the environment take it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_litellm_id(text: str) -> bool:
    """Whether a text has the form PROVIDER/MODEL, and names no model that runs inside memos."""
    return re.fullmatch(r"(?!builtin/|gguf[:/]|scripted[:/])[\w.-]+/[^\s\x00-\x1f]+", text) is not None


def _truth(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("true", "yes", "on", "1"):
        return True
    if lowered in ("false", "no", "off", "0"):
        return False
    raise ValueError(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_READERS: Mapping[type, Any] = {bool: _truth, int: int, float: _number}
_WORDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
}


def _settings_of(cls: type, prefix: str = "") -> Iterable[Setting]:
    hints = get_type_hints(cls)
    for item in fields(cls):
        hint = hints[item.name]
        if is_dataclass(hint):
            yield from _settings_of(hint, f"{item.name}.")  # type: ignore[arg-type]
            continue
        optional = type(None) in get_args(hint)
        kind = next(t for t in get_args(hint) if t is not type(None)) if optional else hint
        yield Setting(
            name=prefix + item.name,
            type=get_origin(kind) or kind,
            default=item.default,  # type: ignore[arg-type]
            optional=optional,
            at_least=item.metadata.get("at_least"),
            at_most=item.metadata.get("at_most"),
            choices=item.metadata.get("choices", ()),
            or_litellm_id=item.metadata.get("or_litellm_id", False),
            address=item.metadata.get("address", False),
            sample=item.metadata.get("sample"),
        )


SETTINGS: Mapping[str, Setting] = MappingProxyType({setting.name: setting for setting in _settings_of(Config)})
"""Every setting by its dotted name, in the order of the documentation."""


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` was most likely meant to be, or None."""
    import difflib

    folded = {known.casefold(): known for known in names}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def setting(name: str) -> Setting:
    """Return the setting of that dotted name. Raises: BadInput, with the nearest name."""
    if name in SETTINGS:
        return SETTINGS[name]
    if name.replace("-", "_").casefold().rsplit(".", 1)[-1] in ("api_key", "key", "token", "password"):
        raise BadInput(
            "A key is not a setting: config.toml never holds one.",
            "put it into the provider's environment variable, or paste it in memos configure",
        )
    guess = nearest_name(name, SETTINGS)
    raise BadInput(
        f'There is no setting "{name}".', f"{guess} may be meant" if guess else "memos configure --show lists them all"
    )


def parse_assignments(assignments: Iterable[str]) -> dict[str, Value]:
    """Return what `key=value` texts of `--set` say, by dotted name. Raises: BadInput."""
    values: dict[str, Value] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise BadInput(f'"{assignment}" is not of the form key=value.', "for example: --set limits.steps=30")
        values[name.strip()] = setting(name.strip()).parsed(text, "--set")
    return values


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds now: `config` has the values, `origins` where each comes from, by dotted name."""

    config: Config
    origins: Mapping[str, str]
    pasted_key: str = field(default="", repr=False)
    """A key typed a moment ago and stored nowhere yet."""

    @classmethod
    def resolve(
        cls,
        flags: Mapping[str, object],
        environ: Mapping[str, str],
        agent_settings: Mapping[str, object],
        given: Mapping[str, Value],
        wishes: Mapping[str, Value] = MappingProxyType({}),
        *,
        pasted_key: str = "",
    ) -> Self:
        """Put the layers over each other. All mappings but `environ` go by dotted name.

        `given` is what config.toml says (`ConfigFile.given`), `wishes` what the persona of an agent still to be made
        asks for. Flags that are None were not given; names in `agent_settings` that are no settings are left alone,
        for an agent may keep more there.

        Raises: BadInput, naming the value and its origin.
        """
        for name in flags:
            setting(name)
        values: dict[str, Value] = {}
        origins: dict[str, str] = {}
        for name, item in SETTINGS.items():
            values[name], origins[name] = _highest(item, flags, environ, agent_settings, given, wishes)
        return cls(config_of(values), MappingProxyType(origins), pasted_key)

    def value(self, name: str) -> Value:
        """Return the value of a setting by its dotted name. Raises: BadInput when there is none of that name."""
        place: Any = self.config
        for part in setting(name).name.split("."):
            place = getattr(place, part)
        return place  # type: ignore[no-any-return]


def _highest(
    item: Setting,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    agent_settings: Mapping[str, object],
    given: Mapping[str, Value],
    wishes: Mapping[str, Value],
) -> tuple[Value, str]:
    if flags.get(item.name) is not None:
        return item.checked(flags[item.name], "flag"), "flag"
    if environ.get(item.variable, "").strip():
        origin = f"environment {item.variable}"
        return item.parsed(environ[item.variable], origin), origin
    if agent_settings.get(item.name) is not None:
        return item.checked(agent_settings[item.name], "agent"), "agent"
    wished = item.name in wishes
    if item.name in given and not (wished and given[item.name] == ""):  # empty leaves it to the wish
        return item.checked(given[item.name], "config.toml"), "config.toml"
    if wished:
        return item.checked(wishes[item.name], "persona"), "persona"
    return item.default, DEFAULT


def config_of(values: Mapping[str, Value]) -> Config:
    """Return the `Config` with these values by dotted name, and defaults elsewhere."""
    flat = {name: value for name, value in values.items() if "." not in name}
    sections: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        section, dot, key = name.partition(".")
        if dot:
            sections.setdefault(section, {})[key] = value
    hints = get_type_hints(Config)
    return Config(**flat, **{name: hints[name](**section) for name, section in sections.items()})  # type: ignore[arg-type]

"""API keys: environment, then the system's key store, then a 0600 file. Never in config.toml, never shown.

A key belongs to whom it was given: a provider's key from the environment is not sent to another server just because
`api_base` names one. For such a server the key is the one stored under its address, or the one `api_key_env` names.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from memos.config.config_file import write_atomically
from memos.config.places import Places
from memos.config.settings import Settings
from memos.errors import BadInput

_STORE = "memos"


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it comes from; printing it shows the origin only."""

    value: str = field(repr=False)
    origin: str

    def __str__(self) -> str:
        return self.masked

    @property
    def masked(self) -> str:
        """The key made unreadable; of a long one the last three characters stay, to tell it from another."""
        return f"…{self.value[-3:]}" if len(self.value) >= 16 else "…"


def find_key(
    settings: Settings, places: Places, environ: Mapping[str, str], *, provider: str, variables: Sequence[str]
) -> Key | None:
    """Return the key for the model of `settings`, or None.

    `variables` are the provider's usual environment variables, the preferred one first.

    Raises: BadInput when `api_key_env` names a variable that is not set, or keys.toml cannot be read.
    """
    config = settings.config
    if settings.pasted_key:
        return Key(settings.pasted_key, "pasted")
    if config.api_key_env:
        value = environ.get(config.api_key_env, "").strip()
        if value:
            return Key(value, f"environment {config.api_key_env}")
        raise BadInput(
            f"api_key_env names {config.api_key_env}, and that variable is not set.",
            f"export {config.api_key_env}=… or memos configure",
        )
    if not config.api_base:
        for variable in variables:
            if environ.get(variable, "").strip():
                return Key(environ[variable].strip(), f"environment {variable}")
        if not variables:
            return None  # nobody to have a key for: a model in the process, a server of one's own at its usual place
    return stored_key(places, key_name(provider, config.api_base))


def key_name(provider: str, api_base: str) -> str:
    """Return the name a key is stored under: the provider's, or the address of a server of the user's own."""
    return urlsplit(api_base).netloc.rpartition("@")[2].lower() if api_base else provider


def stored_key(places: Places, name: str) -> Key | None:
    """Return the key stored under `name`. Raises: BadInput when keys.toml cannot be read."""
    value = _from_key_store(name)
    if value:
        return Key(value, "key store")
    value = _read(places.keys_file).get(name, "")
    return Key(value, str(places.keys_file)) if value else None


def store_key(places: Places, name: str, value: str) -> str:
    """Store a key in the system's key store, else in keys.toml (0600), and return where it went.

    Raises: BadInput when the text cannot be a key; StorageProblem.
    """
    value = value.strip()
    if not value or not value.isprintable() or any(character.isspace() for character in value):
        raise BadInput("That is not a key: it is empty or has blanks or control characters in it.", "paste it again")
    if _into_key_store(name, value):
        return "the key store"
    keys = {**_read(places.keys_file), name: value}
    # A JSON string is a TOML basic string, but for DEL, which `isprintable` has refused.
    text = "".join(
        f"{json.dumps(k, ensure_ascii=False)} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in keys.items()
    )
    write_atomically(places.keys_file, "# Keys of memos, readable by you alone.\n" + text)
    return str(places.keys_file)


def stored_secrets(places: Places) -> list[str]:
    """Return what keys.toml holds, for taking it out of a text; [] when it cannot be read."""
    try:
        return list(_read(places.keys_file).values())
    except BadInput:
        return []


def _read(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)  # copied about by someone: closed again before it is used
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # its text stays out of the message: it may quote a key
        raise BadInput(f"{path} cannot be read as TOML.", "mend or delete it, then memos configure") from error
    return {name: value for name, value in tables.items() if isinstance(value, str)}


def _from_key_store(name: str) -> str | None:
    try:
        import keyring
    except ImportError:
        return None
    try:
        value: str | None = keyring.get_password(_STORE, name)
    except Exception:  # none on this system, or locked: each backend has errors of its own
        return None
    return value


def _into_key_store(name: str, value: str) -> bool:
    try:
        import keyring
    except ImportError:
        return False
    try:
        keyring.set_password(_STORE, name, value)
        return bool(keyring.get_password(_STORE, name) == value)
    except Exception:  # as above
        return False

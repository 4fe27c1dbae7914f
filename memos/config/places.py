"""Which folder holds what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import memos

PortraitKind = Literal["personas", "humans"]


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one user. Nothing is created by asking for them."""

    config_file: Path
    data: Path
    """memos.db, lance/, and the user's own personas/ and humans/."""
    state: Path
    """locks/, logs/ and the typed history: lost without harm to any memory."""
    cache: Path
    """Weights of models, which can be fetched again."""

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Self:
        """Return the folders: all but the cache below MEMOS_HOME if set, else where the system keeps such files.

        MEMOS_CACHE sets the cache.
        """
        cache = environ.get("MEMOS_CACHE", "").strip()
        home = environ.get("MEMOS_HOME", "").strip()
        if home:
            root = _absolute(home)
            config, data, state = root / "config", root / "data", root / "state"
        else:
            from platformdirs import user_config_path, user_data_path, user_state_path

            config = user_config_path("memos", appauthor=False)
            data = user_data_path("memos", appauthor=False)
            state = user_state_path("memos", appauthor=False)
        return cls(config / "config.toml", data, state, _absolute(cache) if cache else _user_cache())

    @property
    def database(self) -> Path:
        """The one database file."""
        return self.data / "memos.db"

    @property
    def vectors(self) -> Path:
        """The folder of the derived index."""
        return self.data / "lance"

    @property
    def locks(self) -> Path:
        """One lock file per agent."""
        return self.state / "locks"

    @property
    def logs(self) -> Path:
        """Tracebacks of bugs."""
        return self.state / "logs"

    @property
    def log_file(self) -> Path:
        """Where they are written."""
        return self.logs / "memos.log"

    @property
    def drafts(self) -> Path:
        """Texts while they are open in an editor."""
        return self.state / "drafts"

    @property
    def history_file(self) -> Path:
        """What was typed, for the up key."""
        return self.state / "history"

    @property
    def roots(self) -> tuple[Path, ...]:
        """Every folder that memos writes to but the cache, none of them within another."""
        folders = dict.fromkeys((self.config_file.parent, self.data, self.state))
        return tuple(one for one in folders if not any(other in one.parents for other in folders))

    @property
    def keys_file(self) -> Path:
        """Keys, where there is no key store."""
        return self.config_file.with_name("keys.toml")

    def portraits(self, kind: PortraitKind) -> Path:
        """The user's own personas or humans."""
        return self.data / kind


def shipped_folder(kind: PortraitKind) -> Path:
    """Return the folder of personas or humans that come with memos: in the wheel, or in the checkout."""
    package = Path(memos.__file__).resolve().parent
    shipped = package / "_shipped" / kind
    return shipped if shipped.is_dir() else package.parent / kind


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("memos", appauthor=False)

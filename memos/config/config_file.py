"""config.toml: read with its mistakes named, written atomically with the user's comments kept."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from memos.config.config import Config
from memos.config.settings import SETTINGS, Setting, Value, config_of, nearest_name
from memos.errors import BadInput, StorageProblem

if TYPE_CHECKING:
    import ast


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What config.toml says: `given` by dotted name, and `warnings`, one sentence per name that means nothing."""

    given: Mapping[str, Value] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        """The file's values over the defaults."""
        return config_of(self.given)


def read_config(path: Path) -> ConfigFile:
    """Return what the file says; nothing when there is none.

    Raises: BadInput when it cannot be read (naming the line) or holds a value of the wrong type.
    """
    text = _text_of(path)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path} is not valid TOML: {error}.", "mend that line; the file was left as it is") from error
    given: dict[str, Value] = {}
    warnings: list[str] = []
    for name, value in _flat(tables):
        if name in SETTINGS:
            given[name] = SETTINGS[name].checked(value, str(path))
        else:
            warnings.append(_unknown(path, name))
    return ConfigFile(given, tuple(warnings))


def write_config(path: Path, changes: Mapping[str, Value]) -> None:
    """Write `changes` (by dotted name; None takes a setting out) into the file, all else in it kept as it is.

    The file is replaced in one step: a crash leaves the old one or the new one. A link is followed.

    Raises: BadInput when a value does not fit or the present file cannot be read; StorageProblem.
    """
    import tomlkit

    for name, value in changes.items():
        if value is not None:
            SETTINGS[name].checked(value, "given")
    before = read_config(path).given
    document = tomlkit.parse(_text_of(path) or _HEADING)
    for name, value in changes.items():
        if not _change(document, name, value):
            raise _not_changeable(path)
    text = tomlkit.dumps(document)
    expected = {k: v for k, v in {**before, **changes}.items() if v is not None}
    read_back = _flat(tomllib.loads(text))
    written = {
        name: tuple(value) if isinstance(value, list) else value for name, value in read_back if name in SETTINGS
    }
    if written != expected:
        raise _not_changeable(path)
    write_atomically(path, text)


def write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step with `text`, readable by its owner only. Raises: StorageProblem."""
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _not_written(path, error) from error
    with written_whole(path) as file:
        file.write(text.encode())


@contextmanager
def written_whole(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Give a file that takes its place at `path` in one step at the end, whole or not at all; its owner's alone.

    Raises: StorageProblem; BadInput where something is there that is not to be replaced.
    """
    import tempfile

    target = path.resolve()
    try:
        if not replace and target.exists():
            raise FileExistsError
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _put_in_place(name, target, replace=replace)
        finally:
            Path(name).unlink(missing_ok=True)
        _sync_folder(target.parent)
    except FileExistsError as error:
        raise BadInput(f"{path} is there already.", "name another file, or add --force") from error
    except OSError as error:
        raise _not_written(path, error) from error


def _put_in_place(name: str, target: Path, *, replace: bool) -> None:
    """Give a finished file its name. Raises: FileExistsError where it is not to replace one, even one just made."""
    if replace:
        os.replace(name, target)  # noqa: PTH105  # `name` is text from mkstemp
        return
    try:
        os.link(name, target)  # fails where the name is taken
    except FileExistsError:
        raise
    except OSError as error:  # a file system without links
        if target.exists():
            raise FileExistsError from error
        os.replace(name, target)  # noqa: PTH105


def _not_written(path: Path, error: OSError) -> StorageProblem:
    return StorageProblem(
        f"{path} cannot be written: {error.strerror or error}.", "check free space and permissions of that folder"
    )


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no handle on a folder to sync
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_HEADING = """\
# Settings of memos. `memos configure --show` lists every setting with its value and where that comes from.
# Keys do not belong here: they come from the environment, the key store, or keys.toml beside this file.

"""


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}).", "save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}.", "check its permissions") from error


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict) and prefix + key not in SETTINGS:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _unknown(path: Path, name: str) -> str:
    guess = nearest_name(name, SETTINGS)
    meant = f'; "{guess}" may be meant' if guess else ""
    return f'{path}: there is no setting "{name}"{meant}. It is ignored.'


def _not_changeable(path: Path) -> BadInput:
    return BadInput(f"{path} is laid out in a way that cannot be changed safely.", "edit it by hand")


def _change(document: Any, name: str, value: Value) -> bool:
    """Set or take out one setting; False where the file has something else than a table in its section's place."""
    import tomlkit

    section, dot, key = name.rpartition(".")
    if dot and section not in document:
        if value is None:
            return True
        document[section] = tomlkit.table()
    table = document[section] if dot else document
    if not isinstance(table, dict):
        return False
    if value is not None:
        table[key] = list(value) if isinstance(value, tuple) else value
    elif key in table:
        del table[key]
    return True


# --- The example, made from the docstrings --------------------------------------------------------------------


def example() -> str:
    """Return config.example.toml: every setting with its documentation and its default, commented out.

    Made anew with: python -c "from memos.config import example; print(example(), end='')" > config.example.toml
    """
    docs = _docstrings()
    lines = [
        "# Every setting of memos with its default. Copy what you want to change into config.toml",
        "# (`memos configure --show` names its place), or set it: memos configure --set limits.steps=20",
        "# Made from the docstrings in memos/config/config.py.",
    ]
    section = ""
    for name, item in SETTINGS.items():
        table, _, key = name.rpartition(".")
        if table != section:
            section = table
            lines += ["", *_comment(docs[table]), f"[{table}]"]
        lines += ["", *_comment(docs[name]), f"# In the environment: {item.variable}", f"# {key} = {_toml(item)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _toml(item: Setting) -> str:
    value = item.sample if item.default is None else item.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return f'"{value}"' if isinstance(value, str) else str(value)


def _docstrings() -> dict[str, str]:
    """Return the docstring of every setting and section by dotted name, read from the source of config.py."""
    import ast

    source = Path(__file__).with_name("config.py").read_text(encoding="utf-8")
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    docs: dict[str, str] = {}
    for name, node in classes.items():
        prefix = "" if name == "Config" else f"{name.lower()}."
        if prefix:
            docs[prefix[:-1]] = ast.get_docstring(node) or ""
        for statement, following in zip(node.body, node.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _text(following):
                docs[prefix + statement.target.id] = _text(following)
    return docs


def _text(node: ast.stmt) -> str:
    import ast

    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""

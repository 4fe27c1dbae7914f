"""The front matter of personas and humans: YAML, of which nothing is constructed; it is read key by key, by type.

Text without quotes is text as it stands (`no`, `2027-05-01`); numbers, true and false are written without quotes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from memos.config.parameters import SAMPLING
from memos.config.settings import SETTINGS, Value, nearest_name
from memos.errors import BadInput
from memos.safe_text import storable

_KEYS = ("name", "description", "model", "fallback_models", "params", "functions", "limits", "blocks", "read_only")
_TURN_LIMITS = ("steps", "identical_calls", "turn_tokens", "turn_seconds", "turn_usd")
_BLOCK_KEYS = ("label", "description", "value", "limit_chars", "read_only")
_TAKEN_LABELS = ("persona", "human")
_FIRST_LINE = 2
"""Of the front matter, in its file."""

_PLAIN = re.compile(r"(name|description)[ \t]*:[ \t]*(.*)", re.IGNORECASE)
_QUOTED = re.compile(r"""("([^"\\]|\\.)*"|'([^']|'')*')\s*(#.*)?""")
_KEY_OF_A_LINE = re.compile(r"[ \t-]*(\w+)[ \t]*:")
_LABEL = re.compile(r"\w{1,40}")
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,15}")
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(
    _TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "seq", "map")
)
_KINDS = {"scalar": "text", "sequence": "a list", "mapping": "keys with values"}
_QUOTING = "put quotes around a text that holds a colon or begins with a sign, such as [ { * & ! % @ > | #"


@dataclass(frozen=True, slots=True)
class FurtherBlock:
    """A block of working context beside `persona` and `human`; `limit_chars` is None where the file names none."""

    label: str
    value: str = ""
    description: str = ""
    limit_chars: int | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What a persona or human says of an agent that is made with it."""

    name: str = ""
    description: str = ""
    model: str = ""
    """The model of the agent, unless the user names one."""
    fallback_models: tuple[str, ...] = ()
    """Models asked where that one does not answer; they count where it does."""
    params: Mapping[str, Value] = field(default_factory=dict)
    """Sampling parameters by the name of the setting, such as `temperature`."""
    functions: tuple[str, ...] | None = None
    """Names and patterns of the functions the agent may use; None: all."""
    block_chars: int | None = None
    """What the block of this file itself may hold."""
    turn_limits: Mapping[str, int | float] = field(default_factory=dict)
    """By dotted name of the setting, such as `limits.steps`."""
    blocks: tuple[FurtherBlock, ...] = ()
    read_only: bool = False
    """Whether the agent may not edit the block of this file."""


def read_front_matter(head: str, path: Path) -> FrontMatter:
    """Return what stands between the two lines of hyphens of the file at `path`.

    A `name` or `description` of one line is taken as it stands, colons and all, unless it is quoted.

    Raises: BadInput, naming the file, the line, the key and what to do.
    """
    reader = _Reader(path)
    plain, rest = reader.plain_lines(head.split("\n"))
    found = reader.mapping(reader.root(rest), _KEYS, plain)
    limits = (
        reader.mapping(found["limits"], ("block_chars", *_TURN_LIMITS), within="limits.") if "limits" in found else {}
    )
    params = reader.mapping(found["params"], SAMPLING, within="params.") if "params" in found else {}
    texts = {key: plain[key] if key in plain else reader.text(found.get(key), key) for key in ("name", "description")}
    return FrontMatter(
        name=texts["name"],
        description=texts["description"],
        model=reader.text(found.get("model"), "model"),
        fallback_models=reader.texts(found["fallback_models"], "fallback_models", "[ollama_chat/llama3.2]", "model")
        if "fallback_models" in found
        else (),
        params={key: reader.param(node, key) for key, node in params.items()},
        functions=reader.texts(found["functions"], "functions", "[archival_*]", "name")
        if "functions" in found
        else None,
        block_chars=reader.limit(limits.get("block_chars"), "block_chars", "memory.block_limit_chars"),
        turn_limits={
            f"limits.{key}": reader.limit(node, key, f"limits.{key}")
            for key, node in limits.items()
            if key in _TURN_LIMITS
        },
        blocks=reader.blocks(found["blocks"]) if "blocks" in found else (),
        read_only=reader.truth(found.get("read_only"), "read_only"),
    )


class _Reader:
    """Reads the nodes of one file; each of its methods raises BadInput where the file says something else."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def plain_lines(self, lines: list[str]) -> tuple[dict[str, str], list[str]]:
        """Return the keys whose text is taken as it stands, and all lines with those left blank."""
        plain: dict[str, str] = {}
        rest = list(lines)
        for number, line in enumerate(lines):
            match = _PLAIN.fullmatch(line.rstrip())
            if not match or _QUOTED.fullmatch(match[2]) or _goes_on(lines[number + 1 :]):
                continue
            key = match[1].lower()
            if key in plain:
                self._fail(number, f"{key} is given twice", "keep one of them")
            plain[key], rest[number] = match[2], ""
        return plain, rest

    def root(self, lines: Sequence[str]) -> Any:
        """Return the YAML node of these lines, None where nothing stands there."""
        if not any(line.strip() for line in lines):
            return None
        import yaml

        text = "\n".join(lines)
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.reader.ReaderError as error:
            number = text.count("\n", 0, error.position)
            self._fail(number, f"{_key_at(lines, number)} holds a control character", "remove it")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            number = mark.line if mark else 0
            self._fail(number, f"{_key_at(lines, number)} is not valid YAML ({error.problem})", _QUOTING)
        except RecursionError:
            self._fail(0, f"{_key_at(lines, 0)} is nested too deeply", "flatten it")

    def mapping(
        self, node: Any, known: Sequence[str], taken: Mapping[str, str] | None = None, within: str = ""
    ) -> dict[str, Any]:
        """Return the values of a mapping by key, all of them `known`; keys in `taken` stand elsewhere already."""
        if node is None:
            return {}
        if node.id != "mapping" or node.tag not in _TAGS:
            what = f"{within.rstrip('.')} must be" if within else "the front matter must be lines of"
            self._fail(
                node,
                f"{what} keys with values, such as {known[0]}: …",
                "memos help personas has an example",
            )
        values: dict[str, Any] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if key_node.id == "scalar" else ""
            if key not in known:
                guess = nearest_name(key, known)
                hint = f"{within}{guess} may be meant" if guess else f"the known keys are: {', '.join(known)}"
                self._fail(key_node, f"{within}{key[:40] or '…'} is not a key memos knows", hint)
            if key in values or key in (taken or {}):
                self._fail(key_node, f"{within}{key} is given twice", "keep one of them")
            values[key] = value
        return values

    def text(self, node: Any, key: str) -> str:
        """Return a text, '' where there is none."""
        if node is None:
            return ""
        if node.id != "scalar" or node.tag not in _TAGS:
            self._fail(node, f"{key} must be a text, not {_kind(node)}", _QUOTING)
        return storable(node.value).strip()

    def truth(self, node: Any, key: str) -> bool:
        """Return true or false, false where nothing is said."""
        if node is not None and (node.id != "scalar" or node.tag != f"{_TAG}bool"):
            self._fail(node, f"{key} must be true or false, not {_kind(node)}", f"write {key}: true, without quotes")
        return node is not None and node.value.lower() in ("true", "yes", "on")

    def limit(self, node: Any, key: str, like: str) -> Any:
        """Return a limit that keeps the bounds of the setting it is `like`, None where nothing is said."""
        setting = SETTINGS[like]
        return None if node is None else self._number(node, f"limits.{key}", setting.type, setting.at_least or 0)

    def param(self, node: Any, key: str) -> Value:
        """Return a sampling parameter that keeps the bounds of its setting."""
        setting = SETTINGS[key]
        least = float("-inf") if setting.at_least is None else setting.at_least
        is_text = setting.type is str
        value = (
            self.text(node, f"params.{key}") if is_text else self._number(node, f"params.{key}", setting.type, least)
        )
        try:
            return setting.checked(value, "given")
        except BadInput as error:
            self._fail(
                node, f"params.{error.what.removesuffix('.')}", f"write params: {{{key}: {setting.sample_value}}}"
            )

    def texts(self, node: Any, key: str, example: str, what: str) -> tuple[str, ...]:
        """Return a list of texts, such as names and patterns of functions; `what` each of them is."""
        texts = tuple(self.text(item, key) for item in self._items(node, key, example))
        if not all(texts):
            self._fail(node, f"{key} holds an empty {what}", "remove it")
        return texts

    def blocks(self, node: Any) -> tuple[FurtherBlock, ...]:
        """Return the further blocks, each with a label of its own."""
        blocks: list[FurtherBlock] = []
        labels: set[str] = set()
        for item in self._items(node, "blocks", "[{label: project}]"):
            block = self._block(item)
            if block.label.casefold() in labels:
                self._fail(item, f"blocks.label {block.label} is given twice", "choose another label for one of them")
            labels.add(block.label.casefold())
            blocks.append(block)
        return tuple(blocks)

    def _block(self, node: Any) -> FurtherBlock:
        found = self.mapping(node, _BLOCK_KEYS, within="blocks.")
        limit = found.get("limit_chars")
        block = FurtherBlock(
            label=self._label(node, found.get("label")),
            value=self.text(found.get("value"), "blocks.value"),
            description=" ".join(self.text(found.get("description"), "blocks.description").split()),
            limit_chars=None if limit is None else self._number(limit, "blocks.limit_chars", int, 1),
            read_only=self.truth(found.get("read_only"), "blocks.read_only"),
        )
        if block.limit_chars is not None and len(block.value) > block.limit_chars:
            what = f"blocks.value of {block.label} has {len(block.value)} characters, more than its limit_chars"
            self._fail(node, what, f"shorten it, or set limit_chars higher than {block.limit_chars}")
        return block

    def _label(self, block: Any, node: Any) -> str:
        if node is None:
            self._fail(block, "blocks.label is missing", "give each block a label, such as label: project")
        label = unicodedata.normalize("NFC", self.text(node, "blocks.label"))
        if not _LABEL.fullmatch(label):
            self._fail(node, "blocks.label must be 1 to 40 letters, digits or underscores", "choose another label")
        if label.casefold() in _TAKEN_LABELS:
            own = "the text below the front matter is its block"
            self._fail(node, f"blocks.label cannot be {label}, which every agent has", f"choose another label; {own}")
        return label

    def _number(self, node: Any, key: str, kind: type, at_least: float) -> Any:
        words, form = ("a whole number", _WHOLE_NUMBER) if kind is int else ("a number", _NUMBER)
        tags = (f"{_TAG}int", f"{_TAG}float")
        if node.id != "scalar" or node.tag not in tags or not form.fullmatch(node.value):
            self._fail(
                node, f"{key} must be {words}, not {_kind(node)}", f"write it as digits without quotes, {key}: 100"
            )
        if float(node.value) < at_least:
            self._fail(node, f"{key} must be {at_least:g} or more", "set it higher")
        return kind(node.value)

    def _items(self, node: Any, key: str, example: str) -> Iterator[Any]:
        if node.id != "sequence" or node.tag not in _TAGS:
            self._fail(node, f"{key} must be a list, not {_kind(node)}", f"for example {key}: {example}")
        yield from node.value

    def _fail(self, place: Any, what: str, next_step: str) -> NoReturn:
        """Raise BadInput; `place` is a node, or the number of a line of the front matter from 0."""
        number = place if isinstance(place, int) else place.start_mark.line
        raise BadInput(f"{self._path}, line {number + _FIRST_LINE}: {what}.", next_step)


def _goes_on(lines_after: Sequence[str]) -> bool:
    """Whether the value of a key goes on in indented lines below it."""
    following = next((line for line in lines_after if line.strip()), "")
    return following.startswith((" ", "\t"))


def _key_at(lines: Sequence[str], number: int) -> str:
    """Return the key in whose value a line stands."""
    matches = (_KEY_OF_A_LINE.match(line) for line in reversed(lines[: number + 1]))
    return next((match[1][:40] for match in matches if match), "the front matter")


def _kind(node: Any) -> str:
    if node.id != "scalar":
        return _KINDS[node.id]
    return f'"{storable(node.value):.40}"' if node.value else "nothing"

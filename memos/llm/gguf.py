"""What a GGUF file says about the model in it: its architecture, its size, its window. Read without loading it.

Format: magic, version, counts, metadata (name, type, value), tensor descriptions (name, shape, type, offset).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from memos.errors import BadInput
from memos.safe_text import safe_line

Value = str | int | float | bool | None
"""A scalar of the metadata; None stands for an array, which is passed over."""

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_ENTRIES_LIMIT = 1_000_000
_DIMENSIONS_LIMIT = 8


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What is known of a model before it is loaded; 0 where the file does not say."""

    architecture: str
    parameters: int
    """How many weights, as the file declares or as its tensors add up."""
    context_tokens: int
    """The window the model was trained with."""


def read_gguf(path: Path) -> ModelFile:
    """Read the head of a model file. Raises: BadInput when it cannot be read or is no GGUF file of version 2 or 3."""
    try:
        with path.open("rb") as file:
            return _model_file(file, path)
    except OSError as error:
        raise BadInput(
            f"The model file {safe_line(str(path))} cannot be read: {error.strerror or error}.",
            "name an existing file, as in gguf:/path/to/model.gguf",
        ) from error
    except (struct.error, ValueError, KeyError, OverflowError, MemoryError, RecursionError) as error:
        raise _broken(path) from error


def _model_file(file: BinaryIO, path: Path) -> ModelFile:
    if file.read(4) != _MAGIC:
        raise BadInput(f"{safe_line(str(path))} is not a GGUF file.", "name a model in llama.cpp's GGUF format")
    version, tensors, entries = _number(file, "<I"), _number(file, "<Q"), _number(file, "<Q")
    if version not in (2, 3) or max(tensors, entries) > _ENTRIES_LIMIT:
        raise _broken(path)
    metadata = dict(_entry(file) for _ in range(entries))
    architecture = metadata.get("general.architecture")
    declared = metadata.get("general.parameter_count")
    return ModelFile(
        architecture if isinstance(architecture, str) else "",
        declared if isinstance(declared, int) and declared > 0 else sum(_weights(file) for _ in range(tensors)),
        _count(metadata.get(f"{architecture}.context_length")),
    )


def _entry(file: BinaryIO) -> tuple[str, Value]:
    return _string(file), _value(file, _number(file, "<I"))


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _unpacked(file, _SCALARS[kind])
    of, length = _number(file, "<I"), _number(file, "<Q")
    if of in _SCALARS:
        file.seek(struct.calcsize(_SCALARS[of]) * length, 1)
        return None
    pass_over: Callable[[], object] = (lambda: _skip_string(file)) if of == _STRING else (lambda: _value(file, of))
    for _ in range(length):
        pass_over()
    return None


def _weights(file: BinaryIO) -> int:
    """Pass over the description of one tensor and return how many numbers it has."""
    _skip_string(file)
    dimensions = _number(file, "<I")
    if dimensions > _DIMENSIONS_LIMIT:
        raise struct.error("too many dimensions")
    shape = [_number(file, "<Q") for _ in range(dimensions)]
    file.read(12)  # type and offset
    return math.prod(shape)


def _string(file: BinaryIO) -> str:
    length = _number(file, "<Q")
    if length > _ENTRIES_LIMIT:
        raise struct.error("a string beyond all measure")
    return file.read(length).decode("utf-8", "replace")


def _skip_string(file: BinaryIO) -> None:
    length = _number(file, "<Q")
    if length > _ENTRIES_LIMIT:
        raise struct.error("a string beyond all measure")
    if len(file.read(length)) < length:
        raise struct.error("the file ends early")


def _number(file: BinaryIO, form: str) -> int:
    return _count(_unpacked(file, form))


def _unpacked(file: BinaryIO, form: str) -> Value:
    value: Value = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value


def _count(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _broken(path: Path) -> BadInput:
    return BadInput(f"{safe_line(str(path))} is damaged, or of a GGUF version memos does not know.", "fetch it again")

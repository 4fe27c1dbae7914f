"""Image files on disk, made ready to be kept and sent: checked, turned upright, scaled, without their metadata.

The picture is written anew from its pixels, so that nothing else of the file leaves the computer: not where it was
taken (EXIF), not with what. Only Pillow's readers of four formats ever see the bytes.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from memos.errors import BadInput
from memos.messages import Image
from memos.safe_text import safe_line, storable

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

FILE_LIMIT_BYTES = 20_000_000
LONGEST_SIDE_PIXELS = 1_568
"""Anthropic scales longer ones down to this by itself, OpenAI to less: more is paid for by nothing that is seen."""
_MOST_PIXELS = 100_000_000
"""A file of a few kilobytes may claim billions, and would fill the memory."""
_MOST_BYTES_AS_PNG = 1_500_000
"""A photograph is larger than that without loss, and is sent anew with each step."""
_JPEG_QUALITY = 90
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_NAME_LIMIT_CHARS = 80
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
_ANOTHER = "name a PNG, JPEG, GIF or WebP file"


def read_image(path: str | Path) -> Image:
    """Return the picture in a file; the first one of an animation. Blocking, up to a second.

    Raises: BadInput, for whatever is no such file.
    """
    file = Path(path).expanduser()
    raw = _bytes_of(file)
    try:
        pixels, found = _pixels(raw)
    except BadInput as error:
        raise BadInput(f"{_shown(file)} {error.what}", error.next_step) from error.__cause__
    pixels.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
    media_type, data = _encoded(pixels, photograph=raw.startswith(b"\xff\xd8"))
    return Image(
        hash=hashlib.sha256(data).hexdigest(),
        media_type=media_type,
        width=pixels.width,
        height=pixels.height,
        name=_name(file),
        data=data,
        scaled_from=found if found != pixels.size else None,
    )


def _bytes_of(file: Path) -> bytes:
    """Return what a regular file holds, whatever links lead to it. Raises: BadInput."""
    try:
        # A pipe would be waited for, and a device may act on being opened.
        if not stat.S_ISREG(file.stat().st_mode):
            raise BadInput(f"{_shown(file)} is no file but a folder or a device.", _ANOTHER)
        with os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise BadInput(f"{_shown(file)} is no file but a folder or a device.", _ANOTHER)
            raw = opened.read(FILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(f"There is no file {_shown(file)}.", "check the path (Tab completes it)") from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        why = getattr(error, "strerror", None) or "that is no path"
        raise BadInput(f"{_shown(file)} cannot be read: {why}.", "check its path and permissions") from error
    if len(raw) > FILE_LIMIT_BYTES:
        limit = f"{FILE_LIMIT_BYTES // 1_000_000} MB"
        raise BadInput(f"{_shown(file)} is larger than {limit}.", "save it smaller, and attach that")
    return raw


def _pixels(raw: bytes) -> tuple[Pixels, tuple[int, int]]:
    """Return the picture upright, decoded, at least as large as it will be kept, and the size that the file has.

    Raises: BadInput, whose sentence lacks its beginning.
    """
    image_module = _pillow()
    from PIL import ImageOps, UnidentifiedImageError

    try:
        opened = image_module.open(io.BytesIO(raw), formats=_FORMATS)
        size = opened.size
        opened.draft(None, (LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))  # a JPEG need not be decoded in full
        upright: Pixels = ImageOps.exif_transpose(opened)
        turned = opened.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
        return _plain(upright), (size[1], size[0]) if turned else size
    except UnidentifiedImageError as error:
        raise BadInput("is no PNG, JPEG, GIF or WebP image.", "convert it to one of these, and attach that") from error
    except image_module.DecompressionBombError as error:
        limit = f"{_MOST_PIXELS // 1_000_000} million pixels"
        raise BadInput(f"has more than {limit}.", "save it smaller, and attach that") from error
    except Exception as error:  # a broken file makes its reader raise anything
        raise BadInput("is damaged: it cannot be decoded.", "open and save it in another program first") from error


@functools.cache
def _pillow() -> ModuleType:
    """Return Pillow's module, which takes a tenth of a second to load and is needed by nobody without images."""
    from PIL import Image as image_module

    image_module.MAX_IMAGE_PIXELS = _MOST_PIXELS // 2  # it refuses what is larger than twice that, and warns before
    warnings.filterwarnings("ignore", category=image_module.DecompressionBombWarning)
    return image_module


def _plain(pixels: Pixels) -> Pixels:
    """Return the picture in a mode that PNG and JPEG have, and nothing beside its pixels."""
    clear = "A" in pixels.mode or "transparency" in pixels.info
    plain = pixels.convert("RGBA" if clear else "L" if pixels.mode in ("1", "L", "I;16", "I", "F") else "RGB")
    plain.info.clear()
    return plain


def _encoded(pixels: Pixels, *, photograph: bool) -> tuple[str, bytes]:
    """Return media type and bytes: without loss, but for photographs."""
    if not photograph:
        png = _saved(pixels, "PNG", optimize=False)
        if len(png) <= _MOST_BYTES_AS_PNG:
            return "image/png", png
    if pixels.mode == "RGBA":
        white = _pillow().new("RGBA", pixels.size, "white")
        pixels = _pillow().alpha_composite(white, pixels).convert("RGB")
    return "image/jpeg", _saved(pixels, "JPEG", quality=_JPEG_QUALITY)


def _saved(pixels: Pixels, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, kind, **how)
    return buffer.getvalue()


def _shown(file: Path) -> str:
    return safe_line(str(file))


def _name(file: Path) -> str:
    """Return the file's name as it may stand in a message: without its folder, short, on one line."""
    name = " ".join(storable(safe_line(file.name)).split())
    if len(name) <= _NAME_LIMIT_CHARS:
        return name
    return f"{name[: _NAME_LIMIT_CHARS - 12]}…{name[-11:]}"

"""Image files as cameras and screens make them, invented."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

GPS = 0x8825


def picture(path: Path, width: int = 40, height: int = 30, colour: str = "orange", **how: object) -> Path:
    """Write a picture of one colour, in the format of the path's ending, and return its path."""
    Image.new("RGB", (width, height), colour).save(path, **how)
    return path


def noise(path: Path, width: int, height: int, seed: int = 1, **how: object) -> Path:
    """Write a picture that no format makes small."""
    Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height)).save(path, **how)
    return path


def photograph(path: Path, width: int = 60, height: int = 40, orientation: int = 6) -> Path:
    """Write a JPEG with what a phone adds: how it was held, what it is, where it was, a comment."""
    shot = Image.new("RGB", (width, height), "green")
    shot.paste("red", (0, 0, width // 2, height))  # red on the left as it was stored
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = orientation, "PhoneModel 4711"
    exif.get_ifd(GPS).update({1: "N", 2: (47.0, 22.0, 30.0), 3: "E", 4: (8.0, 32.0, 24.0)})
    shot.save(path, "JPEG", quality=95, exif=exif, comment=b"Secret garden")
    return path

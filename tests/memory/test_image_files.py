"""Image files made ready to be sent: upright, scaled, without metadata; what is no image is one sentence."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image as Pillow
from support.pictures import GPS, noise, photograph, picture

from memos.errors import BadInput
from memos.memory import image_files
from memos.memory.image_files import read_image
from memos.messages import Image


def opened(image: Image) -> Pillow.Image:
    return Pillow.open(io.BytesIO(image.data))


@pytest.mark.parametrize(
    ("ending", "media_type"), [("png", "png"), ("jpg", "jpeg"), ("gif", "png"), ("webp", "png")], ids=str
)
def test_the_four_formats_are_read_and_known_by_their_hash(tmp_path: Path, ending: str, media_type: str) -> None:
    image = read_image(picture(tmp_path / f"cat.{ending}", 40, 30))
    assert (image.media_type, image.width, image.height, image.name) == (f"image/{media_type}", 40, 30, f"cat.{ending}")
    assert image.hash == hashlib.sha256(image.data).hexdigest() == read_image(tmp_path / f"cat.{ending}").hash
    assert opened(image).size == (40, 30) and image.scaled_from is None


def test_where_and_with_what_it_was_taken_is_not_kept_and_it_stands_upright(tmp_path: Path) -> None:
    path = photograph(tmp_path / "garden.jpg", 60, 40)
    assert Pillow.open(path).getexif().get_ifd(GPS)
    assert b"PhoneModel" in path.read_bytes() and b"Secret" in path.read_bytes()
    image = read_image(path)
    assert (image.width, image.height) == (40, 60)
    found = opened(image)
    assert not found.getexif() and "exif" not in found.info and "comment" not in found.info
    assert not any(word in image.data for word in (b"PhoneModel", b"Secret", b"Exif"))
    red, green = found.getpixel((20, 5)), found.getpixel((20, 55))  # what was left is at the top now
    assert isinstance(red, tuple) and red[0] > 200 > red[1]
    assert isinstance(green, tuple) and green[1] > green[0]


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_large_picture_is_scaled_down_and_says_from_what(tmp_path: Path, ending: str) -> None:
    image = read_image(picture(tmp_path / f"wide.{ending}", 4_000, 3_000))
    assert (image.width, image.height, image.scaled_from) == (1_568, 1_176, (4_000, 3_000))


def test_a_large_photograph_held_upright_names_its_size_as_it_is_seen(tmp_path: Path) -> None:
    image = read_image(photograph(tmp_path / "tall.jpg", 3_200, 1_600))
    assert (image.width, image.height, image.scaled_from) == (784, 1_568, (1_600, 3_200))


def test_what_no_lossless_format_makes_small_is_sent_as_a_photograph(tmp_path: Path) -> None:
    image = read_image(noise(tmp_path / "noise.png", 900, 900))
    assert image.media_type == "image/jpeg" and len(image.data) < 1_500_000


def test_transparency_is_kept_and_an_animation_shows_its_first_picture(tmp_path: Path) -> None:
    Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert opened(read_image(tmp_path / "clear.png")).getpixel((0, 0)) == (0, 0, 0, 0)
    first, second = Pillow.new("RGB", (8, 8), "red"), Pillow.new("RGB", (8, 8), "blue")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert opened(read_image(tmp_path / "moving.gif")).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_every_kind_of_pixels_becomes_one_that_can_be_sent(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Pillow.new(mode, (5, 4)).save(path)
    assert opened(read_image(path)).mode in ("L", "RGB", "RGBA")


def test_a_name_is_short_and_on_one_line(tmp_path: Path) -> None:
    path = picture(tmp_path / ("a\nb\x1b[2J " + "long " * 40 + "name.png"))
    name = read_image(path).name
    assert len(name) <= 80 and name.isprintable() and name.endswith("name.png")


def refused(path: str | Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_image(path)
    assert caught.value.next_step and "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_read_is_one_sentence_with_a_next_step(tmp_path: Path) -> None:
    assert "There is no file" in refused(tmp_path / "missing.png")
    assert "no file but a folder" in refused(tmp_path)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "cannot be read" in refused(tmp_path / "loop.png")
    assert "no path" in refused("a\0b.png")
    (tmp_path / "notes.png").write_text("just words")
    assert "no PNG, JPEG, GIF or WebP image" in refused(tmp_path / "notes.png")
    (tmp_path / "empty.png").write_bytes(b"")
    assert "no PNG, JPEG, GIF or WebP image" in refused(tmp_path / "empty.png")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "pipe"])
def test_a_link_to_a_device_or_a_pipe_is_never_read(tmp_path: Path, device: str) -> None:
    if device == "pipe":
        os.mkfifo(tmp_path / "pipe")
        device = str(tmp_path / "pipe")
    (tmp_path / "cat.png").symlink_to(device)
    assert "a folder or a device" in refused(tmp_path / "cat.png")


def test_a_broken_file_is_called_damaged(tmp_path: Path) -> None:
    whole = noise(tmp_path / "whole.png", 50, 50).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in refused(tmp_path / "half.png")


def test_a_format_that_other_programs_know_is_not_tried(tmp_path: Path) -> None:
    Pillow.new("RGB", (4, 4)).save(tmp_path / "old.bmp")
    assert "no PNG, JPEG, GIF or WebP image" in refused(tmp_path / "old.bmp")


def test_too_large_a_file_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(image_files.FILE_LIMIT_BYTES + 1)
    assert "larger than 20 MB" in refused(tmp_path / "huge.png")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_small_file_that_claims_billions_of_pixels_is_not_decoded(tmp_path: Path, side: int) -> None:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = part(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", b"") + part(b"IEND", b""))
    assert "more than 100 million pixels" in refused(tmp_path / "bomb.png")


def test_pillow_is_loaded_for_an_image_alone(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.png")
    code = (
        "import sys, memos.cli.boot, memos.terminal.live_screen, memos.terminal.one_shot\n"
        "from memos.memory.image_files import read_image\n"
        f"assert 'PIL' not in sys.modules\nread_image({str(path)!r})\nassert 'PIL' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

"""Images that messages show, kept by the hash of their bytes: one row for each, however many messages show it.

A message names its images twice: `attachments` are the hashes of those the model still gets as pictures, the payload's
`images` says what each is, for good. So an image can leave the model's window and its message still tells of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from memos.messages import Image, Message, utc_now
from memos.storage.database import Database

IMAGES_KEY = "images"
"""Where the payload of a user's message says what its images are."""


class Attachments:
    """The table of images in one database. Methods block; they are for the disk thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, images: Iterable[Image]) -> None:
        """Store images; one that is there already stays as it is."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO attachments (hash, media_type, width, height, size_bytes, name, created_at,"
                " bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        image.hash,
                        image.media_type,
                        image.width,
                        image.height,
                        len(image.data),
                        image.name,
                        utc_now().isoformat(),
                        image.data,
                    )
                    for image in images
                ],
            )

    def load(self, hashes: Iterable[str]) -> dict[str, Image]:
        """Return the images of these hashes, as far as they are there."""
        rows = self._database.query(
            "SELECT hash, media_type, width, height, name, bytes FROM attachments"
            " WHERE hash IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(set(hashes))),),
        )
        return {
            row["hash"]: Image(
                row["hash"], row["media_type"], row["width"], row["height"], row["name"], bytes(row["bytes"])
            )
            for row in rows
        }


def images_payload(images: Iterable[Image]) -> dict[str, Any]:
    """Return what the payload of a message that shows these images holds of them; empty where there are none."""
    told = [{"hash": image.hash, "name": image.name, "width": image.width, "height": image.height} for image in images]
    return {IMAGES_KEY: told} if told else {}


def attached(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hashes of the images that a payload names."""
    return tuple(str(entry["hash"]) for entry in payload.get(IMAGES_KEY, ()))


def image_names(message: Message) -> list[str]:
    """Return what each image of a message is, such as `cat.png, 800x600`."""
    return [f"{told['name']}, {told['width']}x{told['height']}" for told in message.payload.get(IMAGES_KEY, ())]


def words_and_images(message: Message) -> str:
    """Return a message's words, and its images in words."""
    return " ".join(filter(None, [message.content, *(f"[image {name}]" for name in image_names(message))]))

"""Images that the person shows: from paths to an event, and to the one line that tells of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memos.messages import Event, EventKind, Image
from memos.safe_text import safe_line, storable
from memos.storage.attachments import images_payload

if TYPE_CHECKING:
    from memos.kernel.kernel import Kernel

MOST_IMAGES = 8
"""Of one message; more would fill most windows."""


async def showing(kernel: Kernel, words: str, paths: Sequence[str]) -> tuple[Event, list[str]]:
    """Return the user's message with its images, which are kept then, and a line on each. Raises: BadInput."""
    from memos.errors import BadInput

    if len(paths) > MOST_IMAGES:
        raise BadInput(f"A message shows at most {MOST_IMAGES} images, not {len(paths)}.", "send them in several.")
    images = await kernel.attach(paths)
    event = Event(EventKind.USER_MESSAGE, storable(words), images_payload(images))
    return event, [image_line(image) for image in images]


def image_line(image: Image) -> str:
    """Return one line on an image: its name, what it is, how large, and what it costs."""
    from memos.llm.image_tokens import image_tokens

    kind = image.media_type.partition("/")[2].upper()
    was = f", scaled down from {image.scaled_from[0]}x{image.scaled_from[1]}" if image.scaled_from else ""
    size = f"{max(1, round(len(image.data) / 1000)):,} kB"
    name = safe_line(image.name)
    return f"image {name}: {image.width}x{image.height} {kind}, {size}, about {image_tokens(image):,} tokens{was}"

"""What a picture costs a model in tokens: an estimate from its size at first, then what its server counts for it.

Every provider counts in a way of its own: Anthropic a token for 750 pixels, OpenAI 85 and 170 more for each tile of 512
pixels a side, the older open models the same for every picture. The estimate is the most of these; where a server
counts otherwise (OpenAI's smallest models report dozens of times as many), the first answers tell.
"""

from __future__ import annotations

import json
import math

from memos.messages import Image

_PIXELS_PER_TOKEN = 750
_TILE_PIXELS = 512
_TILES_BASE, _TOKENS_PER_TILE = 85, 170
_LEAST_TOKENS = 580
"""LLaVA 1.5 and what was made after it count 576 for the smallest picture."""
_BOUNDS = (0.02, 60.0)
_KEPT = 8
_UNKNOWN_LEAST = 0.5
"""At least this share of the estimate is taken to be the pictures' where nothing was learned of them."""
NAME = "images"
"""The name under which it is kept, beside the tokenizers' scales."""


def image_tokens(image: Image) -> int:
    """Return how many tokens a picture costs at most, by the common ways to count."""
    tiles = math.ceil(image.width / _TILE_PIXELS) * math.ceil(image.height / _TILE_PIXELS)
    by_area = math.ceil(image.width * image.height / _PIXELS_PER_TOKEN)
    return max(by_area, _TILES_BASE + _TOKENS_PER_TILE * tiles, _LEAST_TOKENS)


class ImageScale:
    """How one model counts pictures, as a factor on the estimate: the largest that its latest answers showed."""

    def __init__(self) -> None:
        self._seen: list[float] = []

    @classmethod
    def from_json(cls, text: str) -> ImageScale:
        """Return what `as_json` wrote; a scale that knows nothing where the text is of another form."""
        scale = cls()
        try:
            seen = [float(share) for share in json.loads(text)]
        except (ValueError, TypeError, RecursionError):
            return scale
        scale._seen = [share for share in seen if _BOUNDS[0] <= share <= _BOUNDS[1]][-_KEPT:]
        return scale

    def as_json(self) -> str:
        """Return what was learned as text."""
        return json.dumps([round(share, 4) for share in self._seen])

    @property
    def factor(self) -> float:
        """What the estimate is multiplied by."""
        return max(self._seen, default=1.0)

    @property
    def least(self) -> float:
        """What the factor is at least, as far as is known."""
        return min(self._seen, default=_UNKNOWN_LEAST)

    def learn(self, estimated: int, counted: float) -> bool:
        """Learn that pictures of that estimate counted for so many tokens; return whether that could be."""
        share = counted / estimated
        if not 0 < share <= _BOUNDS[1]:
            return False
        self._seen = [*self._seen, max(share, _BOUNDS[0])][-_KEPT:]
        return True

"""What a sentence is about and what it wants, read from the embedder's token states by a small trained layer.

The sentence embedder knows words; it does not know that "Who pays my wages?" and "I signed with Hofmann Optik" are
about the same thing, nor that one asks and the other tells. One more transformer layer over its token states (128
wide, 0.3M parameters, 0.5 MB) does. It was trained on sentences written for it, about 170 things people tell of
themselves in English and 12 in each of 15 other languages (`tests/benchmarks/train_meaning.py`, with the data).
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

TokenStates = Callable[[Sequence[str]], "list[Array]"]
"""The embedder's states of each text's tokens, shape (tokens, 384) float32, in the order of the texts."""

TALK, GREETING, FACT, ARCHIVE = "talk", "greeting", "fact", "archive"
CORRECTION, DELETION = "correction", "deletion"
QUESTION, EVERYTHING, PAST = "question", "everything", "past"
KINDS = (TALK, GREETING, FACT, ARCHIVE, CORRECTION, DELETION, QUESTION, EVERYTHING, PAST)
"""What a user may want with a sentence."""

LEAD, FRAGMENT = "lead", "fragment"
LABELS = (*KINDS, LEAD, FRAGMENT)
"""Those, a remark that only announces what follows ("Wrong town!"), and a piece that is no sentence by itself."""

_WEIGHTS = "data/meaning.npz"
_HEADS = 4
_LIMIT_CHARS = 400
_BATCH_TEXTS = 8
_REMEMBERED_TEXTS = 2048  # 4 MB: the lines of a block and their pieces


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one text."""

    topic: Array
    """What it is about, (128,) of unit length: near to the topic of what asks, tells or corrects the same."""
    sense: Array
    """The embedder's own vector of the text, (384,) of unit length."""
    labels: Mapping[str, float]
    """The log probability of each of LABELS."""


class Meaning:
    """Reads texts, and remembers the last couple of thousand. For one thread at a time."""

    def __init__(self, token_states: TokenStates) -> None:
        self._token_states = token_states
        self._known: OrderedDict[str, Reading] = OrderedDict()

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what each text says. Raises: EmbeddingProblem."""
        wanted = [" ".join(text.split())[:_LIMIT_CHARS] for text in texts]
        missing = [text for text in dict.fromkeys(wanted) if text not in self._known]
        # In small batches: an embedder's working memory grows with the largest batch it ever saw, and stays so.
        for start in range(0, len(missing), _BATCH_TEXTS):
            batch = missing[start : start + _BATCH_TEXTS]
            self._known.update(zip(batch, map(_layer().reading, self._token_states(batch)), strict=True))
        found = [self._known[text] for text in wanted]
        for text in wanted:
            self._known.move_to_end(text)
        while len(self._known) > _REMEMBERED_TEXTS:
            self._known.popitem(last=False)
        return found

    def labels(self, text: str) -> Mapping[str, float]:
        """Return the log probability of each of LABELS for one sentence."""
        return self.read([text])[0].labels

    def topics(self, text: str, others: Sequence[str]) -> list[float]:
        """Return how much each of `others` is about what `text` is about, from -1 to 1."""
        one, *many = self.read([text, *others])
        return [float(other.topic @ one.topic) for other in many]

    def similarity(self, text: str, others: Sequence[str]) -> list[float]:
        """Return the embedder's own cosine of `text` to each of `others`, from -1 to 1."""
        one, *many = self.read([text, *others])
        return [float(other.sense @ one.sense) for other in many]


def pieces(words: str) -> list[str]:
    """Return a line's clauses and overlapping pieces: a line of several facts is near to each of them."""
    clauses = [clause.strip() for clause in re.split(r"[,;:，、]\s*", words)]
    found = [clause for clause in clauses if len(clause.split()) > 1] if len(clauses) > 1 else []
    parts = words.split()
    for size in (4, 7):
        last = len(parts) - size
        if last > 1:
            found += [" ".join(parts[start : start + size]) for start in {*range(0, last, 2), last}]
    return list(dict.fromkeys(found))


@functools.cache
def _layer() -> _Layer:
    from importlib.resources import as_file, files

    import numpy as np

    with as_file(files("memos.llm").joinpath(_WEIGHTS)) as path, np.load(path, allow_pickle=False) as stored:
        return _Layer({name: stored[name].astype(np.float32) for name in stored.files})


class _Layer:
    """The trained layer: attention and feed-forward over token states, pooled twice, once for each thing it tells."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._w = weights

    def reading(self, states: Array) -> Reading:
        """Read one text, `states` (tokens, 384)."""
        import numpy as np

        sense = _unit(states.mean(axis=0))
        hidden = self._hidden(states)
        topic = self._pooled(hidden, "topic") @ self._w["topic.out"].T + sense @ self._w["topic.skip"].T
        scores = self._linear(self._pooled(hidden, "label"), "label.out") + sense @ self._w["label.skip"].T
        logs = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
        return Reading(_unit(topic), sense, dict(zip(LABELS, map(float, logs), strict=True)))

    def _hidden(self, states: Array) -> Array:
        x = self._linear(states, "in")
        x = x + self._attention(self._normed(x, "norm1"))
        inner: Any = self._linear(self._normed(x, "norm2"), "feed.in").clip(min=0)
        return x + self._linear(inner, "feed.out")

    def _attention(self, x: Array) -> Array:
        import numpy as np

        tokens, width = x.shape
        joint = self._linear(x, "attention.in").reshape(tokens, 3, _HEADS, width // _HEADS)
        query, key, value = joint.transpose(1, 2, 0, 3)
        weights = _softmax(query @ key.transpose(0, 2, 1) / np.sqrt(width // _HEADS))
        mixed = (weights @ value).transpose(1, 0, 2).reshape(tokens, width)
        return self._linear(mixed, "attention.out")

    def _pooled(self, hidden: Array, name: str) -> Array:
        pooled: Array = _softmax(self._linear(hidden, f"{name}.pool")[:, 0]) @ hidden
        return pooled

    def _linear(self, x: Array, name: str) -> Array:
        result: Array = x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]
        return result

    def _normed(self, x: Array, name: str) -> Array:
        import numpy as np

        spread = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        normed: Array = (x - x.mean(axis=1, keepdims=True)) / spread
        return normed * self._w[f"{name}.weight"] + self._w[f"{name}.bias"]


def _softmax(x: Array) -> Array:
    import numpy as np

    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def _unit(vector: Array) -> Array:
    import numpy as np

    result: Array = (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
    return result

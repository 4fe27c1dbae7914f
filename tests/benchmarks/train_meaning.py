"""Train the layer of `memos/llm/meaning.py` anew: `pip install torch`, then `python tests/benchmarks/train_meaning.py`.

Not a test. Reads `meaning/attributes.tsv` (key, kind, texts: things people tell of themselves, how they tell them, ask
for them, correct them and have them forgotten) and `meaning/labels.tsv` (label, sentence), all written for this; no
sentence of `memos bench agent` is among them. Topics are learned by telling what belongs together apart from all the
rest of a batch, labels by plain classification, both at once; the embedder stays as it is. 15 minutes on two cores;
writes `memos/llm/data/meaning.npz` (float16).
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from memos.llm.meaning import LABELS
from memos.memory.embedders import MiniLmEmbedder
from memos.memory.index import builtin_embedder

HERE = Path(__file__).parent / "meaning"
OUT = Path(__file__).parents[2] / "memos" / "llm" / "data" / "meaning.npz"
WIDTH, HEADS, SKIP_WEIGHT, SCALE = 192, 4, 4.0, 20.0
JOINTS = (", and ", " and ", "; ", ", and by the way, ", " and also ", ", but ", ", ")
Attributes = dict[str, dict[str, list[str]]]
Labelled = list[tuple[str, str]]


class Layer(nn.Module):
    """One transformer layer over token states; `topic` and `label` are pooled by attention, with a way around it."""

    def __init__(self, drop: float = 0.15) -> None:
        super().__init__()
        self.into = nn.Linear(384, WIDTH)
        self.drop = nn.Dropout(drop)
        self.level = nn.Parameter(torch.tensor(0.5))  # of nearness, from which on two texts are about the same
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, drop, batch_first=True, norm_first=True)
        self.topic_pool, self.label_pool = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 1)
        self.topic_out, self.topic_skip = nn.Linear(WIDTH, 128, bias=False), nn.Linear(384, 128, bias=False)
        self.label_out, self.label_skip = nn.Linear(WIDTH, len(LABELS)), nn.Linear(384, len(LABELS), bias=False)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return topics (n, 128) of unit length and scores of the labels."""
        there = mask.unsqueeze(-1).float()
        sense = self.drop(functional.normalize((states * there).sum(1) / there.sum(1), dim=-1))
        hidden = self.layer(self.into(self.drop(states)), src_key_padding_mask=~mask)

        def pooled(pool: nn.Linear) -> torch.Tensor:
            weights = pool(hidden).squeeze(-1).masked_fill(~mask, -1e9).softmax(-1)
            return self.drop((weights.unsqueeze(-1) * hidden).sum(1))

        topics = functional.normalize(self.topic_out(pooled(self.topic_pool)) + self.topic_skip(sense), dim=-1)
        return topics, self.label_out(pooled(self.label_pool)) + SKIP_WEIGHT * self.label_skip(sense)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights under the names that `meaning.py` reads."""
        found = {name: value.numpy() for name, value in self.state_dict().items()}
        names = {
            "into": "in", "layer.self_attn.out_proj": "attention.out", "layer.linear1": "feed.in",
            "layer.linear2": "feed.out", "layer.norm1": "norm1", "layer.norm2": "norm2", "topic_pool": "topic.pool",
            "label_pool": "label.pool", "label_out": "label.out",
        }  # fmt: skip
        arrays = {f"{new}.{part}": found[f"{old}.{part}"] for old, new in names.items() for part in ("weight", "bias")}
        for part in ("weight", "bias"):
            arrays[f"attention.in.{part}"] = found[f"layer.self_attn.in_proj_{part}"]
        arrays["topic.out"], arrays["topic.skip"] = found["topic_out.weight"], found["topic_skip.weight"]
        arrays["label.skip"] = SKIP_WEIGHT * found["label_skip.weight"]
        return {name: value.astype(np.float16) for name, value in arrays.items()}


# --- the sentences -------------------------------------------------------------------------------------------


def attributes() -> Attributes:
    """Return what people tell of themselves: key -> kind -> texts."""
    found: Attributes = defaultdict(dict)
    for line in (HERE / "attributes.tsv").read_text("utf-8").splitlines():
        key, kind, *texts = line.split("\t")
        found[key][kind] = texts
    return dict(found)


def groups(known: Attributes) -> list[list[int]]:
    """Return places of keys that belong together (one person's or thing's, or one language): the hard ones to tell."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(known):
        head = key.partition("_")[0]
        found[f"{head} {place // 8}" if head in ("k1", "k2") else head].append(place)
    return list(found.values())


def filled(dice: random.Random, phrasing: str, values: list[str] | None) -> str:
    """Return a phrasing with values in it."""
    if not values:
        return phrasing
    value, old = dice.sample(values, 2)
    text = phrasing.replace("{old}", old).replace("{}", value)
    return text[0].upper() + text[1:]


def typed(dice: random.Random, text: str) -> str:
    """Return a text as people type it, now and then without its last sign or its capitals."""
    luck = dice.random()
    text = text.rstrip(" .!?") if luck < 0.25 else text
    return text.lower() if luck < 0.12 else text


def labelled(dice: random.Random, known: Attributes) -> Labelled:
    """Return sentences with their labels, among them two facts in one, and pieces that are no sentence."""
    rows: Labelled = []
    for kinds in known.values():
        rows += [("fact", typed(dice, filled(dice, text, kinds.get("values")))) for text in kinds["tell"]]
        rows += [("correction", typed(dice, filled(dice, text, kinds.get("values")))) for text in kinds["correct"]]
        rows += [("question", typed(dice, text)) for text in kinds["ask"]]
        rows += [("deletion", typed(dice, text)) for text in kinds["forget"]]
    rows += [tuple(line.split("\t")) for line in (HERE / "labels.tsv").read_text("utf-8").splitlines()]
    statements = [
        filled(dice, text, kinds.get("values")).rstrip(".!") for kinds in known.values() for text in kinds["tell"]
    ]
    for _ in range(700):
        one, two = dice.sample(statements, 2)
        two = two if two.startswith(("I ", "I'")) else two[0].lower() + two[1:]
        rows.append(("fact", typed(dice, one + dice.choice(JOINTS) + two)))
    for text in dice.sample(statements, 1200):
        words = text.split()
        if len(words) > 3:
            rows.append(("fragment", " ".join(words[dice.randrange(1, len(words) - 1) :])))
    for kinds in known.values():
        if values := kinds.get("values"):
            heads = [text.split("{}")[0].strip(" ,") for text in kinds["tell"]]
            rows += [("fragment", head) for head in heads[:4] if len(head.split()) > 1]
            rows += [("fragment", dice.choice(values)), ("fragment", " and ".join(dice.sample(values, 2)))]
    return rows


# --- training ------------------------------------------------------------------------------------------------


class States:
    """The embedder's token states of many texts, in memory: the first 40 tokens of each, as float16."""

    def __init__(self, embedder: MiniLmEmbedder, texts: list[str]) -> None:
        self._states = torch.zeros(len(texts), 40, 384, dtype=torch.float16)
        self._lengths = torch.zeros(len(texts), dtype=torch.long)
        for start in range(0, len(texts), 64):
            for place, state in enumerate(embedder.token_states(texts[start : start + 64]), start):
                self._lengths[place] = min(len(state), 40)
                self._states[place, : self._lengths[place]] = torch.from_numpy(state[:40].astype(np.float16))

    def batch(self, places: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return states (n, tokens, 384) padded, and which of them are there."""
        wanted = torch.tensor(places)
        lengths = self._lengths[wanted]
        longest = int(lengths.max())
        return self._states[wanted, :longest].float(), torch.arange(longest)[None] < lengths[:, None]


def train(epochs: int, steps: int, batch_topics: int, seed: int) -> Layer:
    """Return a trained layer."""
    torch.manual_seed(seed)
    dice, known, texts = random.Random(seed), attributes(), list[str]()

    def places(more: list[str]) -> range:
        texts.extend(more)
        return range(len(texts) - len(more), len(texts))

    said, asked = [], []
    for kinds in known.values():
        phrasings = 3 * (kinds["tell"] + kinds["correct"])
        said.append(places([typed(dice, filled(dice, text, kinds.get("values"))) for text in phrasings]))
        asked.append(places([typed(dice, text) for text in 2 * (kinds["ask"] + kinds["forget"])]))
    by_label: dict[str, list[int]] = defaultdict(list)
    for label, text in labelled(dice, known):
        by_label[label] += places([text])
    states, together = States(builtin_embedder(), texts), groups(known)
    layer = Layer()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1.5e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        losses = np.zeros(2)
        for _ in range(steps):
            dice.shuffle(together)
            topics = [place for group in together for place in group][:batch_topics]
            one = [dice.choice(asked[topic] if dice.random() < 0.7 else said[topic]) for topic in topics]
            other = [dice.choice(said[topic]) for topic in topics]
            labels = [n for n, label in enumerate(LABELS) for _ in range(36 if label in ("fact", "question") else 14)]
            marked = [dice.choice(by_label[LABELS[n]]) for n in labels]
            vectors, scores = layer(*states.batch([*one, *other, *marked]))
            near = SCALE * vectors[:batch_topics] @ vectors[batch_topics : 2 * batch_topics].T
            here = torch.arange(batch_topics)
            topic_loss = (functional.cross_entropy(near, here) + functional.cross_entropy(near.T, here)) / 2
            # The first loss only ranks; this one gives the same nearness the same meaning whatever is asked.
            sign = 2 * torch.eye(batch_topics) - 1
            level_loss = -functional.logsigmoid(sign * (near - SCALE * layer.level)).sum() / batch_topics
            label_loss = functional.cross_entropy(
                scores[2 * batch_topics :], torch.tensor(labels), label_smoothing=0.05
            )
            optimizer.zero_grad()
            (topic_loss + 0.1 * level_loss + 0.5 * label_loss).backward()
            optimizer.step()
            schedule.step()
            losses += topic_loss.item(), label_loss.item()
        print(f"epoch {epoch + 1}: topics {losses[0] / steps:.3f}, labels {losses[1] / steps:.3f}", flush=True)
    return layer.eval()


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--topics", type=int, default=200, help="how many topics are told apart at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    layer = train(options.epochs, options.steps, options.topics, options.seed)
    options.out.parent.mkdir(exist_ok=True)
    np.savez_compressed(options.out, **layer.arrays())
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

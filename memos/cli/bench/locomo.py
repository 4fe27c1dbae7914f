"""`memos bench locomo2jsonl`: LoCoMo's own JSON as the two files that `memos bench retrieval` reads.

Every turn is a message, what a shared picture shows in brackets behind its words; the first speaker is the user. The
questions are those of categories 1 to 4: what category 5 asks was never said.

Source: Maharana et al. 2024, "Evaluating Very Long-Term Conversational Memory of LLM Agents".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from memos.cli.printing import print_text
from memos.errors import BadInput, StorageProblem
from memos.llm.scripted import json_list

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D\d+:\d+")
_TIME = "%I:%M %p on %d %B, %Y"


def locomo_to_jsonl(file: str, *, messages: str, queries: str) -> int:
    """Write both files and say what is in them. Raises: BadInput, StorageProblem."""
    path = Path(file).expanduser()
    said, asked = [], []
    for number, sample in enumerate(json_list(path, "LoCoMo file"), 1):
        try:
            said += list(_messages(sample))
            asked += list(_queries(sample))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(
                f"Entry {number} of {path} is no conversation of LoCoMo ({type(error).__name__}: {error}).",
                "give locomo10.json as it was published, or a part of its list",
            ) from None
    _write(Path(messages).expanduser(), said)
    _write(Path(queries).expanduser(), asked)
    print_text(f"{len(said):,} messages are in {messages}, {len(asked):,} queries in {queries}.")
    return 0


def _messages(sample: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    conversation = sample["conversation"]
    sessions = sorted(int(found[1]) for key in conversation if (found := _SESSION.fullmatch(key)))
    for session in sessions:
        at = datetime.strptime(conversation[f"session_{session}_date_time"], _TIME)  # local time wherever it is read
        for turn in conversation[f"session_{session}"]:
            caption = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            yield {
                "conversation": sample["sample_id"],
                "id": turn["dia_id"],
                "session": str(session),
                "role": "user" if turn["speaker"] == conversation["speaker_a"] else "assistant",
                "name": turn["speaker"],
                "created_at": at.isoformat(),
                "content": turn["text"] + caption,
            }


def _queries(sample: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for question in sample["qa"]:
        if question["category"] in CATEGORIES:
            yield {
                "conversation": sample["sample_id"],
                "query": question["question"],
                "gold": [turn for evidence in question.get("evidence", ()) for turn in _TURN.findall(evidence)],
                "category": CATEGORIES[question["category"]],
            }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise StorageProblem(f"{path} cannot be written: {error.strerror}.", "give another path") from error

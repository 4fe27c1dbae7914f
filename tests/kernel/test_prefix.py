"""Two requests of an agent begin alike, for as long as nothing was edited or flushed between them."""

import itertools
from pathlib import Path

import pytest
from support.prefixes import EDITS, pieces, prompts_of_a_life, reuse_of

from memos.llm.chat_messages import event_packet
from memos.messages import EventKind, Prompt


def common_beginning(prompt: Prompt) -> list[str]:
    """Return what the next request must begin with: all of this one but what only its newest event carries."""
    *before, newest = pieces(prompt)
    if prompt.profile == "small":  # the blocks stand beside the newest event, before its words
        return [*before, "<user> "]
    packet = event_packet(prompt.queue[-1]).removesuffix("}")
    assert newest.startswith(f"<user> {packet}, ")
    return [*before, f"<user> {packet}"]


def begins_with(prompt: Prompt, beginning: list[str]) -> bool:
    *whole, last = beginning
    found = pieces(prompt)
    return found[: len(whole)] == whole and found[len(whole)].startswith(last)


@pytest.mark.parametrize(("window_tokens", "profile"), [(16_384, "full"), (4_096, "small")])
def test_a_life_of_200_turns_changes_its_prefix_by_edits_and_flushes_only(
    tmp_path: Path, window_tokens: int, profile: str
) -> None:
    prompts = prompts_of_a_life(tmp_path, window_tokens)
    assert {prompt.profile for prompt in prompts} == {profile}
    kinds = {row.kind for prompt in prompts for row in prompt.queue}
    assert kinds >= {EventKind.USER_MESSAGE, EventKind.HEARTBEAT, EventKind.MEMORY_PRESSURE}
    edits = flushes = 0
    for earlier, later in itertools.pairwise(prompts):
        edited, flushed = earlier.blocks != later.blocks, earlier.summary != later.summary
        edits, flushes = edits + edited, flushes + flushed
        assert flushed or later.queue[: len(earlier.queue)] == earlier.queue
        if not flushed and (profile == "small" or not edited):
            assert begins_with(later, common_beginning(earlier))
        assert pieces(later)[0] == pieces(earlier)[0] and later.instructions == earlier.instructions
    assert edits == EDITS and flushes >= 3
    lost = reuse_of(prompts).points_lost
    assert -0.1 < lost <= 3.0  # below 0 by no more than tokens that straddle two parts

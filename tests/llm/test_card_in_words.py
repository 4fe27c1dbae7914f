"""A capability card as a person reads it."""

from __future__ import annotations

from dataclasses import replace

from memos.llm.capability_card import CapabilityCard, FormatName, origin, rows


def test_where_a_card_comes_from_is_told_by_the_clock_of_this_computer() -> None:
    card = CapabilityCard(seen_at="2026-11-24T15:40:00+00:00")
    assert origin(card).startswith("from real turns, last changed 2026-11-2")
    assert origin(replace(card, probed=True)).startswith("from a probe, ")
    assert origin(CapabilityCard()) == "from real turns"


def test_what_is_unknown_is_a_question_mark() -> None:
    words = dict(rows(CapabilityCard(images=False).after(FormatName.NATIVE, "obeyed")))
    assert words["calls, native"] == "obeyed" and words["images"] == "no" and words["several calls in a reply"] == "?"

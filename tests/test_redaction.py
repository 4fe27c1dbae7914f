"""Secrets are taken out of a text by their shape or their value, and nothing else is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.redaction import Redaction

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret", "kind"),
    [
        ("use sk-ant-api03-abcDEF_1234567 please", "sk-ant-api03-abcDEF_1234567", "API key"),
        ("gsk_abcdefghijklmnop", "gsk_abcdefghijklmnop", "API key"),
        ("AIzaSyA1234567890abcdef", "AIzaSyA1234567890abcdef", "API key"),
        ("id AKIAABCDEFGHIJKLMNOP.", "AKIAABCDEFGHIJKLMNOP", "API key"),
        ("hf_AbCdEfGhIjKlMnOp1", "hf_AbCdEfGhIjKlMnOp1", "API key"),
        ("github_pat_11AAAAAAA0aaaaaaaaaaaa", "github_pat_11AAAAAAA0aaaaaaaaaaaa", "API key"),
        ("xoxb-123456789012-abcdef", "xoxb-123456789012-abcdef", "API key"),
        ("Authorization: Bearer abc123def456", "abc123def456", "token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.sig-1", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.sig-1", "token"),
        (f"here: {PRIVATE} end", "b3BlbnNzaC1rZXk", "private key"),
        (PRIVATE[:60], "b3BlbnNzaC", "private key"),
        ("postgres://ana:hunter2@db.example/x", "hunter2", "password in an address"),
        ("https://x.example/?key=abcdef&q=1", "abcdef", "key in a parameter"),
        ("password=hunter2", "hunter2", "key in a parameter"),
        ('the header is "Authorization: Bearer abc123def456"', "abc123def456", "token"),
    ],
)
def test_a_secret_is_known_by_its_shape(text: str, secret: str, kind: str) -> None:
    redaction = Redaction(environ={})
    safe = redaction.text(text)
    assert secret not in safe and "[key]" in safe
    assert dict(redaction.counts) == {kind: 1}
    assert Redaction(environ={}).text(json.dumps(text)) == json.dumps(safe)  # within a call's arguments too
    again = Redaction(environ={})
    assert again.text(safe) == safe and not again.counts


@pytest.mark.parametrize(
    "text",
    [
        "the task is risky, ask again",
        "sk-learn and sk-learning, pk-nothing",
        "from huggingface_hub import hf_hub_download",
        "the bearer of good news",
        "http://localhost:8080/v1 and ana@example.org",
        "https://example.org/a?monkey=3",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "AKIA is a prefix",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    redaction = Redaction(environ={})
    assert redaction.text(text) == text
    assert redaction.told() == ""


def test_secrets_are_known_by_their_value_but_not_short_ones_nor_paths(tmp_path: Path) -> None:
    environ = {"MY_TOKEN": "hemlock-attic", "KEY_FILE": str(tmp_path), "A_SECRET": "short", "OTHER": "plain words"}
    redaction = Redaction(["rosebud-cellar"], environ)
    text = f"hemlock-attic rosebud-cellar {tmp_path} short plain words hemlock-attic"
    assert redaction.text(text) == f"[key] [key] {tmp_path} short plain words [key]"
    assert redaction.told() == "3 known keys"


def test_values_are_redacted_where_json_holds_text() -> None:
    redaction = Redaction(environ={})
    value = {"sk-abc123456": ["sk-abc123456", 1, None, {"x": "password=y"}], "n": 2.5}
    assert redaction.value(value) == {"sk-abc123456": ["[key]", 1, None, {"x": "password=[key]"}], "n": 2.5}
    assert redaction.told() == "1 API key, 1 key in a parameter"


@pytest.mark.parametrize(
    "piece",
    [
        "sk-",
        "eyJ-",
        "-eyJaaaaaaaaaaaa",
        '-----BEGIN PRIVATE KEY-----"',
        "://a:",
        "://",
        "Bearer ",
        "ghp_",
        "token=",
        "xoxb-",
    ],
)
def test_a_hostile_text_is_read_in_good_time(piece: str) -> None:
    began = time.monotonic()
    Redaction(environ={}).text(piece * (200_000 // len(piece)))
    assert time.monotonic() - began < 5


@given(st.text())
def test_twice_is_as_once(text: str) -> None:
    once = Redaction(environ={}).text(text)
    assert Redaction(environ={}).text(once) == once

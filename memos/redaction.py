"""Secrets in a text: keys, tokens and passwords by their known shapes, and those that are known by their value.

What somebody only tells in words ("my password is rosebud") has no shape, and stays.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

REDACTED = "[key]"
"""What stands in the place of a secret."""

_NAME_OF_A_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SHORTEST_CHARS = 8  # a shorter one would tear ordinary words apart
_NOT_YET = r"(?!\[key\])"

# Every repetition before a part that may be missing is bounded: a hostile text must not cost the square of its length.
_SHAPES: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    (
        "private key",
        ("PRIVATE KEY-----",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
            r"(?:.{0,10000}?-----END [A-Z ]{0,40}PRIVATE KEY-----|(?:[A-Za-z0-9+/=\s:,.\-]|\\[nr])*)",
            re.DOTALL,
        ),
    ),
    (
        "password in an address",
        ("://",),
        re.compile(rf"(?<=://){_NOT_YET}[^/\s@'\"<>\\]{{1,200}}:[^/\s@'\"<>\\]{{1,200}}(?=@)"),
    ),
    (
        "API key",
        ("sk", "pk", "rk", "xai", "hf", "r8", "nvapi", "pplx", "tgp", "fw"),  # gsk and csk end in sk
        re.compile(
            r"\b(?:sk|pk|gsk|rk|xai|hf|r8|nvapi|pplx|tgp|csk|fw)[-_](?=[A-Za-z0-9_*.\-]{0,80}[0-9*A-Z])[A-Za-z0-9_*.\-]{6,}"
        ),
    ),
    ("API key", ("gsk_",), re.compile(r"\bgsk_[A-Za-z0-9]{12,}")),
    ("API key", ("AIza",), re.compile(r"\bAIza[A-Za-z0-9_\-]{10,}")),
    ("API key", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}")),
    (
        "API key",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "npm_", "pypi-"),
        re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|npm_|pypi-)[A-Za-z0-9_\-]{16,}"),
    ),
    ("API key", ("xox",), re.compile(r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}")),
    ("token", ("eyJ",), re.compile(r"\beyJ[A-Za-z0-9_\-]{10,2000}\.[A-Za-z0-9_\-]{10,8000}\.[A-Za-z0-9_\-]*")),
    ("token", ("earer ",), re.compile(r"(?<=[Bb]earer )(?=[^\s'\"\\]*[0-9_*])[^\s'\"\\]{8,}")),
    (
        "key in a parameter",
        ("key=", "api-key: ", "token=", "password=", "secret="),
        re.compile(
            rf"(?:(?<=[?&]key=)|(?<=api_key=)|(?<=api-key: )|(?<=token=)|(?<=password=)|(?<=secret=)){_NOT_YET}"
            r"[^&\s'\"\\]+"
        ),
    ),
)
_KNOWN = "known key"


class Redaction:
    """Takes secrets out of texts. `counts` says how many so far, by kind."""

    def __init__(self, known: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        secrets = {*known, *(value for name, value in environ.items() if _NAME_OF_A_SECRET.search(name))}
        self._known = sorted((secret for secret in secrets if _is_secret(secret)), key=len, reverse=True)
        self.counts: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """Return `text` with each secret replaced; what is no secret stays as it is, character by character."""
        for secret in self._known:
            if found := text.count(secret):
                self.counts[_KNOWN] += found
                text = text.replace(secret, REDACTED)
        for kind, hints, shape in _SHAPES:
            if any(hint in text for hint in hints):
                text, found = shape.subn(REDACTED, text)
                self.counts.update({kind: found} if found else {})
        return text

    def value(self, value: Any) -> Any:
        """Return what JSON can hold with each of its texts redacted; the names of its fields stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {name: self.value(item) for name, item in value.items()}
        return value

    def told(self) -> str:
        """Return how many there were, such as `2 API keys, 1 private key`; empty where there were none."""
        return ", ".join(f"{count:,} {_plural(kind, count)}" for kind, count in sorted(self.counts.items()))


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without anything that looks like a key, without `secrets`, and without keys of the environment."""
    return Redaction(secrets).text(text)


def _is_secret(value: str) -> bool:
    """Whether a value can be one: a variable such as SSH_KEY_FILE names a path instead."""
    if len(value) < _SHORTEST_CHARS:
        return False
    try:
        return not (value.startswith(("/", "~")) and Path(value).expanduser().exists())
    except (OSError, ValueError, RuntimeError):
        return True


def _plural(kind: str, count: int) -> str:
    first, _, rest = kind.partition(" in ")
    return kind if count == 1 else f"{first}s{' in ' + rest if rest else ''}"

"""Where the built-in clerk answers: one sentence on a better model that is at hand, once.

Nothing is contacted for it: keys are looked for in the environment, programs on the path, weights on the disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress

from memos.config import Places
from memos.llm.catalogue import SMALL_MODEL
from memos.terminal.finds import providers_at_hand


def told_once(places: Places, environ: Mapping[str, str]) -> str:
    """Return what is at hand, and take note that it was told; '' where the same was told before."""
    found = at_hand(places, environ)
    told = places.state / "told_better_model"
    with suppress(OSError, UnicodeDecodeError):
        if told.read_text(encoding="utf-8") == found:
            return ""
    with suppress(OSError):  # told again the next time, which is no harm
        places.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        told.write_text(found, encoding="utf-8")
        told.chmod(0o600)
    return found


def at_hand(places: Places, environ: Mapping[str, str]) -> str:
    """Return one sentence on the best model that could answer instead, and what to type for it."""
    from memos.llm.weights import SMALL, is_present

    if is_present(places.cache, SMALL):
        return f"A better model is on your disk: /model {SMALL_MODEL}"
    if providers := providers_at_hand(environ):
        provider, variable = providers[0]
        return f"{variable} is set, so {provider.title} is within reach: memos configure"
    if shutil.which("ollama", path=environ.get("PATH", "")):
        return "Ollama is installed here; its models are better talkers: memos configure"
    return f"{SMALL_MODEL} talks better ({SMALL.size_bytes / 1e9:.1f} GB): memos models get {SMALL_MODEL}"

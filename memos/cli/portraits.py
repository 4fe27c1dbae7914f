"""`memos personas` and `memos humans`: files that new agents begin with, made and changed in the user's own editor."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from memos.cli.agent_choice import check_portrait
from memos.cli.printing import note, print_heading, print_json, print_text
from memos.config import Places, PortraitKind, Settings, read_config
from memos.config.config_file import write_atomically
from memos.config.portraits import SIZE_LIMIT_BYTES, own_file, parse_portrait, portrait_file
from memos.errors import BadInput
from memos.storage.agents import as_word

_ONE = {"personas": "persona", "humans": "human"}
_TEMPLATE = """\
---
# A line that begins with # says nothing. All of these may be left out; take the # away to use one.
name: {title}
description: {description}
# model: anthropic/MODEL                 # unless you name one when the agent is made
# fallback_models: [ollama_chat/MODEL]   # asked where that one does not answer
# params: {{temperature: 0.7}}             # max_reply_tokens, top_p, seed, reasoning_effort too
# functions: [core_memory_*, archival_*] # what the agent may use; send_message always
# limits: {{block_chars: 1500, steps: 12}} # identical_calls, turn_tokens, turn_seconds, turn_usd too
# blocks:                                # beside persona and human
#   - {{label: beds, description: what grows where, limit_chars: 800, value: "North: beans"}}
# read_only: true                        # the agent may not edit the text below
---
{text}
"""
_TEXTS = {
    "personas": ("who it is, in one line", "I am {name}. (Say here who I am and how I speak, in my own words.)"),
    "humans": (
        "who this is, in one line",
        "Name: {name}\n(What the agent shall know from the start, one line a fact.)",
    ),
}


def show_portrait(kind: PortraitKind, name: str, *, as_json: bool) -> int:
    """Print where a portrait lies and what stands in it, also where it cannot be used. Raises: BadInput."""
    places = Places.find(os.environ)
    path, text = portrait_file(places, kind, name)
    own, problem = path.parent == places.portraits(kind), ""
    try:
        _Draft(places, kind, name, path).check(text)
    except BadInput as error:
        problem = str(error)
    if as_json:
        print_json({"name": path.stem, "path": str(path), "own": own, "text": text, "problem": problem})
        return 0
    print_heading(f"{path.stem}: {path}" + ("" if own else " (comes with memos)"))
    print_text(text.rstrip("\n"))
    if problem:
        note(f"It cannot be used: {problem}")
    return 0


def new_portrait(kind: PortraitKind, name: str, source: str | None) -> int:
    """Make a portrait of the user's own and return the exit code: 0, or 130 where none was made. Raises: BadInput."""
    places = Places.find(os.environ)
    path = own_file(places, kind, name)
    for there in (path, *_shipped(places, kind, name)):
        if there.exists():
            what = f'There is a {_ONE[kind]} named "{there.stem}" already: {there}.'
            raise BadInput(what, f"memos {kind} edit {as_word(there.stem)}, or choose another name")
    description, text = _TEXTS[kind]
    template = _TEMPLATE.format(title=path.stem, description=description, text=text.format(name=path.stem))
    return _Draft(places, kind, path.stem, path).write(template, source)


def edit_portrait(kind: PortraitKind, name: str, source: str | None) -> int:
    """Change a portrait and return the exit code: 0, or 130 where nothing was changed. Raises: BadInput."""
    places = Places.find(os.environ)
    there, text = portrait_file(places, kind, name)
    path = own_file(places, kind, name)
    if there != path:
        note(f'"{there.stem}" comes with memos: what you change is a copy of your own, which comes first from then on.')
    return _Draft(places, kind, path.stem, path).write(text, source)


def _shipped(places: Places, kind: PortraitKind, name: str) -> list[Path]:
    try:
        return [portrait_file(places, kind, name)[0]]
    except BadInput:
        return []


@dataclass(frozen=True, slots=True)
class _Draft:
    """A portrait on its way to `path`. A text that cannot be used waits among the drafts, and is opened again."""

    places: Places
    kind: PortraitKind
    name: str
    path: Path

    @property
    def waiting(self) -> Path:
        """Where such a text waits."""
        return self.places.drafts / f"{self.kind}-{self.name}.md"

    def check(self, text: str) -> None:
        """Find out whether agents can be made with a text. Raises: BadInput, which says what is wrong where."""
        given = read_config(self.places.config_file).given
        settings = Settings.resolve({}, os.environ, {}, given)
        check_portrait(parse_portrait(text, self.name, self.path), self.kind, settings)

    def write(self, text: str, source: str | None) -> int:
        """Take the new text from `source`, a pipe, or an editor that begins with `text`; keep it if it is good.

        Raises: BadInput, where it is not and nobody can be asked.
        """
        if source is not None or not sys.stdin.isatty():
            return self._keep(_read(source or "-", f"memos {self.kind} new {as_word(self.name)} --from FILE"))
        return self._edit(text)

    def _edit(self, before: str) -> int:
        from memos.terminal.editor import edited

        text = before
        if self.waiting.exists():
            text = self.waiting.read_text(encoding="utf-8")
            note("What you wrote last could not be used, and is opened again.")
        while True:
            text = edited(text, f"{self.name}.md", self.places.drafts)
            if not text.strip() or text.strip() == before.strip():
                self.waiting.unlink(missing_ok=True)
                note("Nothing was changed.")
                return 130
            try:
                return self._keep(text)
            except BadInput as problem:
                write_atomically(self.waiting, text)
                note(f"It cannot be used. {problem}")
                if not _again():
                    step = f"memos {self.kind} {'edit' if self.path.exists() else 'new'} {as_word(self.name)}"
                    note(f"Your text is kept. Next: {step}")
                    return 130

    def _keep(self, text: str) -> int:
        if not text.strip():
            raise BadInput(f"There is no text for the {_ONE[self.kind]}.", f"memos {self.kind} show sam is an example")
        self.check(text)
        changed = self.path.exists()
        write_atomically(self.path, text.rstrip("\n") + "\n")
        self.waiting.unlink(missing_ok=True)
        begin = f"memos run --new --{_ONE[self.kind]} {as_word(self.name)}"
        note(f"{'Changed' if changed else 'Made'}: {self.path}. A new agent begins with it: {begin}")
        note("Agents that there are keep the blocks they have; /memory edit changes one in the chat.")
        return 0


def _again() -> bool:
    sys.stderr.write("Open it again? [Y/n] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().casefold() in ("", "y", "yes")


def _read(source: str, otherwise: str) -> str:
    """Return the text of a file, or of stdin (`-`), a little more than may be used at most. Raises: BadInput."""
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(SIZE_LIMIT_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(SIZE_LIMIT_BYTES + 1)
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is not UTF-8 text (byte {error.start}).", "save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror or error}.", otherwise) from error

"""One message from the shell: what of it is said, and in which shape its reply is printed."""

from __future__ import annotations

import codecs
import contextlib
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from memos.cli.printing import note
from memos.errors import BadInput, StorageProblem
from memos.safe_text import safe_line
from memos.terminal.report import Aside, ReplyText, Report, ending_by

if TYPE_CHECKING:
    from memos.terminal.one_shot import OneMessage

MOST_BYTES = 1_000_000
"""Of all text of one message: far more than any window takes, and little enough to be read and kept at once."""
WAITS_S = 3.0
"""After so long without anything on standard input it is said that it is waited for."""
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")


@dataclass(frozen=True, slots=True)
class Once:
    """What the command line says about one message. `output` is text, json or jsonl, '' where nothing was said.

    `alone`: it was `memos` without a command, which takes what is piped in as the message.
    """

    prompt: str | None = None
    files: Sequence[str] = ()
    images: Sequence[str] = ()
    output: str = ""
    quiet: bool = False
    timeout_s: float | None = None
    alone: bool = False

    def is_wanted(self, stdin: TextIO) -> bool:
        """Return whether one message is said, and not a conversation held."""
        named = self.prompt is not None or bool(self.files or self.images)
        told_how = bool(self.output) or self.quiet or self.timeout_s is not None
        return named or told_how or (self.alone and not stdin.isatty())

    def message(self, stdin: TextIO) -> OneMessage:
        """Return what is said: the prompt, then the files, then what is piped in, a blank line between them.

        Raises: BadInput.
        """
        from memos.terminal.one_shot import OneMessage

        files = [_text_of_file(path) for path in self.files]
        headed = [f"{Path(path).name}:\n{text}" for path, text in zip(self.files, files, strict=True)]
        piped = "" if stdin.isatty() else self._piped(stdin)
        parts = [part for part in (self.prompt or "", *headed, piped) if part.strip()]
        if not parts:
            raise BadInput("There is nothing to say.", "add -p TEXT, or -f FILE, or pipe text in: echo Hello | memos")
        text = "\n\n".join(parts)
        if len(text.encode("utf-8", "replace")) > MOST_BYTES:
            raise BadInput(f"All of it has more than {MOST_BYTES:,} bytes.", "say less at once")
        return OneMessage(text, self.images, typed=parts == [self.prompt])

    @contextmanager
    def reporting(self) -> Iterator[Report]:
        """Yield where the reply goes; whatever goes wrong within the block, it is told there how it ended."""
        report = self._report()
        try:
            yield report
        except BaseException as error:
            if ending := ending_by(error):
                with contextlib.suppress(BrokenPipeError, StorageProblem):  # nobody reads: it is told elsewhere too
                    report.end(ending)
            raise

    def aside(self) -> Aside:
        """Return what tells a person of all else."""
        return Aside(sys.stderr, progress=sys.stderr.isatty(), quiet=self.quiet)

    def note(self, text: str) -> None:
        """Write one sentence to standard error, unless only failures are wanted."""
        if not self.quiet:
            note(text)

    def _report(self) -> Report:
        if self.output in ("", "text"):
            return ReplyText(sys.stdout)
        from memos.terminal.event_lines import EventLines

        return EventLines(sys.stdout, last_only=self.output == "json")

    def _piped(self, stdin: TextIO) -> str:
        """Return what is piped in, '' where that is nothing. Raises: BadInput."""
        if self.prompt is not None or self.files:
            with contextlib.suppress(OSError, ValueError):  # Windows can look at sockets alone
                if not select.select([stdin], [], [], WAITS_S)[0]:
                    self.note("Waiting for standard input. Next: Ctrl-D ends it, and < /dev/null says there is none.")
        return _decoded(_read(stdin.buffer, "Standard input"), "Standard input")


def _text_of_file(path: str) -> str:
    name = safe_line(path)
    try:
        with Path(path).open("rb") as file:
            data = _read(file, name)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(f"{name} cannot be read: {why}.", "look at its name and its permissions") from None
    return _decoded(data, name)


def _read(source: BinaryIO, name: str) -> bytes:
    """Return all bytes of a source. Raises: BadInput where they are too many, OSError."""
    data = source.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadInput(f"{name} has more than {MOST_BYTES:,} bytes.", "say a part of it, as head -c 100000 cuts one")
    return data


def _decoded(data: bytes, name: str) -> str:
    """Return text in UTF-8, or with the mark of UTF-16, without its last line's end. Raises: BadInput."""
    if data.startswith(_IMAGES) or (data[:4], data[8:12]) == (b"RIFF", b"WEBP"):
        raise BadInput(f"{name} is an image.", "show it with --image FILE")
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        raise BadInput(f"{name} is no text in UTF-8.", "convert it, as iconv -f LATIN1 -t UTF-8 does")
    return text.replace("\r\n", "\n").removesuffix("\n")

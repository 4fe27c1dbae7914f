"""Words for the user, decoded from the arguments of `send_message` while the model is still writing them."""

from __future__ import annotations

from memos.llm.growing_json import GrowingJson
from memos.safe_text import StorablePieces


class SpeechDecoder:
    """Follows one call's growing arguments and gives the part of `message` that is new.

    What it gave is at any time a beginning of what the finished arguments say: it holds back whatever the next
    characters may still change, such as half of an escape or of a surrogate pair. It never raises: arguments that are
    not JSON give no words, and the finished call goes to the executor as it is.
    """

    def __init__(self, argument: str = "message") -> None:
        self._said: list[str] = []
        self._path = (argument,)
        self._arguments = GrowingJson()
        self._pieces = StorablePieces()
        self._unread = ""
        self._spoken = False

    @property
    def said(self) -> str:
        """All it gave so far."""
        return "".join(self._said)

    def feed(self, fragment: str) -> str:
        """Take the next piece of raw arguments and return the words that became certain, perhaps none."""
        text, at, words = self._unread + self._pieces.add(fragment), 0, ""
        while True:
            at, told = self._arguments.feed(text, at)
            if told is None:
                break
            if told.kind == "string" and told.path == self._path and not self._spoken:
                words += told.text
                self._spoken = told.ends
        self._unread = "" if self._arguments.wrong or self._arguments.whole else text[at:]
        self._said.append(words)
        return words

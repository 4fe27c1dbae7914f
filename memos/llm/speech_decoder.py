"""Words for the user, decoded from the arguments of `send_message` while the model is still writing them."""

from __future__ import annotations

from memos.safe_text import storable


class SpeechDecoder:
    """Follows one call's growing arguments and gives the part of `message` that is new.

    What it gave is at any time a beginning of what the finished arguments say: it holds back whatever the next
    characters may still change, such as half of an escape or of a surrogate pair. It never raises: arguments that are
    not JSON give no words, and the finished call goes to the executor as it is.
    """

    def __init__(self, argument: str = "message") -> None:
        self.said = ""
        self._argument = argument
        self._raw = ""

    def feed(self, fragment: str) -> str:
        """Take the next piece of raw arguments and return the words that became certain, perhaps none."""
        self._raw += fragment
        message = self._message()
        if message is None or not message.startswith(self.said):
            return ""
        new = message[len(self.said) :]
        self.said = message
        return new

    def _message(self) -> str | None:
        """Return the certain part of the message, or None where there is none."""
        import jiter

        raw = self._raw
        if raw and "\ud800" <= raw[-1] <= "\udbff":
            raw = raw[:-1]  # its other half may come with the next piece
        try:
            value = jiter.from_json(storable(raw).encode(), partial_mode="trailing-strings")
        except ValueError:
            return None
        message = value.get(self._argument) if isinstance(value, dict) else None
        return storable(message) if isinstance(message, str) else None

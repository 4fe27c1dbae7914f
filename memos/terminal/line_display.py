"""The line being typed as it is drawn: what was pasted into it may be anything."""

from __future__ import annotations

from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput

from memos.safe_text import safe_text


class HarmlessLine(Processor):
    """Draws every character that could steer a terminal as a visible one; the line itself keeps it."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Return the fragments of a line, each of the same length as before."""
        return Transformation([(piece[0], safe_text(piece[1])) for piece in transformation_input.fragments])

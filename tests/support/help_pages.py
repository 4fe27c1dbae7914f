"""Pages of `memos help` with a table that is made from the code, between two marks that nobody is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HELP_FOLDER = Path(__file__).parents[2] / "memos" / "help"
_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"


def filled(text: str, table: str) -> str:
    """Return a page with the table as it is now."""
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}"


def write(page: Path, table: str) -> None:
    """Put the table into a page."""
    page.write_text(filled(page.read_text(encoding="utf-8"), table), encoding="utf-8")


def in_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)

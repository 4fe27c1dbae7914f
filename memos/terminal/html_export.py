"""An agent as one HTML file that asks nobody for anything: no script, no link, its images within, all text escaped.

A policy in the file forbids the browser every request and every style but the one whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape

from memos.safe_text import safe_line
from memos.storage.agent_export import AgentSnapshot
from memos.terminal.readable_agent import Entry, Heading, Part, Remark, Text, parts

_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_STYLE = """
:root{color-scheme:light dark;--ink:#1d1d1f;--paper:#fff;--quiet:#6b6b70;--user:#e8f0fe;--agent:#f2f2f4;--line:#d8d8dc}
@media(prefers-color-scheme:dark){
:root{--ink:#e8e8ea;--paper:#161618;--quiet:#98989e;--user:#1f3350;--agent:#26262a;--line:#3a3a3f}}
body{margin:0 auto;max-width:46rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif}
h1,h2{overflow-wrap:anywhere}h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
h3{margin-top:2rem;color:var(--quiet);font-size:1rem;overflow-wrap:anywhere}
.text{white-space:pre-wrap;overflow-wrap:anywhere}.remark,.who{color:var(--quiet);font-size:.85rem}
.entry,.text.kept{margin:.6rem 0;padding:.5rem .8rem;border-radius:.6rem;background:var(--agent)}
.user{background:var(--user);margin-left:12%}.agent{margin-right:12%}
.thought,.event{background:none;font-style:italic;color:var(--quiet)}
.call,.result,.failed{font-size:.85rem;border:1px solid var(--line);background:none}
.call .text,.result .text,.failed .text{font-family:ui-monospace,monospace}
img{display:block;max-width:100%;height:auto;margin-top:.5rem;border-radius:.4rem}
@media print{.entry{break-inside:avoid}}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; img-src data:; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


def html_lines(snapshot: AgentSnapshot, *, with_thoughts: bool) -> Iterator[bytes]:
    """Yield the document piece by piece, in UTF-8."""
    yield (
        f'<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(safe_line(snapshot.name))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    ).encode()
    for part in parts(snapshot, with_thoughts=with_thoughts):
        yield f"{_written(part)}\n".encode()
        if isinstance(part, Entry):
            yield from _images(snapshot, part)
            yield b"</div>\n"
    yield b"</body>\n</html>\n"


def _written(part: Part) -> str:
    """Return a part; the element of an entry stays open, for its images."""
    match part:
        case Heading(level, text):
            return f'<h{level} dir="auto">{escape(text)}</h{level}>'
        case Remark(text):
            return f'<p class="remark">{escape(text)}</p>'
        case Text(text):
            return f'<div class="text kept" dir="auto">{escape(text)}</div>'
        case Entry(kind, who, at, text):
            when = "" if kind == "note" else f" · {at:%H:%M}"
            return (
                f'<div class="entry {kind}"><div class="who" dir="auto">{escape(who)}{when}</div>'
                f'<div class="text" dir="auto">{escape(text)}</div>'
            )


def _images(snapshot: AgentSnapshot, entry: Entry) -> Iterator[bytes]:
    for digest in entry.images:
        image = snapshot.image(digest)
        if image is not None and image.media_type in _PICTURES:
            data = base64.b64encode(image.data)
            size = f'width="{int(image.width)}" height="{int(image.height)}"'
            alt = escape(safe_line(image.name))
            yield f'<img {size} alt="{alt}" src="data:{image.media_type};base64,'.encode() + data + b'">\n'

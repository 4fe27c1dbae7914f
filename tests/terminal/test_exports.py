"""An agent to be read: whatever was said stays text, in Markdown and in HTML, and `/export` writes it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.agent_home import AgentHome
from support.desk import Desk
from support.lived import SAID_BY_HOSTILE_PEOPLE, lived

from memos.errors import BadInput
from memos.messages import utc_now
from memos.safe_text import safe_text
from memos.storage.agent_export import agent_snapshot
from memos.storage.agents import Agents
from memos.terminal.exports import ExportWish, Form, file_name, form_of, pieces

HOSTILE_NAME = "<b>x</b> `#` "
VOID = {"meta", "img"}
KNOWN_TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "img"}

KNOWN_ATTRIBUTES = {"charset", "http-equiv", "content", "name", "class", "dir", "src", "alt", "width", "height"}
PARTS = [
    "Core memory",
    "Summary of what left the queue",
    "Brought in from elsewhere",
    "Conversation",
    "Archival storage",
]


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHome]:
    home = lived(tmp_path_factory.mktemp("lived"))
    Agents(home.database).rename(home.agent, HOSTILE_NAME)
    with home.database.transaction() as connection:
        connection.execute(
            "UPDATE passages SET tags = json_array(?), content = ? WHERE superseded_by IS NULL",
            (SAID_BY_HOSTILE_PEOPLE[1], "\n".join(SAID_BY_HOSTILE_PEOPLE)),
        )
        connection.execute("UPDATE blocks SET value = ?, label = ?||label", (SAID_BY_HOSTILE_PEOPLE[0], "<i>"))
        connection.execute("UPDATE messages SET speaker = ? WHERE origin = 'import'", (SAID_BY_HOSTILE_PEOPLE[1],))
    yield home
    home.database.close()


def written(home: AgentHome, form: Form, *, with_thoughts: bool = False) -> str:
    with agent_snapshot(home.database.path, HOSTILE_NAME.strip()) as snapshot:
        return b"".join(pieces(snapshot, ExportWish(form, with_thoughts=with_thoughts))).decode()


class Reader(HTMLParser):
    """Reads a document as a browser would: its elements, their attributes, its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


@pytest.mark.parametrize("with_thoughts", [False, True])
def test_html_has_our_elements_alone_and_every_word_as_text(sam: AgentHome, with_thoughts: bool) -> None:
    reader = Reader()
    page = written(sam, "html", with_thoughts=with_thoughts)
    reader.feed(page)
    reader.close()
    assert not reader.open
    assert {tag for tag, _ in reader.tags} == KNOWN_TAGS
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "style", "srcset")]
        assert set(attributes) <= KNOWN_ATTRIBUTES
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/")
    for said in SAID_BY_HOSTILE_PEOPLE:
        assert safe_text(said) in reader.text
    assert safe_text(page) == page


def test_html_forbids_itself_every_request_and_its_style_is_the_one_it_allows(sam: AgentHome) -> None:
    page = written(sam, "html")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.replace("&#x27;", "'").split("; ")[:3] == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
    ]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme:dark" in style


def test_html_holds_the_images_to_the_byte(sam: AgentHome) -> None:
    shown = re.findall(r'src="data:image/png;base64,([^"]*)"', written(sam, "html"))
    kept = {bytes(row[0]) for row in sam.database.query("SELECT bytes FROM attachments")}
    assert len(shown) == 3 and {base64.b64decode(data) for data in shown} == kept


def structure(markdown: str) -> tuple[list[str], str]:
    """Return the lines that CommonMark would read as ours, and the text within fences."""
    outside: list[str] = []
    inside = ""
    fence = ""
    for line in re.split(r"\r\n|\n|\r", markdown):
        closing = re.fullmatch(r" {0,3}(`{3,})\s*", line)
        if fence and closing and len(closing[1]) >= len(fence):
            fence = ""
        elif fence:
            inside += line + "\n"
        elif opening := re.match(r" {0,3}(`{3,})text$", line):
            fence = opening[1]
        elif line:
            outside.append(line)
    assert not fence
    return outside, inside


@pytest.mark.parametrize("with_thoughts", [False, True])
def test_no_text_ends_its_fence_in_markdown(sam: AgentHome, with_thoughts: bool) -> None:
    page = written(sam, "markdown", with_thoughts=with_thoughts)
    outside, inside = structure(page)
    for said in SAID_BY_HOSTILE_PEOPLE:
        assert safe_text(said) in inside
    unescaped = [re.sub(r"\\.", "", line) for line in outside]
    assert not [line for line in unescaped if re.search(r"[<>\[\]`|]", line)]
    heads = [line.lstrip("# ") for line in outside if line.startswith("## ")]
    assert heads == PARTS
    assert safe_text(page) == page


def test_what_was_taken_back_is_left_out_and_thoughts_come_when_asked(sam: AgentHome) -> None:
    brief, full = written(sam, "markdown"), written(sam, "markdown", with_thoughts=True)
    for page in (brief, full):
        assert "A slip of the tongue." not in page and "Rex, I am sure." in page and "Rex, I think." not in page
        assert "Rex is a dog.\n```" not in page.partition("## Archival storage")[2]
    for inner in ("I will keep that.", "archival\\_memory\\_insert", "core\\_memory\\_replace: failed"):
        assert inner not in brief and inner in full


def test_days_are_headings_in_order(sam: AgentHome) -> None:
    days = re.findall(r"^### \w+, (\d{4}-\d\d-\d\d)$", written(sam, "markdown"), re.MULTILINE)
    assert days[0].startswith("2020") and len(days) >= 2 and days == sorted(days)


def test_the_form_follows_from_the_name_unless_it_is_named() -> None:
    assert [form_of(None, name) for name in ("", "a.md", "a.HTML", "a.jsonl", "a.txt")] == [
        "jsonl",
        "markdown",
        "html",
        "jsonl",
        "jsonl",
    ]
    assert form_of("md", "a.html") == "markdown"
    with pytest.raises(BadInput, match="no format"):
        form_of("pdf", "")
    assert file_name("../..", "html", utc_now()).startswith("agent-2")


def test_export_in_the_chat_writes_a_file_and_says_where(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.memory.core_memory_append("human", "Key: sk-abcDEF1234567890")
    file = tmp_path / "out" / "my chat.html"
    file.parent.mkdir()
    printed = desk.run(f'/export html "{file}"')
    assert f"Exported sam to {file}: 0 rows of recall storage" in printed and "1 API key" in printed
    assert file.read_text().startswith("<!doctype html>") and "sk-abc" not in file.read_text()
    assert "is there already" in desk.run(f"/export {file}")
    assert "Exported" in desk.run(f"/export {file} --force --no-redact")
    assert "sk-abcDEF1234567890" in file.read_text()
    assert "/export knows no --all" in desk.run("/export --all")


def test_export_works_in_a_session_that_only_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Exported sam to sam-2" in Desk(tmp_path, read_only=True).run("/export md")
    (made,) = tmp_path.glob("sam-*.md")
    assert made.read_text().startswith("# sam\n")

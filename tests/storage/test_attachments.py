"""Images are kept once for each hash, and described in the payload of the messages that show them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from memos.messages import EventKind, Image, Message
from memos.storage.attachments import Attachments, attached, image_names, images_payload, words_and_images
from memos.storage.database import SCHEMA_VERSION, Database

CAT = Image("ab" * 32, "image/png", 800, 600, "cat.png", b"\x89PNG cat")
DOG = Image("cd" * 32, "image/jpeg", 10, 20, "dog.jpg", b"\xff\xd8 dog")


def test_one_row_for_each_hash_and_what_is_missing_is_left_out(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "memos.db")
    store = Attachments(database)
    store.keep([CAT, DOG])
    store.keep([CAT])
    rows = database.query("SELECT hash, name, size_bytes FROM attachments ORDER BY name")
    assert [tuple(row) for row in rows] == [(CAT.hash, "cat.png", 8), (DOG.hash, "dog.jpg", 6)]
    assert store.load([CAT.hash, "ef" * 32]) == {CAT.hash: CAT}
    database.close()


def test_a_message_tells_of_its_images_in_words() -> None:
    payload = images_payload([CAT, DOG])
    message = Message("user", "Who is this?", "a", "t", kind=EventKind.USER_MESSAGE, payload=payload)
    assert attached(payload) == (CAT.hash, DOG.hash)
    assert image_names(message) == ["cat.png, 800x600", "dog.jpg, 10x20"]
    assert words_and_images(message) == "Who is this? [image cat.png, 800x600] [image dog.jpg, 10x20]"
    assert images_payload([]) == {}


def test_a_database_of_schema_3_gets_the_table_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "memos.db"
    with sqlite3.connect(path) as connection:
        for number in (1, 2, 3):
            golden = Path(__file__).parent / "golden" / f"schema-{number}.sql"
            connection.executescript(golden.read_text(encoding="utf-8"))
        connection.execute("PRAGMA user_version = 3")
    database = Database.open(path)
    assert database.query("PRAGMA user_version")[0][0] == SCHEMA_VERSION
    Attachments(database).keep([CAT])
    assert database.query("SELECT count(*) FROM messages")[0][0] == 3
    assert database.query("SELECT note FROM model_notes WHERE topic = 'card'")[0]["note"] == '{"images": true}'
    database.close()

"""The wheel: what it says about itself, what travels in it, and that it works away from the checkout."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def one_file(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name).decode()


def run_away_from_the_checkout(unpacked: Path, code: str, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_wheel_says_who_it_is(wheel: Path) -> None:
    metadata: Message = email.message_from_string(one_file(wheel, ".dist-info/METADATA"))
    assert metadata["Name"] == "memos-chat"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "memos = memos.cli:main" in one_file(wheel, ".dist-info/entry_points.txt")
    assert "Apache License" in one_file(wheel, ".dist-info/licenses/LICENSE")


def test_every_file_of_the_package_travels_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    folders = [CHECKOUT / name for name in ("memos", "personas", "humans")]
    on_disk = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    names = [path.relative_to(CHECKOUT).as_posix() for path in on_disk if path.suffix != ".pyc"]
    expected = {name if name.startswith("memos/") else f"memos/_shipped/{name}" for name in names}
    assert expected <= packed
    assert {"memos/py.typed", "memos/prompts/system.md", "memos/_shipped/personas/clerk.md"} <= packed


def test_only_the_package_travels_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"memos"}


def test_personas_and_humans_are_found_from_an_unpacked_wheel(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import json; from memos.config import shipped_folder\n"
        "print(json.dumps({kind: [str(shipped_folder(kind)), sorted(p.stem for p in shipped_folder(kind).glob('*.md'))]"
        " for kind in ('personas', 'humans')}))"
    )
    found = json.loads(run_away_from_the_checkout(unpacked, code, tmp_path))
    for kind in ("personas", "humans"):
        folder, names = found[kind]
        assert Path(folder).resolve() == (unpacked / "memos" / "_shipped" / kind).resolve()
        assert names == sorted(path.stem for path in (CHECKOUT / kind).glob("*.md"))


def test_the_words_for_the_llm_are_found_from_an_unpacked_wheel(unpacked: Path, tmp_path: Path) -> None:
    code = "from memos.prompts import system_instructions; print(system_instructions('full'))"
    in_the_checkout = (CHECKOUT / "memos" / "prompts" / "system.md").read_text(encoding="utf-8").strip()
    assert run_away_from_the_checkout(unpacked, code, tmp_path).strip() == in_the_checkout

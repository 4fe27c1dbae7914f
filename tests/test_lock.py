"""The lock: within the bounds of pyproject.toml, every file pinned by hash, and no place to fetch from is named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).parents[1]
LOCK = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries() -> list[tuple[Requirement, int]]:
    """Return each pinned requirement with the number of its hashes."""
    lines = "\n".join(line for line in LOCK.splitlines() if not line.startswith("#"))
    logical = [line for line in lines.replace("\\\n", " ").splitlines() if line.strip()]
    return [(Requirement(HASH.sub("", line).strip()), len(HASH.findall(line))) for line in logical]


def pinned(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not pinned"
    return Version(specifier.version)


def direct_dependencies() -> list[Requirement]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def test_every_direct_dependency_is_locked_within_its_bounds() -> None:
    for wanted in direct_dependencies():
        versions = [
            pinned(locked)
            for locked, _ in entries()
            if canonicalize_name(locked.name) == canonicalize_name(wanted.name)
        ]
        assert versions, f"{wanted.name} is missing: run .ci/lock"
        assert all(version in wanted.specifier for version in versions), f"{wanted}: locked {versions}"


def test_every_entry_is_pinned_and_hashed() -> None:
    assert len(entries()) > 50
    for requirement, hashes in entries():
        assert pinned(requirement)
        assert hashes > 0, f"{requirement.name} has no hash"


def test_no_address_option_or_path_stands_in_the_lock() -> None:
    for requirement, _ in entries():
        assert requirement.url is None
    instructions = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert not [line for line in instructions if re.search(r"://|^-|\.whl|@|/", line)]
    assert "://" not in LOCK


def test_the_lock_serves_every_system_and_python() -> None:
    numpy_markers = [str(locked.marker) for locked, _ in entries() if locked.name == "numpy"]
    assert not any("sys_platform == 'linux'" in marker for marker in numpy_markers)
    assert any(locked.marker and "win32" in str(locked.marker) for locked, _ in entries())


def test_the_bad_releases_of_litellm_are_neither_locked_nor_allowed() -> None:
    (wanted,) = [dependency for dependency in direct_dependencies() if dependency.name == "litellm"]
    locked = {str(pinned(entry)) for entry, _ in entries() if entry.name == "litellm"}
    for bad in ("1.82.7", "1.82.8", "1.106.2"):
        assert bad not in wanted.specifier
        assert bad not in locked

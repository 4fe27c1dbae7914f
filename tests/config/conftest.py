"""The tests of settings use folders of their own and never the key store of whoever runs them."""

import os
from pathlib import Path

import pytest

from memos.config import Places

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_CACHE": str(tmp_path / "cache")})

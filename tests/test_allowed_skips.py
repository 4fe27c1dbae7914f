"""The rule about skips can fail: pytest itself is run on a handful of skipping tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SKIPPING = """
import pytest

def test_with_a_listed_reason():
    pytest.skip("needs a POSIX system")

def test_with_no_listed_reason():
    pytest.skip("did not feel like it")

@pytest.mark.skip(reason="later")
def test_marked():
    pass

@pytest.mark.xfail
def test_expected_to_fail():
    assert False
"""


def run_pytest(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "pyproject.toml").write_text((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    support = folder / "tests" / "support"
    support.mkdir(parents=True)
    for name in ("__init__.py", "allowed_skips.py"):
        (support / name).write_bytes((CHECKOUT / "tests" / "support" / name).read_bytes())
    (folder / "tests" / "test_skipping.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # those are CI's own
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_skip_that_is_not_listed_fails_the_run(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, SKIPPING)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "not listed in tests/support/allowed_skips.py: did not feel like it" in run.stdout
    assert "not listed in tests/support/allowed_skips.py: later" in run.stdout
    assert "1 failed, 1 skipped, 1 xfailed, 1 error" in run.stdout


def test_a_module_that_skips_itself_fails_the_run(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, 'import pytest\npytest.importorskip("a_module_nobody_has")\n')
    assert run.returncode == 2, run.stdout + run.stderr
    assert "not listed in tests/support/allowed_skips.py: could not import" in run.stdout

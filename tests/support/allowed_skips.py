"""A pytest plugin: a skip whose reason is not listed here is a failure, so that no test falls asleep unnoticed.

Each reason stands here once, as a regular expression of the whole text. A new line needs a good reason of its own.
"""

from __future__ import annotations

import re
from collections.abc import Generator

import pytest

ALLOWED = (
    r"MEMOS_TEST_GGUF names no larger model",  # a gigabyte that nobody has to have
    r"the evaluation data beside the project is absent.*",  # it is not ours to ship
    r"jq is not installed",  # one documented command pipes into it
    r"needs a device that is always full",  # Linux alone has one
    r"needs a POSIX system",  # pseudo-terminals, signals, file modes
)


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why the test was skipped, as its author wrote it."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def fail_if_unlisted(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip with an unlisted reason into a failure; leave everything else alone."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = skip_reason(report)
    if any(re.fullmatch(allowed, reason, re.DOTALL) for allowed in ALLOWED):
        return
    report.outcome = "failed"
    report.longrepr = f"skipped for a reason that is not listed in tests/support/allowed_skips.py: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at each test's report."""
    report = yield
    fail_if_unlisted(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at each module's report: a module may skip itself as a whole."""
    report = yield
    fail_if_unlisted(report)
    return report

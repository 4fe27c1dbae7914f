"""Starting is cheap: measured in CPU time against a bare Python, so that a slow or busy machine changes nothing."""

import pytest
from benchmarks.bench_startup import BOUNDS, ratios


@pytest.mark.terminal
def test_help_list_and_the_first_prompt_stay_within_their_bounds() -> None:
    found = ratios(runs=7)
    assert {name: ratio for name, ratio in found.items() if ratio > BOUNDS[name]} == {}

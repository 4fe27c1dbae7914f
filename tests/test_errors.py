"""Every error has its sentence, its next step and its exit code, and `memos help errors` shows them all."""

from __future__ import annotations

import inspect
import re

import pytest
from support.errors_page import EXAMPLES, PAGE, WITHIN, concrete_errors, provoked, table
from support.help_pages import filled

from memos import errors
from memos.errors import EXIT_CODES, MemosError, ProcessorError


def test_every_error_that_can_be_raised_has_an_example() -> None:
    assert set(EXAMPLES) == concrete_errors()


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.__name__)
def test_an_example_is_one_sentence_with_a_next_step_and_a_known_code(error: type[MemosError]) -> None:
    for provoke in EXAMPLES[error]:
        code, what, step = provoked(error, provoke)
        assert what.endswith(".") and "\n" not in what and "Traceback" not in what
        assert step or error in WITHIN
        assert code in EXIT_CODES and code != 0
        assert error.exit_code in (code, 1)  # 1: it carries the code of what it stands for


def test_the_help_page_has_these_examples() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, table()) == text, "cd tests && python -m support.errors_page"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    tree = inspect.getdoc(errors) or ""
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if not issubclass(error, MemosError):
            continue
        code = "-" if error in WITHIN else "" if error is ProcessorError else str(error.exit_code)
        assert re.search(rf"{name} +{code}\b" if code.isdigit() else rf"{name} +{code}", tree), name


def test_every_code_of_an_error_has_a_word_and_a_meaning() -> None:
    assert {error.exit_code for error in concrete_errors()} <= set(EXIT_CODES)
    words = [word for word, _ in EXIT_CODES.values()]
    assert len(words) == len(set(words))

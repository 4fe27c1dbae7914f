"""From a method to what the LLM sees."""

import pytest

from memos.functions.table import FunctionTable, function, function_names


class Documented:
    """A provider with one function and one ordinary method."""

    @function()
    def remember(self, fact: str, page: int = 0) -> str:
        """Keep a fact
        for later.

        Args:
            fact: The fact,
                in one sentence.
            page: Where.
        """
        return fact

    def ordinary(self) -> str:
        """Not a function of the LLM."""
        return ""


def test_signature_and_docstring_become_the_schema() -> None:
    schema = FunctionTable([Documented()]).schemas[0]
    assert (schema.name, schema.description) == ("remember", "Keep a fact for later.")
    assert schema.parameters["properties"]["fact"] == {"type": "string", "description": "The fact, in one sentence."}
    assert schema.parameters["required"] == ["fact", "request_heartbeat"]
    assert schema.parameters["properties"]["request_heartbeat"]["type"] == "boolean"


def test_only_marked_methods_are_functions() -> None:
    assert FunctionTable([Documented()]).names() == ["remember"]


def test_a_function_without_documentation_fails_at_boot() -> None:
    class Silent:
        @function()
        def act(self, what: str) -> str:
            return what

    class HalfSilent:
        @function()
        def act(self, what: str) -> str:
            """Do something."""
            return what

    with pytest.raises(TypeError, match="no docstring"):
        FunctionTable([Silent()])
    with pytest.raises(TypeError, match="argument what of function act is not explained"):
        FunctionTable([HalfSilent()])


def test_two_functions_of_one_name_fail_at_boot() -> None:
    with pytest.raises(TypeError, match="two functions"):
        FunctionTable([Documented(), Documented()])


class Speaker:
    @function(asks_heartbeat=False)
    def send_message(self, message: str) -> str:
        """Speak.

        Args:
            message: The words.
        """
        return message


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (None, ["send_message", "remember"]),
        (["remember"], ["send_message", "remember"]),
        (["forget"], ["send_message"]),
        ([], ["send_message"]),
    ],
)
def test_what_is_not_allowed_is_neither_in_the_schemas_nor_found(allowed: list[str] | None, names: list[str]) -> None:
    table = FunctionTable([Speaker(), Documented()], allowed)
    assert table.names() == [schema.name for schema in table.schemas] == names
    assert (table.get("remember") is not None) is ("remember" in names)


def test_the_names_are_known_from_the_classes_alone() -> None:
    assert function_names(Speaker, Documented) == FunctionTable([Speaker(), Documented()]).names()

"""The front matter of personas and humans: what it may ask for, and one sentence for each fault."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memos.config.front_matter import _TURN_LIMITS, FrontMatter, FurtherBlock, read_front_matter
from memos.config.settings import SETTINGS
from memos.errors import BadInput
from memos.help import text_of

PATH = Path("personas/gardener.md")


def read(head: str) -> FrontMatter:
    return read_front_matter(head, PATH)


WHOLE = """\
name: Gardener
description: keeps a garden: and its diary
model: openai/gpt-4.1
fallback_models: [ollama_chat/llama3.2, builtin/tiny]
params: {temperature: 0.3, seed: -1, max_reply_tokens: 800, reasoning_effort: low}
functions: [core_memory_*, "*_search"]
limits:
  block_chars: 1500
  steps: 12
  identical_calls: 2
  turn_tokens: 100000
  turn_seconds: 90.5
  turn_usd: 0.25
blocks:
  - label: beds
    description: what grows
      where
    limit_chars: 800
    value: |
      North: beans
      ---
      South: no
  - {label: rules, value: "Never: dig in rain.", read_only: true}
read_only: yes"""


def test_a_file_may_set_every_bound_that_a_turn_has() -> None:
    assert {f"limits.{name}" for name in _TURN_LIMITS} == {name for name in SETTINGS if name.startswith("limits.")}


def test_all_that_can_be_asked_for_is_read() -> None:
    assert read(WHOLE) == FrontMatter(
        name="Gardener",
        description="keeps a garden: and its diary",
        model="openai/gpt-4.1",
        fallback_models=("ollama_chat/llama3.2", "builtin/tiny"),
        params={"temperature": 0.3, "seed": -1, "max_reply_tokens": 800, "reasoning_effort": "low"},
        functions=("core_memory_*", "*_search"),
        block_chars=1500,
        turn_limits={
            "limits.steps": 12,
            "limits.identical_calls": 2,
            "limits.turn_tokens": 100_000,
            "limits.turn_seconds": 90.5,
            "limits.turn_usd": 0.25,
        },
        blocks=(
            FurtherBlock("beds", "North: beans\n---\nSouth: no", "what grows where", 800),
            FurtherBlock("rules", "Never: dig in rain.", read_only=True),
        ),
        read_only=True,
    )


@pytest.mark.parametrize(
    ("line", "description"),
    [
        ("description: mine: truly", "mine: truly"),
        ("Description : [odd] {signs} *and* #more", "[odd] {signs} *and* #more"),
        ("description:no", "no"),
        ('description: "quoted: yes" # a comment', "quoted: yes"),
        ('description: "Hello," she said', '"Hello," she said'),
        ("description: 'it''s'", "it's"),
        ("description: it's 5 o'clock", "it's 5 o'clock"),
        ("description: 2027-05-01", "2027-05-01"),
        ("description:", ""),
        ("description: >\n  two\n  lines", "two lines"),
        ("description: \U0001f331 \x1b[31m", "\U0001f331 \x1b[31m"),
    ],
)
def test_a_description_is_text_as_it_stands(line: str, description: str) -> None:
    assert read(f"name: x\n{line}\nmodel: m").description == description


def test_a_text_without_quotes_is_never_taken_for_something_else() -> None:
    texts = ["no", "2027-05-01", "0x10", "1:30", "~", "null", "1_000"]
    blocks = "\n".join(f"- label: b{number}\n  value: {text}" for number, text in enumerate(texts))
    assert [block.value for block in read(f"blocks:\n{blocks}").blocks] == texts


@pytest.mark.parametrize("head", ["", "\n", "# only a comment", "   "])
def test_nothing_asked_is_nothing_given(head: str) -> None:
    assert read(head) == FrontMatter()


@pytest.mark.parametrize(
    ("head", "line", "words", "next_step"),
    [
        ("name: x\nmodle: y", 3, "modle is not a key", "model may be meant"),
        ("zzz: y", 2, "zzz is not a key", "the known keys are: name, description, model"),
        ("Model: y", 2, "Model is not a key", "model may be meant"),
        ("limits:\n  stpes: 3", 3, "limits.stpes is not a key", "limits.steps may be meant"),
        ("blocks:\n- label: a\n  limit: 3", 4, "blocks.limit is not a key", "blocks.limit_chars may be meant"),
        ("name: x\nname: y", 3, "name is given twice", "keep one"),
        ('"name": x\nname: y', 2, "name is given twice", "keep one"),
        ("model: x\nmodel: y", 3, "model is given twice", "keep one"),
        ("model: [x]", 2, "model must be a text, not a list", "quotes"),
        ("model: a: b", 2, "model is not valid YAML", "quotes"),
        ("blocks:\n- label: a\n  description: b: c", 4, "description is not valid YAML", "quotes"),
        ("functions:\n- *_search", 3, "functions is not valid YAML", "quotes"),
        ("functions: archival_search", 2, 'functions must be a list, not "archival_search"', "[archival_*]"),
        ("functions:", 2, "functions must be a list, not nothing", "[archival_*]"),
        ("functions: ['']", 2, "functions holds an empty name", "remove it"),
        ("functions: [[a]]", 2, "functions must be a text, not a list", "quotes"),
        ("functions: !!python/object/apply:os.system [ls]", 2, "functions must be a list", "for example"),
        ("model: !secret x", 2, "model must be a text", "quotes"),
        ("limits: 3", 2, "limits must be keys with values", "has an example"),
        ("limits: {steps: '3'}", 2, 'limits.steps must be a whole number, not "3"', "without quotes"),
        ("limits: {steps: 3.5}", 2, "limits.steps must be a whole number", "digits"),
        ("limits: {steps: 0x10}", 2, "limits.steps must be a whole number", "digits"),
        ("limits: {steps: 1:30}", 2, "limits.steps must be a whole number", "digits"),
        ("limits: {steps: true}", 2, "limits.steps must be a whole number", "digits"),
        ("limits: {steps: " + "9" * 5000 + "}", 2, "limits.steps must be a whole number", "digits"),
        ("limits: {steps: 0}", 2, "limits.steps must be 1 or more", "higher"),
        ("limits: {block_chars: 50}", 2, "limits.block_chars must be 100 or more", "higher"),
        ("limits: {turn_seconds: .inf}", 2, "limits.turn_seconds must be a number", "digits"),
        ("read_only: 'true'", 2, 'read_only must be true or false, not "true"', "without quotes"),
        ("read_only: 1", 2, "read_only must be true or false", "without quotes"),
        ("blocks: {label: a}", 2, "blocks must be a list, not keys with values", "for example"),
        ("blocks: [a]", 2, "blocks must be keys with values", "has an example"),
        ("blocks:\n- value: a", 3, "blocks.label is missing", "label: project"),
        ("blocks: [{label: a b}]", 2, "1 to 40 letters, digits or underscores", "another"),
        ("blocks: [{label: " + "a" * 41 + "}]", 2, "1 to 40 letters, digits or underscores", "another"),
        ("blocks: [{label: ''}]", 2, "1 to 40 letters, digits or underscores", "another"),
        ("blocks: [{label: Human}]", 2, "cannot be Human", "another"),
        ("blocks:\n- label: a\n- label: A", 4, "blocks.label A is given twice", "another"),
        ("blocks: [{label: a, value: abc, limit_chars: 2}]", 2, "blocks.value of a has 3 characters", "shorten"),
        ("blocks: [{label: a, limit_chars: 0}]", 2, "blocks.limit_chars must be 1 or more", "higher"),
        ("model: \x07", 2, "model holds a control character", "remove"),
        ("model:\n\ty", 3, "model is not valid YAML", "quotes"),
        ("- a\n- b", 2, "the front matter must be lines of keys", "has an example"),
        ("just words", 2, "the front matter must be lines of keys", "has an example"),
        ("model: a\n...\nmodel: b", 4, "is not valid YAML", "quotes"),
        ("? [a]\n: b", 2, "is not a key", "the known keys"),
        ("<<: {model: x}", 2, "<< is not a key", "the known keys"),
        ("params: {temprature: 1}", 2, "params.temprature is not a key", "params.temperature may be meant"),
        ("params: {temperature: warm}", 2, "params.temperature must be a number", "temperature: 100"),
        ("params:\n  top_p: 2", 3, "params.top_p must be 1 or less", "params: {top_p: 0.9}"),
        ("params: {reasoning_effort: hard}", 2, "params.reasoning_effort must be one of", "{reasoning_effort: low}"),
        ("fallback_models: a/b", 2, "fallback_models must be a list", "[ollama_chat/llama3.2]"),
        ("fallback_models: [a/b, '']", 2, "fallback_models holds an empty model", "remove it"),
        ("functions: " + "[" * 5000, 2, "nested too deeply", "flatten"),
    ],
)
def test_a_fault_is_one_sentence_with_file_line_key_and_next_step(
    head: str, line: int, words: str, next_step: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read(head)
    assert caught.value.what.startswith(f"{PATH}, line {line}: ")
    assert words in caught.value.what and next_step in caught.value.next_step
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    levels = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(BadInput, match="x0 is not a key"):
        read("\n".join(["x0: &x0 [lol]", *levels]))
    nested = "blocks: &a [*a, *a]"
    with pytest.raises(BadInput, match="must be keys with values"):
        read(nested)


@given(
    head=st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(re.findall(r"\s+|\w+|\W", WHOLE)), max_size=30).map("".join),
    )
)
@example("a: 2027-99-99")
@example("blocks: [{label: a, value: !!binary x}]")
def test_whatever_stands_there_is_read_or_refused_in_a_sentence(head: str) -> None:
    try:
        read(head)
    except BadInput as error:
        assert error.next_step and str(PATH) in error.what


def test_the_example_of_the_help_is_read() -> None:
    (head,) = re.findall(r"^```yaml\n---\n(.*?)\n---\n", text_of("personas"), re.MULTILINE | re.DOTALL)
    front = read(head)
    assert front.name == "Gardener" and front.model == "anthropic/MODEL" and front.read_only
    assert front.block_chars == 1500 and len(front.turn_limits) == 4 and front.functions is not None
    assert front.blocks == (FurtherBlock("beds", "North: beans", "what grows where", 800),)

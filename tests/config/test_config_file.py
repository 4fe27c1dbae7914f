"""config.toml: read with its mistakes named, written without losing anything."""

import stat
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.config import Places, example, read_config, write_config
from memos.config.config_file import write_atomically
from memos.config.settings import SETTINGS, Value
from memos.errors import BadInput, StorageProblem

ROOT = Path(__file__).resolve().parents[2]
COMMENTED = """\
# mine
model = "openai/x"  # the good one

[limits]
# not too long
steps = 9
unknown_thing = 1
"""


def written(places: Places, text: str) -> Path:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text(text, encoding="utf-8")
    return places.config_file


def test_the_example_is_what_the_docstrings_say() -> None:
    assert (ROOT / "config.example.toml").read_text(encoding="utf-8") == example()


def test_every_line_of_the_example_holds_when_it_is_uncommented() -> None:
    lines = [line.removeprefix("# ") if "=" in line and " = " in line else line for line in example().splitlines()]
    text = "\n".join(line for line in lines if line.startswith("[") or " = " in line)
    tables = tomllib.loads(text)
    names = {
        f"{k}.{i}" if isinstance(v, dict) else k for k, v in tables.items() for i in (v if isinstance(v, dict) else [0])
    }
    assert names == set(SETTINGS)


def test_no_file_means_nothing_given(places: Places) -> None:
    assert read_config(places.config_file).given == {}
    assert not places.config_file.parent.exists()


def test_a_name_that_means_nothing_is_a_warning_with_the_nearest_one(places: Places) -> None:
    path = written(places, 'modle = "a/b"\n[limits]\nstep = 3\n[strange]\nx = 1\n')
    file = read_config(path)
    assert file.given == {}
    assert len(file.warnings) == 3
    assert '"model" may be meant' in file.warnings[0] and '"limits.steps" may be meant' in file.warnings[1]


@pytest.mark.parametrize(
    "text", ["model = 3\n", "[limits]\nsteps = 2.5\n", "[terminal]\ngreet = 1\n", "limits = 3\nmodel=1"]
)
def test_a_value_of_the_wrong_type_is_refused(places: Places, text: str) -> None:
    with pytest.raises(BadInput):
        read_config(written(places, text))


def test_an_unreadable_file_is_named_with_its_line_and_left_alone(places: Places) -> None:
    path = written(places, "model = 'a'\nmodel == 3\n")
    with pytest.raises(BadInput, match="line 2"):
        read_config(path)
    with pytest.raises(BadInput, match="line 2"):
        write_config(path, {"model": "b/c"})
    assert path.read_text() == "model = 'a'\nmodel == 3\n"


def test_a_file_that_is_no_text_is_named(places: Places) -> None:
    path = written(places, "")
    path.write_bytes(b"model = '\xff'")
    with pytest.raises(BadInput, match="UTF-8"):
        read_config(path)


def test_writing_keeps_comments_order_and_what_memos_does_not_know(places: Places) -> None:
    path = written(places, COMMENTED)
    write_config(path, {"model": "a/b", "memory.embedding": "none", "limits.turn_seconds": 60.0, "agent": "sam"})
    text = path.read_text()
    for part in ("# mine", "# the good one", "# not too long", "unknown_thing = 1", "steps = 9"):
        assert part in text
    assert read_config(path).given == {
        "model": "a/b",
        "limits.steps": 9,
        "memory.embedding": "none",
        "limits.turn_seconds": 60.0,
        "agent": "sam",
    }


def test_none_takes_a_setting_out(places: Places) -> None:
    path = written(places, COMMENTED)
    write_config(path, {"limits.steps": None, "model": None, "timeouts.gap_s": None})
    assert read_config(path).given == {}
    assert "# mine" in path.read_text()


def test_dotted_keys_in_the_users_file_are_understood(places: Places) -> None:
    path = written(places, "limits.steps = 3\n[memory]\nembedding = 'none'\n")
    write_config(path, {"limits.steps": 4, "limits.identical_calls": 2, "model": "a/b"})
    given_values = read_config(path).given
    assert given_values["limits.steps"] == 4 and given_values["limits.identical_calls"] == 2
    assert given_values["model"] == "a/b" and given_values["memory.embedding"] == "none"


@pytest.mark.parametrize("text", ["limits = 3\n", "[[limits]]\nsteps = 3\n"])
def test_a_file_whose_sections_are_no_sections_is_left_alone(places: Places, text: str) -> None:
    path = written(places, text)
    with pytest.raises(BadInput, match="by hand"):
        write_config(path, {"limits.steps": 5})
    assert path.read_text() == text


def test_a_table_on_one_line_is_understood(places: Places) -> None:
    path = written(places, "limits = { steps = 3 }  # short\n")
    write_config(path, {"limits.steps": 5, "model": "a/b"})
    assert read_config(path).given == {"limits.steps": 5, "model": "a/b"}


def test_a_value_that_does_not_fit_is_not_written(places: Places) -> None:
    with pytest.raises(BadInput):
        write_config(places.config_file, {"limits.steps": "x"})
    assert not places.config_file.exists()


def test_the_file_is_for_its_owner_alone(places: Places) -> None:
    write_config(places.config_file, {"model": "a/b"})
    assert stat.S_IMODE(places.config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.config_file.parent.stat().st_mode) == 0o700


def test_a_link_to_the_file_stays_a_link(places: Places, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("model = 'a/b'\n")
    places.config_file.parent.mkdir(parents=True)
    places.config_file.symlink_to(real)
    write_config(places.config_file, {"model": "c/d"})
    assert places.config_file.is_symlink()
    assert tomllib.loads(real.read_text()) == {"model": "c/d"}


def test_a_place_that_cannot_be_a_folder_is_one_sentence(places: Places) -> None:
    places.config_file.parent.parent.mkdir(parents=True)
    places.config_file.parent.write_text("a file stands where the folder should be")
    with pytest.raises(StorageProblem, match="cannot be written"):
        write_atomically(places.config_file, "")


def test_a_reader_sees_the_old_file_or_the_new_one_and_no_third(places: Places) -> None:
    write_config(places.config_file, {"model": "m/0", "persona": "p" * 5000})
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            config = read_config(places.config_file).config
            assert len(config.persona) == 5000
            seen.add(config.model)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 15):
        write_config(places.config_file, {"model": f"m/{number}"})
    done.set()
    reader.join(10)
    assert seen <= {f"m/{number}" for number in range(15)} and seen
    assert [path.name for path in places.config_file.parent.iterdir()] == ["config.toml"]


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(model=TEXTS, steps=st.integers(1, 10**9), greet=st.booleans(), temperature=st.floats(0, 2))
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, model: str, steps: int, greet: bool, temperature: float
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    values: dict[str, Value] = {"model": model, "limits.steps": steps, "terminal.greet": greet}
    values |= {"temperature": temperature, "fallback_models": tuple(text for text in (model, "b/c") if text.strip())}
    write_config(path, values)
    assert read_config(path).given == values

"""Shapes, sample ids, reading and writing of records."""

import json
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.builtin.formats.csv import CsvFormat
from rt_framework.builtin.formats.json import JsonFormat
from rt_framework.builtin.formats.jsonl import JsonlFormat
from rt_framework.data.rows import SampleIds, begin_rows, detect_format, shape_of, with_ids, write_records
from rt_framework.data.shapes import column_names, detect_shape, find_shape, to_record, to_row
from rt_framework.errors import ConfigError, DataError, DiskError
from rt_framework.model import Pair, Record, Turn
from tests.run_helpers import records_in


def record_of(shape, row, columns=None):
    meaning = find_shape(shape)
    return to_record(meaning, row, column_names(meaning, columns or {}))


def row_of(shape, record, columns=None):
    meaning = find_shape(shape)
    return to_row(meaning, record, column_names(meaning, columns or {}))


def rewritten(shape, row, columns=None, **changes):
    """The row after its pair was changed."""
    record = record_of(shape, row, columns)
    return row_of(shape, evolve(record, pair=evolve(record.pair, **changes)), columns)


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chat(*contents):
    roles = ["user", "assistant"] * len(contents)
    return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]


def sharegpt(*contents):
    roles = ["human", "gpt"] * len(contents)
    return [{"from": role, "value": text} for role, text in zip(roles, contents, strict=False)]


SYSTEM = {"role": "system", "content": "Be brief."}

# --- from rows to pairs -----------------------------------------------------------------------

PAIRS = {
    "alpaca": (
        {
            "instruction": "q",
            "input": "i",
            "output": "a",
            "system": "Be brief.",
            "history": [["q0", "a0"]],
        },
        Pair("q", "i", "a", "Be brief.", (Turn("user", "q0"), Turn("assistant", "a0"))),
    ),
    "prompt-completion": ({"prompt": "q", "completion": "a"}, Pair("q", "", "a")),
    "messages": (
        {"messages": [SYSTEM, *chat("q0", "a0", "q", "a")]},
        Pair("q", "", "a", "Be brief.", (Turn("user", "q0"), Turn("assistant", "a0"))),
    ),
    "sharegpt": (
        {"conversations": sharegpt("q0", "a0", "q", "a"), "system": "Be brief."},
        Pair("q", "", "a", "Be brief.", (Turn("user", "q0"), Turn("assistant", "a0"))),
    ),
}


@pytest.mark.parametrize("shape", PAIRS)
def test_each_shape_gives_the_pair(shape):
    """Instruction, input, response, system and earlier turns land where the papers expect them."""
    row, pair = PAIRS[shape]
    assert record_of(shape, row).pair == pair


@pytest.mark.parametrize("shape", PAIRS)
def test_shape_is_detected(shape):
    """The columns of a row say what its shape is."""
    assert detect_shape({"id": 1, **PAIRS[shape][0]}) == shape


def test_sharegpt_system_turn():
    """A leading system turn is the system prompt, as the system column would be."""
    row = {"conversations": [{"from": "system", "value": "s"}, *sharegpt("q", "a")]}
    assert record_of("sharegpt", row).pair == Pair("q", "", "a", "s")


@pytest.mark.parametrize("value", [None, ""])
def test_empty_values_are_empty_text(value):
    """A null or empty response or input is empty text, not an error: the sample gets a status later."""
    row = {"instruction": "q", "input": value, "output": value, "system": value, "history": value}
    assert record_of("alpaca", row).pair == Pair("q")


# --- round trips ------------------------------------------------------------------------------

UNCHANGED = [
    ("alpaca", {"id": 7, "instruction": "q", "output": "a"}),
    ("alpaca", {"output": None, "input": None, "instruction": "", "system": None, "history": [], "note": [1]}),
    ("alpaca", {"instruction": "q", "output": "a", "history": '[["q0", "a0"]]'}),
    ("prompt-completion", {"prompt": "q", "completion": "a", "score": 0.5}),
    ("messages", {"messages": [{**SYSTEM, "content": ""}, *chat("q", "a")], "source": "x"}),
    ("messages", {"messages": [{"role": "user", "content": "q", "name": "bob"}, *chat("q", None)[1:]]}),
    ("messages", {"messages": json.dumps(chat("q", "a"))}),
    ("sharegpt", {"conversations": sharegpt("q", "a"), "system": ""}),
    ("sharegpt", {"conversations": [{"from": "system", "value": "s"}, *sharegpt("q", "a")], "system": None}),
]


@pytest.mark.parametrize(("shape", "row"), UNCHANGED)
def test_unchanged_record_gives_back_its_row(shape, row):
    """Reading and writing changes nothing: columns, their order, nulls and extra keys stay."""
    back = row_of(shape, record_of(shape, row))
    assert back == row
    assert list(back) == list(row)


def test_rewrite_of_alpaca():
    """A rewrite changes its columns only; an emptied input stays as an empty column."""
    row = {"id": 7, "instruction": "q", "input": "i", "output": "a"}
    new = rewritten("alpaca", row, instruction="Q", input="", response="A")
    assert new == {"id": 7, "instruction": "Q", "input": "", "output": "A"}


def test_absent_input_stays_absent_unless_needed():
    """No input column appears by itself, but an input is never lost."""
    row = {"instruction": "q", "output": "a"}
    assert rewritten("alpaca", row, response="A") == {"instruction": "q", "output": "A"}
    assert rewritten("alpaca", row, input="i") == {**row, "input": "i"}


def test_rewrite_of_messages_keeps_other_keys():
    """Only the content of the last two turns changes."""
    old = [SYSTEM, *chat("q0", "a0"), {"role": "user", "content": "q", "name": "bob"}, *chat("q", "a")[1:]]
    new = rewritten("messages", {"messages": old}, instruction="Q", response="A")["messages"]
    assert new[:3] == old[:3]
    assert new[3:] == [{"role": "user", "content": "Q", "name": "bob"}, {"role": "assistant", "content": "A"}]


def test_rewrite_of_sharegpt_leaves_the_system_column():
    """The system prompt stays in the column it came from."""
    row = {"conversations": sharegpt("q", "a"), "system": "s"}
    assert rewritten("sharegpt", row, response="A") == {"conversations": sharegpt("q", "A"), "system": "s"}


def test_rewrite_of_turns_held_as_text():
    """A conversation that its column holds as JSON text is written as JSON text."""
    new = rewritten("messages", {"messages": json.dumps(chat("q", "a"))}, response="Ä")
    assert new["messages"] == json.dumps(chat("q", "Ä"), ensure_ascii=False)


def test_input_is_not_lost_where_a_shape_has_no_column_for_it():
    """Instruction and input share the one text of such a shape."""
    pair = Pair("q", "i", "a")
    assert row_of("messages", Record(pair)) == {"messages": chat("q\ni", "a")}
    assert row_of("prompt-completion", Record(pair)) == {"prompt": "q\ni", "completion": "a"}


@pytest.mark.parametrize("shape", PAIRS)
@given(
    pair=st.builds(
        Pair,
        instruction=st.text(),
        response=st.text(),
        system=st.none() | st.text(min_size=1),
        history=st.lists(st.tuples(st.text(), st.text())).map(
            lambda rounds: tuple(t for q, a in rounds for t in (Turn("user", q), Turn("assistant", a)))
        ),
    )
)
def test_any_pair_survives(shape, pair):
    """A pair written from nothing reads back as the same pair, in every shape."""
    assert record_of(shape, row_of(shape, Record(pair))).pair == pair


@pytest.mark.parametrize("target", PAIRS)
@pytest.mark.parametrize("source", PAIRS)
def test_one_shape_to_another(source, target):
    """Converted, a row fits the new shape only: no column of the old one is left, unknown ones are kept."""
    record = record_of(source, {**PAIRS[source][0], "id": 7})
    row = row_of(target, record)
    pair = PAIRS[source][1]
    whole = evolve(pair, instruction="q\ni", input="") if pair.input and target != "alpaca" else pair
    assert detect_shape(row) == target
    assert record_of(target, row).pair == whole
    assert record_of(target, row).extra == {"id": 7}


def test_an_unknown_column_does_not_become_part_of_the_pair():
    """A column that the old shape did not read is not read by the new one either, and not lost without a word."""
    with pytest.raises(DataError, match="column 'input' would be lost: shape alpaca has a field of that name; rename"):
        row_of("alpaca", record_of("messages", {"messages": chat("q", "a"), "input": "web form"}))
    record = record_of("messages", {"messages": chat("q", "a"), "input": None})
    assert row_of("alpaca", record) == {"instruction": "q", "output": "a"}


def test_extra_holds_unknown_columns_only():
    """A plugin may add or remove unknown columns, and the row is written with its changes."""
    record = record_of("alpaca", {"id": 7, "instruction": "q", "output": "a", "note": "n"})
    assert record.extra == {"id": 7, "note": "n"}
    changed = evolve(record, extra={"id": 8, "score": 1.0})
    assert row_of("alpaca", changed) == {"id": 8, "instruction": "q", "output": "a", "score": 1.0}


# --- the column map ---------------------------------------------------------------------------


def test_columns_are_mapped_and_mapped_back():
    """The user's columns are read and come out under their own names."""
    columns = {"instruction": "question", "output": "answer"}
    row = {"question": "q", "answer": "a"}
    assert detect_shape(row, columns) == "alpaca"
    assert record_of("alpaca", row, columns).pair == Pair("q", "", "a")
    assert rewritten("alpaca", row, columns, response="A") == {"question": "q", "answer": "A"}


def test_a_mapped_column_is_not_read_twice():
    """A column `input` that holds the instruction is not the input as well."""
    row = {"input": "q", "output": "a"}
    columns = {"instruction": "input"}
    assert record_of("alpaca", row, columns).pair == Pair("q", "", "a")
    assert rewritten("alpaca", row, columns, instruction="Q") == {"input": "Q", "output": "a"}


BAD_MAPS = [
    ({"instrction": "q"}, "no field 'instrction'"),
    ({"instruction": "x", "output": "x"}, "two fields have the same column"),
    ({"instruction": "output"}, "column 'output' is given to another field"),
]


@pytest.mark.parametrize(("columns", "message"), BAD_MAPS)
def test_bad_column_maps(columns, message):
    """A map that cannot be meant is refused."""
    with pytest.raises(ConfigError, match=message):
        column_names(find_shape("alpaca"), columns)


def test_a_mapped_column_must_exist():
    """A typing error in the map is not taken for an absent optional column."""
    with pytest.raises(DataError, match="no column 'contxt'"):
        record_of("alpaca", {"instruction": "q", "context": "c", "output": "a"}, {"input": "contxt"})


# --- detection --------------------------------------------------------------------------------


def test_no_response_column():
    """The message names the problem, what was found, what is needed, and the way out."""
    with pytest.raises(DataError) as caught:
        detect_shape({"instruction": "q", "answer": "a"})
    text = str(caught.value)
    assert text.startswith("no response column: found instruction, answer;")
    assert "alpaca needs instruction and output" in text
    assert "use data.columns to map" in text


def test_unknown_columns():
    """Columns that fit nothing are listed."""
    with pytest.raises(DataError, match="fit no shape: found text;"):
        detect_shape({"text": "t"})


def test_ambiguous_columns():
    """Two shapes at once is a question to the user, never a guess."""
    row = {"instruction": "q", "output": "a", "messages": chat("q", "a")}
    with pytest.raises(DataError, match=r"alpaca and messages; choose one with data.shape"):
        detect_shape(row)


def test_unknown_shape_and_field():
    """A shape or field that does not exist is a configuration error that names those that do."""
    with pytest.raises(ConfigError, match="unknown shape 'alpacca'; known: alpaca"):
        find_shape("alpacca")
    with pytest.raises(ConfigError, match="no shape has a field 'anwser'"):
        detect_shape({"q": 1}, {"anwser": "a"})


# --- bad records ------------------------------------------------------------------------------

BAD_ROWS = [
    ("alpaca", {"instruction": "q"}, "no column 'output' .found: instruction"),
    ("alpaca", {"instruction": "q", "output": 3}, "column 'output' holds a value of type int, not text"),
    ("alpaca", {"instruction": "q", "output": "a", "history": "no"}, "column 'history' is text, and not the JSON"),
    ("alpaca", {"instruction": "q", "output": "a", "history": [["q"]]}, "no list of .user, assistant. texts"),
    ("prompt-completion", {"prompt": chat("q"), "completion": "a"}, "'completion' is text, and not the JSON of a list"),
    ("messages", {"messages": {"role": "user"}}, "holds a value of type dict, not a list"),
    ("messages", {"messages": []}, "no assistant turn"),
    ("messages", {"messages": chat("q")}, "no assistant turn"),
    ("messages", {"messages": chat("q", "a")[1:]}, "no user turn before its last assistant turn"),
    ("messages", {"messages": ["q", "a"]}, "turn 1 of 'messages' is a value of type str, not an object"),
    ("messages", {"messages": [*chat("q"), {"role": "narrator", "content": "t"}]}, "turn 2 .* has role 'narrator'; kn"),
    ("messages", {"messages": [*chat("q"), {"role": "assistant", "content": [1]}]}, "holds a value of type int, which"),
    (
        "sharegpt",
        {"conversations": [{"from": "me", "value": "q"}]},
        "has from 'me'; known: system, developer, user, hu",
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "system", "value": "s"}, *sharegpt("q", "a")], "system": "s"},
        "both column 'system' and the first turn",
    ),
]


@pytest.mark.parametrize(("shape", "row", "message"), BAD_ROWS)
def test_bad_record_is_named(tmp_path, shape, row, message):
    """A bad record is one line with file, row, problem and way out."""
    path = jsonl(tmp_path / "data.jsonl", [PAIRS[shape][0], row])
    with pytest.raises(DataError, match=message) as caught:
        list(records_in(path, JsonlFormat(), shape))
    text = str(caught.value)
    assert text.startswith(f"{path}: row 1 (from 0): ")
    assert "\n" not in text
    assert ";" in text


# --- ids --------------------------------------------------------------------------------------

TEXTS = st.lists(st.sampled_from("abcdef") | st.text())


def ids_of(texts):
    ids = SampleIds()
    return [ids(Pair(text)) for text in texts]


@given(TEXTS, st.text(), st.data())
def test_inserting_a_row_moves_no_other_id(texts, new, data):
    """Every old row keeps its id wherever a row is inserted, and all ids differ."""
    at = data.draw(st.integers(0, len(texts)))
    before, after = ids_of(texts), ids_of([*texts[:at], new, *texts[at:]])
    assert set(before) < set(after)
    assert len(set(after)) == len(after)
    kept = [name for text, name in zip([*texts[:at], new, *texts[at:]], after, strict=True) if text != new]
    assert kept == [name for text, name in zip(texts, before, strict=True) if text != new]


def test_ids_count_occurrences():
    """Equal pairs get the same content hash and count up from 0; any part of the pair makes a difference."""
    first, other, second, third = ids_of(["q", "p", "q", "q"])
    content = first.removesuffix("-0")
    assert len(content) == 16
    assert [second, third] == [f"{content}-1", f"{content}-2"]
    assert other[:16] != content
    assert SampleIds()(Pair("q", system="s"))[:16] != content


def test_many_ids_are_unique_and_repeat():
    """Growing the table of seen hashes forgets none."""
    texts = [str(number) for number in range(20_000)]
    ids = ids_of(texts + texts)
    assert all(name.endswith("-0") for name in ids[:20_000])
    assert [name.replace("-1", "-0") for name in ids[20_000:]] == ids[:20_000]


# --- reading ----------------------------------------------------------------------------------


def test_records_with_ids_are_samples(tmp_path):
    """Samples carry id, row and the original version; the shape is found from the first row."""
    path = jsonl(tmp_path / "data.jsonl", [{"prompt": text, "completion": "a", "n": 1} for text in "xyz"])
    found = list(with_ids(records_in(path, JsonlFormat(), limit=2)))
    assert shape_of(path, begin_rows(path, JsonlFormat().read(path))[0]) == "prompt-completion"
    assert [sample.row for sample, _ in found] == [0, 1]
    assert [sample.current.pair.instruction for sample, _ in found] == ["x", "y"]
    assert [record.extra["n"] for _, record in found] == [1, 1]
    assert found[0][0].current.name == "original"


@pytest.mark.parametrize(
    ("format_object", "text"), [(JsonFormat(), "[]"), (JsonFormat(), ""), (JsonlFormat(), "\n"), (CsvFormat(), "a,b\n")]
)
def test_no_records(tmp_path, format_object, text):
    """A file without records is an error, and not an empty run."""
    path = tmp_path / "data"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        list(records_in(path, format_object))
    assert str(caught.value) == f"{path}: no records"


def test_undetected_shape_names_the_file(tmp_path):
    """The user learns which file has no response column."""
    path = jsonl(tmp_path / "data.jsonl", [{"instruction": "q"}])
    with pytest.raises(DataError, match=f"^{path}: no response column"):
        list(records_in(path, JsonlFormat()))


# --- formats by file --------------------------------------------------------------------------


class Greedy(JsonlFormat):
    """Takes every file for its own."""

    def detect(self, path: Path) -> bool:
        return True


def test_detect_format(tmp_path):
    """One match is the format; none, several, or no file is an error with the way out."""
    formats = {"json": JsonFormat(), "jsonl": JsonlFormat()}
    path = jsonl(tmp_path / "data.jsonl", [{}])
    odd = jsonl(tmp_path / "data.txt", [{}])
    assert detect_format(path, formats) == "jsonl"
    with pytest.raises(DataError, match=r"could be jsonl or greedy; choose one with data.format"):
        detect_format(path, {**formats, "greedy": Greedy()})
    with pytest.raises(DataError, match=r"unknown format; name it with data.format; known: json, jsonl"):
        detect_format(odd, formats)
    with pytest.raises(DataError, match=r"none.jsonl: no such file"):
        detect_format(tmp_path / "none.jsonl", formats)


# --- writing ----------------------------------------------------------------------------------


def records(*texts):
    return [Record(Pair(text, "", "a")) for text in texts]


def broken():
    yield from records("new")
    raise KeyboardInterrupt


def test_interrupted_write_leaves_the_old_file(tmp_path):
    """After any interruption the file is the old one, whole, and no other file lies beside it."""
    path = tmp_path / "out.jsonl"
    write_records(path, JsonlFormat(), "alpaca", None, records("old"))
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_records(path, JsonlFormat(), "alpaca", None, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_replaces_and_makes_folders(tmp_path):
    """A second write replaces the first; missing folders are made; a user's file of a temporary name stays."""
    path = tmp_path / "new" / "out.jsonl"
    write_records(path, JsonlFormat(), "alpaca", None, records("old"))
    mine = path.with_name(".part-out.jsonl")
    mine.write_text("mine")
    write_records(path, JsonlFormat(), "alpaca", None, records("new"))
    assert [json.loads(line)["instruction"] for line in path.read_text().splitlines()] == ["new"]
    assert sorted(path.parent.iterdir()) == [mine, path] and mine.read_text() == "mine"


def test_write_maps_columns_back(tmp_path):
    """The written file has the user's column names, and not those of the shape."""
    path = tmp_path / "out.jsonl"
    write_records(path, JsonlFormat(), "alpaca", {"output": "answer"}, records("q"))
    assert json.loads(path.read_text()) == {"instruction": "q", "answer": "a"}


def test_write_errors_name_the_output(tmp_path):
    """A record the shape or format cannot hold names the file that was asked for, not a temporary one."""
    path = tmp_path / "out.jsonl"
    with pytest.raises(DataError) as caught:
        write_records(path, JsonlFormat(), "alpaca", None, [Record(Pair("q"), {"score": float("nan")})])
    assert str(caught.value).startswith(f"{path}: row 0 (from 0): column 'score' cannot be written")
    odd = Record(Pair("q", history=(Turn("assistant", "hello"),)))
    with pytest.raises(DataError, match=r"row 0 .from 0.: earlier turns do not alternate"):
        write_records(path, JsonlFormat(), "alpaca", None, [odd])


def test_unwritable_place_is_a_disk_error(tmp_path):
    """A place that cannot be written is a disk error with its own exit code."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        write_records(tmp_path / "file" / "out.jsonl", JsonlFormat(), "alpaca", None, records("q"))

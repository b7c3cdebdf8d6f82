"""The built-in formats: every one with every shape, hostile content, and bad files."""

import datetime
import json
import subprocess
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rt_framework.builtin.formats.csv import CsvFormat
from rt_framework.builtin.formats.dataset import DatasetFormat
from rt_framework.builtin.formats.json import JsonFormat
from rt_framework.builtin.formats.jsonl import JsonlFormat
from rt_framework.builtin.formats.parquet import ParquetFormat
from rt_framework.data.rows import detect_format, with_ids, write_records
from rt_framework.errors import DataError
from tests.run_helpers import records_in

FORMATS = {
    "json": JsonFormat(),
    "jsonl": JsonlFormat(),
    "csv": CsvFormat(),
    "parquet": ParquetFormat(),
    "dataset": DatasetFormat(),
}
TEXT_FORMATS = ["json", "jsonl", "csv"]
NESTED_FORMATS = ["json", "jsonl", "parquet", "dataset"]


def place(tmp_path, name):
    """A path with the format's usual ending."""
    return tmp_path / f"data{(*FORMATS[name].suffixes, '')[0]}"


def written(tmp_path, name, rows):
    path = place(tmp_path, name)
    FORMATS[name].write(path, rows)
    return path


def read(name, path):
    return [dict(row) for row in FORMATS[name].read(path)]


def failure(name, path):
    """The one line that reading *path* ends with."""
    with pytest.raises(DataError) as caught:
        read(name, path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# --- round trips ------------------------------------------------------------------------------

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": 'a, "b"\r\nc\rd'}]
SHARED = [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "ä\n"}]
ROWS = {
    "alpaca": {"id": "7", "instruction": "q", "input": "", "output": "a", "history": [["q0", "a0"]]},
    "prompt-completion": {"prompt": " q\u2028", "completion": '=cmd "x",\n[/End]\x00\x1b[31m', "source": "web"},
    "messages": {"messages": TURNS, "source": "web"},
    "sharegpt": {"id": "7", "conversations": SHARED},
}


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(tmp_path, name, shape):
    """Read, written and read again, an unchanged record is the same, unknown columns included."""
    path = written(tmp_path, name, [ROWS[shape], {**ROWS[shape], "id": "8"}])
    copy = tmp_path / f"copy{path.suffix}"
    assert detect_format(path, FORMATS) == name
    found = list(with_ids(records_in(path, FORMATS[name])))
    write_records(copy, FORMATS[name], shape, None, (record for _, record in found))
    assert read(name, copy) == read(name, path)
    assert list(with_ids(records_in(copy, FORMATS[name]))) == found


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("name", FORMATS)
def test_rewrite_reads_back(tmp_path, name, shape):
    """A rewritten response is what the next reader finds; every other column is as it was."""
    path = written(tmp_path, name, [ROWS[shape]])
    (record,) = records_in(path, FORMATS[name])
    better = evolve(record, pair=evolve(record.pair, response="better"))
    copy = tmp_path / f"copy{path.suffix}"
    write_records(copy, FORMATS[name], shape, None, [better])
    (back,) = records_in(copy, FORMATS[name])
    assert back.pair == better.pair
    assert list(back.extra) == list(record.extra)


@pytest.mark.parametrize("name", NESTED_FORMATS)
def test_nested_and_typed_columns_are_kept(tmp_path, name):
    """Numbers, lists, objects and nulls come back as they were."""
    rows = [{"n": 1, "x": 0.5, "flag": True, "tags": ["a"], "meta": {"k": [1]}, "none": None}]
    assert read(name, written(tmp_path, name, rows)) == rows


@pytest.mark.parametrize("name", FORMATS)
def test_columns_are_the_union_in_order(tmp_path, name):
    """A column that only a later row has is not lost, wherever it first appears."""
    rows = [{"b": "1", "a": "2"}, {"b": "3", "c": "4"}] + [{"b": str(n), "a": "x", "c": "y"} for n in range(2500)]
    rows += [{"d": "last"}]
    found = read(name, written(tmp_path, name, rows))
    assert [{key: value for key, value in row.items() if value} for row in found] == rows
    if name in ("csv", "parquet", "dataset"):
        assert list(found[0]) == ["b", "a", "c", "d"]


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows(tmp_path, name):
    """An output without records is a file without records."""
    assert read(name, written(tmp_path, name, [])) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet"])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_text_survives(tmp_path, name, texts):
    """Quotes, newlines, NUL, control characters and any script come back unchanged."""
    rows = [{"a": text, "b": text[::-1]} for text in texts]
    assert read(name, written(tmp_path, name, rows)) == rows


@pytest.mark.parametrize("name", FORMATS)
def test_lone_surrogates_are_written(tmp_path, name):
    """Half a character does not stop a write: JSON escapes it, the others put a question mark."""
    rows = [{"a": "x\ud83dy", "b": "ok", "c": [{"k": "\udc00"}]}]
    found = read(name, written(tmp_path, name, rows))
    if name in ("json", "jsonl"):
        assert found == rows
    else:
        assert found[0]["a"] == "x?y"
    if name in TEXT_FORMATS:
        place(tmp_path, name).read_bytes().decode("utf-8")


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_text_output_is_readable(tmp_path, name):
    """Text is not escaped, and the file ends with a newline."""
    text = written(tmp_path, name, [{"a": "日本語"}]).read_bytes().decode()
    assert "日本語" in text
    assert text.endswith("\n")


def test_csv_holds_nested_values_as_json(tmp_path):
    """A list in a cell is JSON; null is an empty cell; numbers and flags are as in JSON."""
    rows = [{"a": ["é"], "b": None, "c": True, "d": 1.5}]
    assert read("csv", written(tmp_path, "csv", rows)) == [{"a": '["é"]', "b": "", "c": "true", "d": "1.5"}]


# --- values that a format cannot hold ---------------------------------------------------------


@pytest.mark.parametrize("name", TEXT_FORMATS)
@pytest.mark.parametrize("value", [float("nan"), [float("inf")], datetime.date(2024, 1, 1)])
def test_text_formats_refuse_what_json_lacks(tmp_path, name, value):
    """NaN, infinities and dates are refused by row and column: they would make invalid JSON."""
    with pytest.raises(DataError, match=r"row 1 \(from 0\): column 'x' cannot be written"):
        written(tmp_path, name, [{"x": 1}, {"x": value}])


@pytest.mark.parametrize("name", ["parquet", "dataset"])
@pytest.mark.parametrize("rows", [[{"x": 1}, {"x": "a"}], [{"x": 1}] * 1000 + [{"x": "a"}], [{"x": 2**70}]])
def test_arrow_formats_refuse_mixed_types(tmp_path, name, rows):
    """A column without a common type is an error that names the way out."""
    place = rf"row {len(rows) - 1} \(from 0\): column 'x' does not fit an Arrow type: .*, or write jsonl"
    with pytest.raises(DataError, match=place):
        written(tmp_path, name, rows)


def test_parquet_refuses_objects_without_keys(tmp_path):
    """Parquet cannot hold an object without keys, and the error names the way out."""
    with pytest.raises(DataError, match=r"does not fit Parquet: .*; remove it, or write jsonl"):
        written(tmp_path, "parquet", [{"x": {}}])


# --- bad files --------------------------------------------------------------------------------

BAD_FILES = [
    ("jsonl", b'{"a": 1}\n\n{"a": }\n', "line 3: broken JSON"),
    ("jsonl", b'{"a": 1}\n{"a": "tw', "line 2: broken JSON"),
    ("jsonl", b'{"a": 1}\n[1]\n', "line 2: not an object; each line is"),
    ("jsonl", b'{"a": 1}\n{"a": NaN}\n', "line 2: column 'a' is NaN, which is not JSON; correct or remove"),
    ("jsonl", b'{"b": 1, "a": [1e400]}\n', "line 1: column 'a' is 1e400, which is too large for a number; correct"),
    (
        "jsonl",
        b'{"a": ' + b"9" * 5000 + b"}",
        "line 1: column 'a' is a number of 5000 digits, which is too large; co",
    ),
    ("jsonl", b'{"a": 1, "b": 2, "a": 3}', "line 1: column 'a' occurs twice; correct or remove"),
    ("json", b'[{"a": 1}, {"a": -1e999}]', "row 1 (from 0): column 'a' is -1e999, which is too large for a number; co"),
    ("json", b'[{"a": {"b": 1, "b": 2}}]', "row 0 (from 0): column 'a' occurs twice; correct or remove"),
    ("jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2: not UTF-8 text"),
    ("jsonl", b'{"a": ' + b"[" * 100_000, "line 1: broken JSON"),
    ("jsonl", b'[\n{"a": 1}\n]', "line 1: broken JSON"),
    ("json", b'[\n  {"a": 1},\n  {"a" 2}\n]', "line 3, column 8: broken JSON"),
    ("json", b'{"data": []}', "not an array"),
    ("json", b"[1]", "row 0 (from 0): not an object"),
    ("json", b'[{"a": -Infinity}]', "row 0 (from 0): column 'a' is -Infinity, which is not JSON; correct or remove"),
    ("json", b"\x80\x81", "not UTF-8 text"),
    ("csv", b"a,b,a\n1,2,3\n", "line 1: two columns are called 'a'"),
    ("csv", b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells where the header has 2"),
    ("csv", b"a,b\n1\n", "line 2: 1 cells where the header has 2"),
    ("csv", b'a,b\n1,"2\n3,4\n', "line 3: broken CSV: unexpected end of data"),
    ("csv", b"a,b\n\xff,2\n", "not UTF-8 text"),
    ("parquet", b"PAR1 junk", "broken Parquet"),
    ("parquet", b"", "broken Parquet"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_bad_file_is_one_clear_line(tmp_path, name, content, message):
    """A broken file is named with the line, the problem and the way out."""
    path = place(tmp_path, name)
    path.write_bytes(content)
    text = failure(name, path)
    assert text.startswith(message)
    assert ";" in text


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "dataset"])
def test_missing_file_and_directory(tmp_path, name):
    """No file, or a directory instead of one, is said plainly."""
    assert failure(name, tmp_path / "none") == "no such file"
    assert failure(name, tmp_path).startswith("is a directory")


def test_data_set_directories(tmp_path):
    """A set of splits lists them and one of them can be read; a broken or other directory is an error."""
    both = datasets.DatasetDict({split: datasets.Dataset.from_dict({"a": [split]}) for split in ("train", "test")})
    both.save_to_disk(tmp_path / "both")
    assert failure("dataset", tmp_path / "both").startswith("is a set of splits (train, test); give the path of one")
    assert FORMATS["dataset"].detect(tmp_path / "both")
    assert read("dataset", tmp_path / "both" / "train") == [{"a": "train"}]
    next((tmp_path / "both" / "train").glob("*.arrow")).write_bytes(b"junk")
    assert failure("dataset", tmp_path / "both" / "train").startswith("broken data set")
    assert not FORMATS["dataset"].detect(tmp_path)
    assert failure("dataset", tmp_path).startswith("no saved data set")


def test_data_set_directory_is_replaced(tmp_path):
    """Writing over a saved data set gives the new one, and nothing is left beside it."""
    path = tmp_path / "data"
    for text in ("old", "new"):
        (record,) = records_in(written(tmp_path, "jsonl", [{"prompt": text, "completion": "a"}]), JsonlFormat())
        write_records(path, DatasetFormat(), "prompt-completion", None, [record])
    assert [row["prompt"] for row in read("dataset", path)] == ["new"]
    assert {child.name for child in tmp_path.iterdir()} == {"data", "data.jsonl"}


# --- details of reading -----------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_byte_order_mark(tmp_path, name):
    """A byte order mark is no part of the first column."""
    path = written(tmp_path, name, [{"a": "1"}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(name, path) == [{"a": "1"}]
    assert detect_format(path, FORMATS) == name


def test_windows_line_ends_and_blank_lines(tmp_path):
    """Carriage returns, blank lines and a missing last newline do no harm."""
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert read("jsonl", path) == [{"a": 1}, {"a": 2}]
    path.write_bytes(b"a,b\r\n1,2\r\n\r\n3,4")
    assert read("csv", path) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_large_csv_cell(tmp_path):
    """An answer longer than the csv module's default limit is read and written."""
    rows = [{"a": "x" * 300_000}]
    assert read("csv", written(tmp_path, "csv", rows)) == rows


def test_reading_is_lazy(tmp_path):
    """The first row arrives before a broken later line is seen."""
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\nbroken\n')
    assert next(iter(JsonlFormat().read(path))) == {"a": 1}


def test_parquet_from_elsewhere(tmp_path):
    """Many row groups and Arrow types that we do not write are read."""
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": pa.array(map(str, range(10)), pa.large_string())}), path, row_group_size=3)
    assert [row["a"] for row in read("parquet", path)] == [str(n) for n in range(10)]


DETECTED = [
    ("a.json", "[]", "json"),
    ("a.json", ' \n{"a": 1}\n{"a": 2}', "jsonl"),
    ("a.json", "", "json"),
    ("A.JSONL", "", "jsonl"),
    ("a.ndjson", "", "jsonl"),
    ("a.csv", "", "csv"),
    ("a.parquet", "", "parquet"),
]


@pytest.mark.parametrize(("file", "text", "name"), DETECTED)
def test_detection(tmp_path, file, text, name):
    """The name decides; a .json file that starts with an object is JSON lines."""
    path = tmp_path / file
    path.write_text(text)
    assert detect_format(path, FORMATS) == name


def test_detection_needs_no_heavy_import():
    """All formats can be made without importing pyarrow or datasets."""
    modules = ", ".join(f"rt_framework.builtin.formats.{name}" for name in FORMATS)
    code = f"import sys, {modules}; print(json.dumps([m for m in ('pyarrow', 'datasets') if m in sys.modules]))"
    out = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []

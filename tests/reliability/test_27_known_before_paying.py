"""Odd input is noticed before anything is paid for: it comes out whole, or it is refused with nothing asked."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import os
import sys
from decimal import Decimal
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rt_framework.builtin.formats.csv import CsvFormat
from rt_framework.builtin.formats.dataset import DatasetFormat
from rt_framework.builtin.formats.json import JsonFormat
from rt_framework.builtin.formats.jsonl import JsonlFormat
from rt_framework.builtin.formats.parquet import ParquetFormat
from rt_framework.config.schema import Config, Data
from rt_framework.data import open_source
from rt_framework.errors import DataError, PluginError, RtError
from rt_framework.plugin import Host, structure
from rt_framework.protocols import PreparingFormat
from rt_framework.results import open_run
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.run_helpers import attempts, go, json_lines, row

FORMATS = {
    "json": JsonFormat(),
    "jsonl": JsonlFormat(),
    "csv": CsvFormat(),
    "parquet": ParquetFormat(),
    "dataset": DatasetFormat(),
}
OURS = ("instruction", "input", "output")


def job(data: Path, form: str | None = None, **more) -> Config:
    """Rewrite every response of a file, without a student."""
    raw = {
        "data": {"path": str(data)},
        "teacher": "held:teacher",
        "pipeline": [{"reflect": "response"}, {"choose": "newest"}],
        "output": {"format": form} if form else {},
    }
    return structure(raw | more, Config)


def kept(run_dir: Path) -> Path:
    """Return the path of the file with the samples that a run kept."""
    (path,) = run_dir.glob("kept*")
    return path


# --- odd inputs -------------------------------------------------------------------------------

JSON_VALUES = {
    "a float too large": ["1e400"],
    "NaN": ["NaN"],
    "infinity": ["[-Infinity]"],
    "an integer of 5,000 digits": ["9" * 5000],
    "an integer of 64 bits": [str(2**63)],
    "an integer of 70 bits": [str(2**70)],
    "whole numbers and floats": ["1", "2.5"],
    "whole numbers that no float holds, and floats": [str(2**60 + 1), "2.5"],
    "true and numbers": ["0.5", "true"],
    "numbers and texts": ["1", '"a"'],
    "texts and lists": ['"a"', "[1]"],
    "a list of mixed types": ['[1, "a", null]'],
    "objects with other keys": ['{"a": 1}', '{"b": "x"}'],
    "objects of which one has no keys": ["{}", '{"a": 1}'],
    "objects without keys": ["{}"],
    "a key that occurs twice": ['{"a": 1, "a": 2}'],
    "nested lists": ["[[], [[1]], [[], [2]]]"],
    "half a character": ['"x\\ud83d"'],
    "null only": ["null", "null"],
    "an empty list": ["[]", "[1]"],
    "a deep list": ["[" * 60 + "]" * 60],
}
"""Values of an unknown column, as the JSON lines of one file spell them."""

ARROW_VALUES = {
    "NaN": pa.array([1.5, math.nan]),
    "a timestamp": pa.array([dt.datetime(2024, 1, 2, 3, 4, 5), None], pa.timestamp("ms")),
    "a timestamp with nanoseconds and a zone": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
    "a timestamp that Python lacks": pa.array([2**62, None], pa.timestamp("us")),
    "a time with nanoseconds": pa.array([1, 1000], pa.time64("ns")),
    "a date": pa.array([dt.date(2024, 1, 2), None]),
    "a time": pa.array([dt.time(1, 2), None]),
    "a duration": pa.array([dt.timedelta(1), None]),
    "a decimal": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
    "bytes": pa.array([b"\xff", b""]),
    "small integers": pa.array([1, None], pa.int8()),
    "unsigned integers": pa.array([2**64 - 1, 0], pa.uint64()),
    "half floats": pa.array([1.5, 2.5], pa.float16()),
    "large strings": pa.array(["a", None], pa.large_string()),
    "categories": pa.array(["a", "b"]).dictionary_encode(),
    "a map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())),
    "a list of structs": pa.array([[{"a": 1}], None], pa.list_(pa.struct([("a", pa.int8())]))),
    "a list of a fixed size": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
    "null only": pa.nulls(2),
}
"""Values of an unknown column in a Parquet file."""


def in_json(folder: Path, values: list[str]) -> Path:
    """A file of JSON lines with these values in column ``odd``."""
    texts = [json.dumps(row(number))[:-1] + f', "odd": {value}}}' for number, value in enumerate(values)]
    (path := folder / "data.jsonl").write_text("\n".join(texts) + "\n")
    return path


def in_parquet(folder: Path, values: pa.Array) -> Path:
    """A Parquet file with these values in column ``odd``."""
    table = pa.Table.from_pylist([row(0), row(1)]).append_column("odd", values)
    pq.write_table(table, path := folder / "data.parquet")
    return path


def refusal(data: Path, form: str, run_dir: Path) -> str | None:
    """Run a job over a file; return the message of its refusal, with nothing asked or made, or else ``None``."""
    teacher, told = ScriptedTeacher(rewriting), None
    try:
        assert go(job(data, form), run_dir, teacher).total > 0
    except RtError as error:
        told = error
    assert bool(teacher.requests) == run_dir.exists() == (told is None), told
    assert told is None or told.exit_code == 2
    return told and str(told)


def alike(value: object, back: object) -> bool:
    """Return whether a value came back the same: NaN equals NaN, a missing key equals null, and true is no number."""
    if isinstance(value, dict) and isinstance(back, dict):
        return all(alike(value.get(key), back.get(key)) for key in {*value, *back})
    if isinstance(value, list | tuple):
        return isinstance(back, list | tuple) and len(value) == len(back) and all(map(alike, value, back))
    if isinstance(value, float) and math.isnan(value):
        return isinstance(back, float) and math.isnan(back)
    return value == back and isinstance(value, bool) == isinstance(back, bool)


def in_format(value: object, form: str) -> object:
    """Return a value as a format is documented to hold it: as text in CSV, and with ``?`` for half a character."""
    if isinstance(value, str) and form not in ("json", "jsonl"):
        value = value.encode("utf-8", "replace").decode()
    if form != "csv" or isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("make", "values"),
    [
        *(pytest.param(in_json, values, id=f"JSON, {name}") for name, values in JSON_VALUES.items()),
        *(pytest.param(in_parquet, values, id=f"Parquet, {name}") for name, values in ARROW_VALUES.items()),
    ],
)
def test_odd_input_comes_out_whole_or_is_refused_with_nothing_asked(tmp_path, make, values, form):
    """There is no third outcome. A refusal names file, column and the way out."""
    data = make(tmp_path, values)
    told = refusal(data, form, tmp_path / "run")
    if told is not None:
        assert told.startswith(f"{data}: ")
        assert "column 'odd'" in told
        assert "; " in told
        assert "\n" not in told
        assert len(told) < 500
        return
    reader = ParquetFormat() if data.suffix == ".parquet" else JsonlFormat()
    before = [one["odd"] for one in reader.read(data)]
    after = [one["odd"] for one in FORMATS[form].read(kept(tmp_path / "run"))]
    assert alike([in_format(value, form) for value in before], after)


@pytest.mark.parametrize(
    "name", sorted(ARROW_VALUES.keys() - {"a timestamp that Python lacks", "a time with nanoseconds"})
)
def test_parquet_to_parquet_keeps_every_type(tmp_path, name):
    """Also in a file of no rows: nothing was dropped here."""
    data = in_parquet(tmp_path, ARROW_VALUES[name])
    assert refusal(data, "parquet", tmp_path / "run") is None
    for stem in ("kept", "dropped"):
        assert pq.read_schema(tmp_path / "run" / f"{stem}.parquet").equals(pq.read_schema(data), check_metadata=True)


def test_a_row_that_is_refused_is_named(tmp_path):
    """Of many, whichever format is written."""
    values = ["1"] * 1400 + ['"a"'] + ["1"] * 700
    data = in_json(tmp_path, values)
    assert "row 1400 (from 0): column 'odd'" in refusal(data, "parquet", tmp_path / "run")
    (tmp_path / "line").mkdir()
    assert "line 3: column 'odd' is 1e999" in refusal(
        in_json(tmp_path / "line", ["1", "2", "1e999"]), "csv", tmp_path / "r"
    )
    table = pa.Table.from_pylist([row(number) for number in range(1500)])
    pq.write_table(table.append_column("odd", pa.array([0.5] * 1400 + [math.nan] * 100)), tmp_path / "data.parquet")
    assert "row 1400 (from 0): column 'odd'" in refusal(tmp_path / "data.parquet", "jsonl", tmp_path / "run")


def test_two_columns_of_one_name_are_refused(tmp_path):
    """Each format would keep one of them."""
    table = pa.Table.from_pylist([row(0)])
    pq.write_table(table.append_column("topic", pa.array(["other"])), tmp_path / "data.parquet")
    assert "two columns are called 'topic'; rename one" in refusal(tmp_path / "data.parquet", "jsonl", tmp_path / "run")


def test_a_column_called_like_one_of_the_output_s_shape_is_not_lost(tmp_path):
    """It is refused when the shape is chosen, not dropped from the data afterwards."""
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "data.jsonl").write_text(json.dumps({"messages": turns, "output": "mine"}) + "\n")
    teacher = ScriptedTeacher(rewriting)
    with pytest.raises(DataError, match=r"data.jsonl: row 0 .from 0.: column 'output' would be lost"):
        go(job(tmp_path / "data.jsonl", output={"shape": "alpaca"}), tmp_path / "run", teacher)
    assert teacher.requests == []


def test_a_shape_that_cannot_hold_a_record_is_refused_with_nothing_asked(tmp_path):
    """The third of three."""
    good = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    lines = [{"messages": one} for one in (good, good, [{"role": "assistant", "content": "hello"}, *good])]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    teacher = ScriptedTeacher(rewriting)
    with pytest.raises(DataError, match=r"data.jsonl: row 2 .from 0.: earlier turns do not alternate"):
        go(job(tmp_path / "data.jsonl", output={"shape": "alpaca"}), tmp_path / "run", teacher)
    assert teacher.requests == []


def test_texts_of_few_values_may_become_any_text(tmp_path):
    """A column of categories or nulls becomes one of texts if a rewrite may change it; others keep their type."""
    table = pa.table(
        {
            "instruction": pa.array(["a", "a"]).dictionary_encode(),
            "output": pa.array(["old", "old"], pa.large_string()),
            "input": pa.nulls(2),
            "topic": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "data.parquet")
    assert refusal(tmp_path / "data.parquet", "parquet", tmp_path / "run") is None
    schema = pq.read_schema(tmp_path / "run" / "kept.parquet")
    assert [field.type for field in schema] == [pa.string(), pa.large_string(), pa.string(), table.schema.field(3).type]
    assert "old" not in pq.read_table(tmp_path / "run" / "kept.parquet").column("output").to_pylist()


def test_a_data_set_keeps_the_names_of_its_classes(tmp_path):
    """From a saved data set to one: the features, and the values."""
    features = datasets.Features(
        {
            "instruction": datasets.Value("string"),
            "output": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["bad", "good"]),
            "score": datasets.Value("float32"),
        }
    )
    values = {"instruction": ["a", "b"], "output": ["c", "d"], "label": [1, 0], "score": [0.5, 1.5]}
    datasets.Dataset.from_dict(values, features).save_to_disk(tmp_path / "data")
    assert refusal(tmp_path / "data", "dataset", tmp_path / "run") is None
    found = datasets.load_from_disk(str(tmp_path / "run" / "kept"))
    assert found.features == features
    assert (found["label"], found["score"]) == ([1, 0], [0.5, 1.5])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@given(values=st.lists(VALUES, min_size=1, max_size=5))
@example(values=[0.5, True])
@example(values=[2**60 + 1, 0.5])
@example(values=[{}, {"a": None}])
def test_what_was_prepared_is_written_as_it_was(tmp_path, form, values):
    """Any JSON in any order: refused when it is tried, or the same when it is read again."""
    rows = [{"odd": value} for value in values]
    try:
        write = FORMATS[form].prepare(iter(rows), (), None)
    except DataError:
        return
    write(tmp_path / "rows", iter(rows))
    after = [one["odd"] for one in FORMATS[form].read(tmp_path / "rows")]
    assert alike([in_format(value, form) for value in values], after)


@pytest.mark.parametrize("last", [0.5, 2**53 + 1, None, {"a": 1}])
@pytest.mark.parametrize("first", [1, 2**53 + 1, 0.5, None])
def test_a_type_that_widens_after_many_rows_loses_nothing(tmp_path, first, last):
    """A batch that went before is not looked at again: what it holds must fit the later type, or is refused."""
    rows = [{"odd": first}] * 1000 + [{"odd": last}]
    try:
        write = ParquetFormat().prepare(iter(rows), (), None)
    except DataError as error:
        write, told = None, str(error)
    if write is None:
        assert "row 1000 (from 0): column 'odd'" in told
        assert {type(first), type(last)} in ({int, float}, {int, dict}, {float, dict})
        return
    write(tmp_path / "rows.parquet", iter(rows))
    assert alike(rows, list(ParquetFormat().read(tmp_path / "rows.parquet")))


# --- formats of others ------------------------------------------------------------------------


class Others:
    """A format that only reads and writes, and notes where it wrote."""

    suffixes = (".others",)

    def __init__(self) -> None:
        self.wrote: list[Path] = []

    def detect(self, path):
        return path.suffix == ".others"

    def read(self, path):
        return JsonlFormat().read(path)

    def write(self, path, rows):
        self.wrote.append(path)
        JsonlFormat().write(path, rows)


@pytest.fixture
def others(monkeypatch):
    """Such a format, in the place of ``csv``."""
    form = Others()
    assert not isinstance(form, PreparingFormat)
    monkeypatch.setattr("rt_framework.builtin.formats.csv.CsvFormat", lambda: form)
    return form


def test_a_format_that_only_writes_is_tried_on_a_file_that_is_removed(tmp_path, others):
    """All rows, before the first question."""
    data = in_json(tmp_path, ["1", "2"])
    assert refusal(data, "csv", tmp_path / "run") is None
    tried, *written = others.wrote
    assert [path.parents[2] for path in written] == [tmp_path / "run"] * 2
    assert not tried.parent.exists()


def test_a_format_of_others_that_refuses_or_fails_does_so_with_nothing_asked(tmp_path, others, monkeypatch):
    """One line that names it."""
    data = in_json(tmp_path, ["1", "2"])
    teacher = ScriptedTeacher(rewriting)
    for raised, kind in ((DataError("row 1 (from 0): no"), DataError), (TypeError("no"), PluginError)):

        def write(path, rows, raised=raised):
            raise raised

        monkeypatch.setattr(others, "write", write)
        with pytest.raises(kind, match="no"):
            go(job(data, "csv"), tmp_path / "run", teacher)
    assert teacher.requests == []


# --- input that changes -----------------------------------------------------------------------

CHANGES = {
    "a row more": lambda text: text + json.dumps(row(7)) + "\n",
    "a row less": lambda text: text[: text.rindex('{"instruction')],
    "another column": lambda text: text.replace('"topic": "t1"', '"topic": "t9"'),
    "another text": lambda text: text.replace("boat 1", "boat 9"),
    "no JSON": lambda text: text + "{",
    "gone": lambda text: None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_input_that_changes_under_a_run_is_told_as_that(tmp_path, change):
    """Nothing is written from it; put back as it was, the run goes on and nothing is asked twice."""
    data = in_json(tmp_path, ["1", "2", "3"])
    text = data.read_text()

    def answer(request):
        changed = CHANGES[change](text)
        data.unlink(missing_ok=True)
        if changed is not None:
            data.write_text(changed)
        return rewriting(request)

    teacher = ScriptedTeacher(answer)
    config = job(data, limits={"concurrency": 1, "in_flight": 1})
    with pytest.raises(DataError, match=r"data\.jsonl: changed while it was in use, .* paid for are kept"):
        go(config, tmp_path / "run", teacher)
    assert not list((tmp_path / "run").glob("kept*")) + list((tmp_path / "run").glob("dropped*"))
    data.write_text(text)
    again = ScriptedTeacher(rewriting)
    go(config, tmp_path / "run", again)
    assert len(teacher.requests) + len(again.requests) == 3
    assert sum(attempts(tmp_path / "run").values()) == 3
    assert len(json_lines(kept(tmp_path / "run"))) == 3


def test_old_outputs_stay_when_the_input_changes_at_the_end(tmp_path, monkeypatch):
    """Even while the outputs themselves are being written."""
    data = in_json(tmp_path, ["1", "2"])
    go(job(data), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.jsonl")}
    write = JsonlFormat.write

    def written(self, path, rows):
        write(self, path, rows)
        data.write_text(data.read_text() + " \n")

    monkeypatch.setattr(JsonlFormat, "write", written)
    with pytest.raises(DataError, match="changed while it was in use"):
        go(job(data), tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").glob("*.jsonl")} == before


@pytest.fixture
def opened(tmp_path):
    """The files in a folder that are opened to be read, in order. The hook sees every way of opening one."""
    seen, watching = [], [True]

    def hook(event, args):
        if (
            watching[0]
            and event == "open"
            and str(args[0]).startswith(f"{tmp_path}/data")
            and not args[2] & os.O_WRONLY
        ):
            seen.append(Path(str(args[0])).name)

    sys.addaudithook(hook)
    yield seen
    watching[0] = False  # a hook cannot be removed


@pytest.mark.parametrize("name", ["json", "jsonl", "csv"])
def test_a_run_reads_its_input_three_times(tmp_path, opened, name):
    """To count, hash and try it; to run; and to write all outputs, with the last hash. No other reading for a hash."""
    data = tmp_path / f"data.{name}"
    FORMATS[name].write(data, [row(number) for number in range(3)])
    known = open_source(Host(only=[]), Data(str(data))).facts()["content"]
    opened.clear()
    assert go(job(data), tmp_path / "run").total == 3
    looked = {"json": 2}.get(name, 0)  # formats that share the ending .json look at its first character
    assert opened == [data.name] * (looked + 3)
    with open_run(tmp_path / "run") as run:
        assert run.facts["data"]["content"] == known


def test_a_hash_has_readings_of_its_own_where_the_format_cannot_be_streamed(tmp_path, opened):
    """One before the first reading, so that no change after it is missed, and one after the outputs."""
    data = in_parquet(tmp_path, pa.array(["a", "b"]))
    opened.clear()
    assert go(job(data), tmp_path / "run").total == 2
    assert opened.count(data.name) == 3 + 2 + 1, "three readings, two hashes, and the types of the columns"


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet", "dataset"])
def test_the_hash_of_an_input_is_that_of_its_name_and_bytes(tmp_path, name):
    """However it was taken: from the bytes as they were read, or from a reading of its own."""
    data = tmp_path / f"data.{name}" if name != "dataset" else tmp_path / "data"
    FORMATS[name].write(data, [row(number) for number in range(3)])
    parts = sorted(path for path in data.rglob("*") if path.is_file()) if data.is_dir() else [data]
    folder = data if data.is_dir() else tmp_path
    expected = hashlib.sha256()
    for path in parts:
        expected.update(str(path.relative_to(folder)).encode() + hashlib.sha256(path.read_bytes()).digest())
    for limit in (None, 2):
        source = open_source(Host(only=[]), Data(str(data)), limit)
        assert source.facts()["content"] == expected.hexdigest()
        known, _ = source.read_through(lambda _: None)
        assert known.facts()["content"] == expected.hexdigest()


def test_a_file_that_changes_after_its_first_row_is_read_from_its_beginning(tmp_path):
    """The reading that showed the shape is not gone on with."""
    data = in_json(tmp_path, ["1", "2"])
    source = open_source(Host(only=[]), Data(str(data)))
    data.write_text("".join(reversed(data.read_text().splitlines(keepends=True))))
    assert [record.extra["topic"] for _, record in source] == ["t1", "t0"]
    assert [record.extra["topic"] for _, record in source] == ["t1", "t0"]

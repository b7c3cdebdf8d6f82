"""Directories of save_to_disk, which are read and written without the datasets library, against that library."""

import json
import math
import shutil
import subprocess
import sys

import datasets
import pyarrow as pa
import pytest

from rt_framework.builtin.formats.dataset import DatasetFormat
from rt_framework.errors import DataError

FORM = DatasetFormat()


def loaded(path):
    """The data set as its own library reads it."""
    return datasets.load_from_disk(str(path))


def passed_on(table, path):
    """Write a table as a run writes columns that pass through, and return the path."""
    rows = table.to_pylist()
    FORM.prepare(rows, (), table.schema)(path, iter(rows))
    return path


def nested(depth):
    """A list in a list in a list."""
    kind = pa.int8()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


# --- without the library ----------------------------------------------------------------------


def test_no_datasets_library_is_needed(tmp_path, monkeypatch):
    """It is found by its files, read, and written, though the library cannot be imported."""
    datasets.Dataset.from_dict({"a": ["x", "y"]}).save_to_disk(tmp_path / "theirs")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert FORM.detect(tmp_path / "theirs")
    rows = list(FORM.read(tmp_path / "theirs"))
    assert rows == [{"a": "x"}, {"a": "y"}]
    FORM.prepare(rows, ["a"], FORM.schema(tmp_path / "theirs"))(tmp_path / "ours", iter(rows))
    FORM.write(tmp_path / "free", rows)
    assert list(FORM.read(tmp_path / "ours")) == list(FORM.read(tmp_path / "free")) == rows


# --- reading ----------------------------------------------------------------------------------


def test_several_files_are_read_in_order(tmp_path):
    """Also of a data set that was shuffled, filtered or sorted before it was saved."""
    data = datasets.Dataset.from_dict({"n": list(range(3500)), "t": [str(n) for n in range(3500)]})
    data = data.shuffle(seed=1).filter(lambda row: row["n"] % 7)
    data.save_to_disk(tmp_path / "data", num_shards=3)
    assert len(list((tmp_path / "data").glob("*.arrow"))) == 3
    assert list(FORM.read(tmp_path / "data")) == data.to_list()


FEATURES = datasets.Features(
    {
        "label": datasets.ClassLabel(names=["bad", "good"]),
        "picture": datasets.Image(),
        "grid": datasets.Array2D((2, 2), "int32"),
        "turns": datasets.List({"role": datasets.Value("string"), "n": datasets.Value("int8")}),
        "when": datasets.Value("timestamp[ms, tz=UTC]"),
    }
)


COPY = """
import sys
from pathlib import Path
from rt_framework.builtin.formats.dataset import DatasetFormat
form, before = DatasetFormat(), Path("before")
rows = list(form.read(before))
form.prepare(rows, (), form.schema(before))(Path("after"), iter(rows))
print("datasets" in sys.modules, rows)
"""


def test_features_survive_from_a_data_set_to_a_data_set(tmp_path):
    """Names of classes, images and grids are what they were, though a process without the library copied them."""
    row = {
        "label": 1,
        "picture": {"bytes": b"\x89PNG", "path": "a.png"},
        "grid": [[1, 2], [3, 4]],
        "turns": [{"role": "user", "n": 3}],
        "when": None,
    }
    other = datasets.Features({name: feature for name, feature in FEATURES.items() if name != "picture"})
    plain = [{name: row[name] for name in other}] * 2
    image = pa.table({"picture": [row["picture"]] * 2}, datasets.Features(picture=FEATURES["picture"]).arrow_schema)
    parts = [datasets.Dataset.from_list(plain, other), datasets.Dataset(image)]  # to encode an image would need Pillow
    before = datasets.concatenate_datasets(parts, axis=1).select_columns(list(FEATURES))
    before.save_to_disk(tmp_path / "before")
    copied = subprocess.run([sys.executable, "-c", COPY], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert copied.stdout == f"False {[row, row]}\n"
    after = loaded(tmp_path / "after")
    assert after.features == FEATURES
    assert after.with_format("arrow")[:].equals(before.with_format("arrow")[:])


def test_features_of_the_info_file_are_those_that_hold(tmp_path):
    """A class that is renamed in this file has its new name in the library, and in data that is written from there."""
    data = datasets.Dataset.from_dict({"a": [0]}, datasets.Features({"a": datasets.ClassLabel(names=["old"])}))
    data.save_to_disk(tmp_path / "data")
    info = tmp_path / "data" / "dataset_info.json"
    info.write_text(info.read_text().replace('"old"', '"new"'))
    rows = list(FORM.read(tmp_path / "data"))
    FORM.prepare(rows, (), FORM.schema(tmp_path / "data"))(tmp_path / "next", iter(rows))
    assert loaded(tmp_path / "data").features["a"].names == loaded(tmp_path / "next").features["a"].names == ["new"]


def edited(path, name, **changes):
    """Change keys of one of the two JSON files."""
    told = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(told | changes))


def cut(path):
    """Cut the second Arrow file in its middle."""
    file = sorted(path.glob("*.arrow"))[1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_other_columns(path):
    """Put another data set's file in the place of the second."""
    FORM.write(path.parent / "other", [{"b": 1}])
    shutil.copy(next((path.parent / "other").glob("*.arrow")), sorted(path.glob("*.arrow"))[1])


BROKEN = {
    "state.json is no JSON": (lambda path: (path / "state.json").write_text("{"), "broken data set: JSONDecodeError"),
    "state.json is no object": (lambda path: (path / "state.json").write_text("[]"), "broken data set: "),
    "no files are named": (lambda path: edited(path, "state.json", _data_files=[]), "names no data file"),
    "the list of files is none": (lambda path: edited(path, "state.json", _data_files=None), "broken data set: "),
    "a file is gone": (lambda path: sorted(path.glob("*.arrow"))[1].unlink(), "names data-00001-of-00002.arrow, which"),
    "a file lies elsewhere": (
        lambda path: edited(path, "state.json", _data_files=[{"filename": "../x.arrow"}]),
        "names ../x.arrow, which is not in the directory",
    ),
    "a file is cut": (cut, "broken data set: "),
    "a file has other columns": (of_other_columns, "data-00001-of-00002.arrow has other columns"),
    "an index of rows": (
        lambda path: edited(path, "state.json", _indices_files=[{"filename": "indices.arrow"}]),
        "is saved with an index of rows",
    ),
    "no state.json": (lambda path: (path / "state.json").unlink(), "no saved data set"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_read_is_one_line_with_the_way_out(tmp_path, how):
    """No row of such a directory is silently left out."""
    path = tmp_path / "data"
    datasets.Dataset.from_dict({"a": ["x"] * 3000}).save_to_disk(path, num_shards=2)
    break_it, problem = BROKEN[how]
    break_it(path)
    with pytest.raises(DataError) as caught:
        list(FORM.read(path))
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert problem in line
    assert "save_to_disk" in line
    assert "\n" not in line


def test_broken_info_is_one_line_too(tmp_path):
    """It is read for the columns."""
    datasets.Dataset.from_dict({"a": ["x"]}).save_to_disk(tmp_path / "data")
    (tmp_path / "data" / "dataset_info.json").write_text("[]")
    with pytest.raises(DataError, match=r"data: broken data set: .*; save it again with save_to_disk"):
        FORM.schema(tmp_path / "data")


# --- writing ----------------------------------------------------------------------------------

KINDS = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.time32("ms"), pa.time64("us")),
    *(pa.timestamp("ms"), pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("us", "+01:00"), pa.date32(), pa.date64()),
    *(pa.duration("s"), pa.decimal128(10, 2), pa.decimal128(10, -2), pa.decimal256(50, 2), pa.decimal32(5, 2)),
    *(pa.decimal64(9, 1), pa.binary(), pa.large_binary(), pa.binary(3), pa.binary_view(), pa.string()),
    *(pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.map_(pa.string(), pa.int8())),
    *(pa.struct([("a", pa.int8())]), pa.struct([]), pa.list_(pa.int8()), pa.list_(pa.int8(), 2)),
    *(pa.large_list(pa.int8()), pa.list_view(pa.int8()), pa.list_(pa.field("element", pa.int8(), nullable=False))),
    *(pa.struct([pa.field("a", pa.int8(), nullable=False)]), pa.list_(pa.map_(pa.string(), pa.int8()))),
    *(pa.list_(pa.dictionary(pa.int32(), pa.string()), 2), pa.run_end_encoded(pa.int32(), pa.string())),
    *(pa.month_day_nano_interval(), pa.uuid(), pa.bool8(), pa.json_()),
    *(nested(depth) for depth in (40, 58, 60, 62, 63, 64, 70)),
]


def accepted(table, path):
    """Return whether the library saves such a table and loads it again."""
    try:
        for number, part in enumerate((table, table.slice(0, 0))):
            datasets.Dataset(part, fingerprint="x").save_to_disk(path / str(number), num_shards=1)
            loaded(path / str(number))
    except (ValueError, TypeError, NotImplementedError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind)[:60])
def test_a_type_is_written_so_that_the_library_loads_it_or_refused(tmp_path, kind, nullable):
    """With rows and without, and refused only if the library cannot hold it either."""
    schema = pa.schema([pa.field("odd", kind, nullable=nullable or kind == pa.null()), pa.field("text", pa.string())])
    table = pa.table([pa.nulls(2, kind), pa.array(["a", "b"])], schema=schema)
    path = tmp_path / "ours"
    if not accepted(table, tmp_path):
        with pytest.raises(DataError, match=r"column 'odd' does not fit a data set: .*; remove it, or write jsonl"):
            passed_on(table, path)
        return
    passed_on(table, path)
    found = loaded(path)
    assert found.with_format("arrow")[:].to_pylist() == table.to_pylist() == list(FORM.read(path))
    assert found.features == datasets.Features.from_arrow_schema(table.schema)
    FORM.prepare(table.to_pylist(), (), table.schema)(tmp_path / "empty", iter(()))
    assert loaded(tmp_path / "empty").features == found.features
    assert len(loaded(tmp_path / "empty")) == len(list(FORM.read(tmp_path / "empty"))) == 0


@pytest.mark.parametrize("told", [b"junk", b"{}", b'{"info": {"features": null}}', b"[1]"])
def test_metadata_that_the_library_could_not_read_is_not_passed_on(tmp_path, told):
    """Such as that of a Parquet file which another program wrote."""
    table = pa.table({"a": ["x"]}).replace_schema_metadata({b"huggingface": told})
    assert loaded(passed_on(table, tmp_path / "data")).to_list() == [{"a": "x"}]


def test_what_a_run_writes_is_what_the_library_loads(tmp_path):
    """Values of every kind that JSON has, in more rows than one batch, and the same fingerprint each time."""
    rows = [{"n": n, "x": n / 2, "t": f"é{n}", "list": [{"k": n}], "none": None} for n in range(2500)]
    rows[7]["x"] = math.inf
    FORM.write(tmp_path / "one", rows)
    FORM.write(tmp_path / "two", rows)
    one, two = loaded(tmp_path / "one"), loaded(tmp_path / "two")
    assert one.to_list() == rows == list(FORM.read(tmp_path / "one"))
    assert one._fingerprint == two._fingerprint

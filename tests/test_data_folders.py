"""Folders of files of one format, which are read as one data set."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rt_framework.config import Data
from rt_framework.data import open_source
from rt_framework.errors import DataError
from rt_framework.plugin import Host
from tests.helpers import Cli, json_lines, rows
from tests.test_formats import FORMATS, read


def source(path, limit=None, **more):
    return open_source(Host(only=[]), Data(str(path), **more), limit)


def folder(tmp_path, name, ending=None, parts=(3, 1, 2)):
    """A folder with six rows in several files."""
    place, left = tmp_path / "data", rows(sum(parts))
    place.mkdir()
    for number, count in enumerate(parts):
        FORMATS[name].write(place / f"part-{number}{ending or '.' + name}", left[:count])
        left = left[count:]
    return place


def refusal(path, **more):
    with pytest.raises(DataError) as caught:
        source(path, **more).read_through(lambda _: None)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


@pytest.mark.parametrize(
    ("name", "ending"), [("parquet", ".parquet"), ("jsonl", ".jsonl"), ("jsonl", ".json.gz"), ("csv", ".csv")]
)
def test_a_folder_is_one_data_set(tmp_path, name, ending):
    """Its files by name, their rows numbered through, and the hash over all of them."""
    place = folder(tmp_path, name, ending)
    (place / ".DS_Store").write_text("x")
    (place / "_SUCCESS").write_text("")
    (place / ".cache").mkdir()
    found = source(place)
    assert str(found) == f"{place}: {name}, alpaca columns"
    assert [record.extra["topic"] for _, record in found] == [row["topic"] for row in rows(6)]
    assert [sample.row for sample in found.samples()] == list(range(6))
    FORMATS["jsonl"].write(tmp_path / "one.jsonl", rows(6))
    assert [sample.id for sample in found.samples()] == [
        sample.id for sample in source(tmp_path / "one.jsonl").samples()
    ]
    known, _ = found.read_through(lambda _: None)
    assert known.count() == 6
    assert known.facts()["content"] == source(place, limit=2).read_through(lambda _: None)[0].facts()["content"]
    assert len(list(source(place, limit=4))) == 4
    assert {sample.id for sample in found.drawing(3, 1).samples()} < {sample.id for sample in found.samples()}
    assert found.size() == sum(file.stat().st_size for file in place.glob("part-*"))


@pytest.mark.parametrize("name", ["parquet", "jsonl"])
@pytest.mark.parametrize("change", ["a file", "a new file", "a file is gone", "names"])
def test_every_change_of_the_files_is_noticed(tmp_path, name, change):
    """And that of a hidden file is none."""
    place = folder(tmp_path, name)
    known, _ = source(place).read_through(lambda _: None)
    (place / ".hidden").write_text("x")
    known.check_unchanged()
    first, last = place / f"part-0.{name}", place / f"part-2.{name}"
    if change == "a file":
        FORMATS[name].write(last, rows(1))
    elif change == "a new file":
        FORMATS[name].write(place / f"part-9.{name}", rows(1))
    elif change == "a file is gone":
        first.unlink()
    else:
        last.rename(place / f"a.{name}")
    with pytest.raises(DataError, match=f"^{place}: changed while it was in use"):
        known.check_unchanged()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            pa.table({"instruction": ["a"], "output": pa.array([1])}),
            "column 'output' is string in a.parquet and int64 in b.parquet; write",
        ),
        (pa.table({"instruction": ["a"]}), "column 'output' is string in a.parquet and missing in b.parquet"),
        (
            pa.table({"instruction": ["a"], "output": ["b"], "n": [1]}),
            "column 'n' is missing in a.parquet and int64 in b.parquet",
        ),
    ],
)
def test_files_with_different_columns_name_both_files_and_the_column(tmp_path, other, message):
    """Before anything is paid for, even where the first rows are all that is read at first."""
    pq.write_table(pa.table({"instruction": ["q"], "output": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(other, tmp_path / "b.parquet")
    assert f"{tmp_path}: {message}" in refusal(tmp_path)


def test_columns_in_another_order_are_the_same(tmp_path):
    """A row is read by the names of its columns."""
    pq.write_table(pa.table({"instruction": ["q"], "output": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"output": ["b"], "instruction": ["r"]}), tmp_path / "b.parquet")
    assert [sample.current.pair.response for sample in source(tmp_path).samples()] == ["a", "b"]


@pytest.mark.parametrize("foreign", ["notes.txt", "z.csv", "inner"])
def test_a_foreign_file_is_named_with_the_way_out(tmp_path, foreign):
    """It is neither read nor passed over in silence."""
    place = folder(tmp_path, "jsonl")
    (place / foreign).mkdir() if foreign == "inner" else (place / foreign).write_text("a,b\n")
    line = refusal(place)
    beside = "which is no file" if foreign == "inner" else "beside part-0.jsonl, which is jsonl"
    assert f"{place}: holds {foreign}{', ' if foreign == 'inner' else ' '}{beside}; a folder that is read as" in line
    assert foreign != "inner" or "which is no file" in refusal(place, format="jsonl")
    assert "begin its name with a dot" in line
    (place / foreign).rename(place / f".{foreign}")
    assert source(place).count() == 6


def test_a_folder_without_data_says_so(tmp_path):
    """As a file of an unknown format does."""
    assert refusal(tmp_path).endswith("holds no files; give a file, or a folder of files of one format")
    (tmp_path / "notes.txt").write_text("x")
    assert "unknown format; name it with data.format" in refusal(tmp_path)


def test_a_folder_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    """As a file does."""
    place = folder(tmp_path, "jsonl")

    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", denied)
    assert refusal(place) == f"{place}: cannot be read: Permission denied"


def test_a_named_format_reads_every_visible_file(tmp_path):
    """The endings of the files do not matter."""
    for number in range(2):
        FORMATS["jsonl"].write(tmp_path / f"part-0000{number}", rows(2))
    assert source(tmp_path, format="jsonl").count() == 4
    assert "no saved data set" in refusal(tmp_path, format="dataset")


def test_a_bad_row_names_the_file_that_it_is_in(tmp_path):
    """And its number in the data set and in the file."""
    place = folder(tmp_path, "jsonl")
    with (place / "part-1.jsonl").open("a") as file:
        file.write(json.dumps({"instruction": "no answer"}) + "\n")
    assert refusal(place).startswith(f"{place}: row 4 (from 0), row 1 of part-1.jsonl: no column 'output'")


def test_a_broken_file_is_named(tmp_path):
    """With the line in it."""
    place = folder(tmp_path, "jsonl", ".jsonl.gz")
    (place / "part-1.jsonl.gz").write_bytes(gzip.compress(b"{}\n{\n"))
    assert refusal(place, shape="alpaca").startswith(f"{place}")
    (place / "part-1.jsonl.gz").write_bytes(gzip.compress(b"{\n"))
    assert refusal(place).startswith(f"{place / 'part-1.jsonl.gz'}: line 1: broken JSON")


def test_a_run_over_a_folder_keeps_its_types(tmp_path, monkeypatch, capfd):
    """The outputs are files of the format of the folder."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "data"
    place.mkdir()
    for part in range(2):
        kind = pa.array([part] * 3, pa.int8())
        texts = {key: [row[key] for row in rows(6)[3 * part : 3 * part + 3]] for key in ("instruction", "output")}
        pq.write_table(pa.table({**texts, "part": kind}), place / f"{part}.parquet")
    cli = Cli(monkeypatch, capfd)
    assert cli("score", "data", "--student", "fake", "--out", "scores.jsonl").code == 0
    assert [line["row"] for line in json_lines(tmp_path / "scores.jsonl")] == list(range(6))
    by = "{random: {fraction: 1}}"
    assert cli("select", "data", "--scores", "scores.jsonl", "--by", by, "--out", "kept.parquet").code == 0
    assert pq.read_schema(tmp_path / "kept.parquet").field("part").type == pa.int8()
    assert [row["part"] for row in read("parquet", tmp_path / "kept.parquet")] == [0, 0, 0, 1, 1, 1]
    done = cli("select", "data", "--scores", "scores.jsonl", "--by", by, "--out", "data/kept.parquet")
    assert done.code == 2
    assert "lies in data, an input of this command" in done.error()

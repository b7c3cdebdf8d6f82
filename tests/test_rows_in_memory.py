"""Rows that a Python program holds: understood, copied, hashed, and the same data set as in a file."""

import asyncio
import datetime
import gc
import json
import subprocess
import sys
from decimal import Decimal

import datasets
import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from rt_framework.config import Builder, Data
from rt_framework.data import open_source, rows_source
from rt_framework.errors import ConfigError, DataError
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.jobs.selecting import select_file
from rt_framework.kit.parts import Spec
from rt_framework.model import Pair, Record, Turn
from rt_framework.plugin import Host
from rt_framework.rundir import open_outlet
from tests.helpers import rows


def refusal(given, **more):
    with pytest.raises(DataError) as caught:
        rows_source(given, **more).read_through(lambda _: None)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("rows in memory: ")
    return line.removeprefix("rows in memory: ")


def in_file(tmp_path, data):
    """The source of the same rows in a file."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return open_source(Host(only=[]), Data(str(path)))


KINDS = {
    "a list": lambda: rows(7),
    "an iterator": lambda: iter(rows(7)),
    "a generator": lambda: (row for row in rows(7)),
    "a Dataset": lambda: datasets.Dataset.from_list(rows(7)),
    "a Dataset with an index": lambda: datasets.Dataset.from_list(rows(7)[::-1]).select(range(6, -1, -1)),
    "an IterableDataset": lambda: datasets.Dataset.from_list(rows(7)).to_iterable_dataset(),
    "a DataFrame": lambda: pd.DataFrame(rows(7), index=list("abcdefg")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_same_data_set_as_in_a_file(tmp_path, kind):
    """Samples, records, draw; and the same content, whatever holds the rows."""
    found, file = rows_source(KINDS[kind]()), in_file(tmp_path, rows(7))
    assert list(found) == list(file)
    assert list(found) == list(found), "as often as it is read"
    assert found.count() == 7
    assert [s.id for s in found.drawing(3, 5).samples()] == [s.id for s in file.drawing(3, 5).samples()]
    known, _ = found.read_through(lambda _: None)
    known.check_unchanged()
    facts = known.facts()
    assert facts == rows_source(rows(7)).facts()
    assert facts["shape"] == "alpaca"
    assert facts["content"] != rows_source(rows(6)).facts()["content"]
    assert known.inputs == ()
    assert known.size() > 500


def test_an_iterator_is_read_once_and_a_list_may_change_later():
    """The copy is what the run reads."""
    data = rows(3)
    read = []
    found = rows_source(read.append(number) or row for number, row in enumerate(data))
    assert read == [0, 1, 2]
    before = list(found)
    data[0]["output"] = "changed"
    assert list(found) == before
    assert read == [0, 1, 2]


PAIR = Pair("q", "i", "a", "s", (Turn("user", "x"), Turn("assistant", "y")))


def test_pairs_and_records_are_taken_as_they_are():
    """Also what no columns could give back, such as an empty system prompt; and written in any shape."""
    odd = [PAIR, Record(evolve(PAIR, system=""), {"n": 1}), Pair("q", "", "a")]
    found = rows_source(odd)
    assert [sample.current.pair for sample in found.samples()] == [PAIR, evolve(PAIR, system=""), odd[2]]
    assert [record.extra for _, record in found] == [{}, {"n": 1}, {}]
    assert (found.shape, found.format_name) == ("alpaca", "jsonl")
    assert rows_source(odd, shape="messages").shape == "messages"
    assert rows_source([PAIR]).facts() != rows_source([evolve(PAIR, response="b")]).facts()


def test_rows_and_pairs_may_be_mixed():
    """The first of them tells the shape."""
    found = rows_source([Pair("q", "", "a"), {"instruction": "r", "output": "b", "topic": "t"}])
    assert [(sample.current.pair.response, record.extra) for sample, record in found] == [
        ("a", {}),
        ("b", {"topic": "t"}),
    ]


def test_columns_and_shape_are_as_in_a_config():
    """A wrong field is the same error."""
    data = [{"question": "q", "answer": "a"}]
    found = rows_source(data, columns={"instruction": "question", "output": "answer"})
    assert [sample.current.pair for sample in found.samples()] == [Pair("q", "", "a")]
    with pytest.raises(ConfigError, match=r"data.columns: no shape has a field 'answr'"):
        rows_source(data, columns={"answr": "answer"})
    assert len(list(rows_source(rows(5), limit=2))) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no records"),
        (iter(()), "no records"),
        ([rows(1)[0], 7], "row 1 (from 0): a value of type int is no row; give mappings"),
        ([rows(1)[0], None], "row 1 (from 0): null is no row"),
        ([rows(1)[0], {"instruction": "x"}], "row 1 (from 0): no column 'output' (found: instruction)"),
        ([rows(1)[0], {"instruction": "x", "output": 3}], "row 1 (from 0): column 'output' holds a value of type int"),
        ([{"x": 1}], "the columns fit no shape: found x;"),
        ([{"instruction": "a", "output": "b", 3: "c"}], "row 0 (from 0): the name of a column is 3, not text; rename"),
        ([{**rows(1)[0], "x": {1, 2}}], "row 0 (from 0): a value of type set fits no format; convert the value"),
        ([{**rows(1)[0], "x": object()}], "row 0 (from 0): a value of type object fits no format"),
        ([Pair("a"), Pair("a", "", None)], "row 1 (from 0): the response of the pair is null, not text"),
        ("data.json", "a value of type str is no list of rows"),
        (7, "a value of type int is no list of rows"),
        (rows(1)[0], "a mapping is no list of rows (its keys: instruction, input, output, topic); give one split"),
        (
            datasets.DatasetDict({"train": datasets.Dataset.from_list(rows(1))}),
            "a mapping is no list of rows (its keys: train); give one split, or a list of rows",
        ),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'; rename one"),
        (pd.DataFrame([["a", "b"]], columns=["instruction", 1]), "row 0 (from 0): the name of a column is 1, not text"),
        (pd.DataFrame(rows(1)).head(0), "no records"),
    ],
)
def test_rows_that_cannot_be_understood_are_one_line(given, message):
    """The row is named, and the way out."""
    line = refusal(given)
    assert line.startswith(message)
    assert line == "no records" or ";" in line


def test_values_of_numpy_and_missing_values_of_pandas_are_plain(tmp_path):
    """A column of lists that pandas has read from Parquet is a column of arrays of objects."""
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    pd.DataFrame({"messages": [chat, chat], "n": [1, 2], "x": [0.5, None], "t": ["a", None]}).to_parquet(tmp_path / "p")
    found = rows_source(pd.read_parquet(tmp_path / "p"))
    assert found.shape == "messages"
    assert [record.extra for _, record in found] == [{"n": 1, "x": 0.5, "t": "a"}, {"n": 2, "x": None, "t": None}]
    row = {"instruction": np.str_("q"), "output": "a", "f": np.float32(0.5), "v": np.arange(2), "b": (np.bool_(True),)}
    (record,) = (record for _, record in rows_source([row]))
    assert record.extra == {"f": 0.5, "v": [0, 1], "b": [True]}
    assert {type(value) for value in record.extra.values()} == {float, list}


def test_values_of_other_formats_are_kept_and_hashed_alike():
    """Dates and the like, which Parquet can hold."""
    row = {
        **rows(1)[0],
        "day": datetime.date(2024, 1, 2),
        "at": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        "price": Decimal("1.50"),
        "raw": b"\0",
    }
    found = rows_source([row])
    assert next(record.extra for _, record in found)["price"] == Decimal("1.50")
    assert found.facts() == rows_source([dict(reversed(row.items()))]).facts()
    assert found.facts() != rows_source([{**row, "price": Decimal("1.51")}]).facts()


def test_types_of_a_dataset_are_kept_in_the_output(tmp_path):
    """The names of classes too."""
    features = datasets.Features(
        {
            **{key: datasets.Value("string") for key in ("instruction", "output")},
            "label": datasets.ClassLabel(names=["bad", "good"]),
            "small": datasets.Value("int8"),
        }
    )
    data = [{"instruction": "q", "output": "a", "label": 1, "small": 3}]
    found = rows_source(datasets.Dataset.from_list(data, features=features))
    assert found.format_name == "parquet"
    source, outlet = open_outlet(Builder(Host(only=[])), found)
    outlet.write(tmp_path / "out.parquet", (record for _, record in source))
    assert datasets.Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=str(tmp_path)).features == features


def test_the_jobs_take_rows_as_they_take_a_file(tmp_path):
    """Equal scores, and the same samples selected by them."""
    host = Host(modules=["tests.helpers"], only=[])

    def chosen(name, source):
        scores, out = tmp_path / f"{name}.scores.jsonl", tmp_path / f"{name}.jsonl"
        asyncio.run(score_file(host, source, Scorers(("ifd",), Spec("fake")), scores))
        select_file(host, source, scores, Spec("top", {"metric": "ifd", "count": 3}), out, None)
        return scores.read_text(), out.read_text()

    in_memory = chosen("memory", rows_source(row for row in rows(7)))
    assert in_memory == chosen("file", in_file(tmp_path, rows(7)))
    assert in_memory[1].count("\n") == 3


def test_the_content_is_the_same_in_another_process(tmp_path):
    """A resumed run has to recognise its rows."""
    code = (
        "from tests.helpers import rows; from rt_framework.data import rows_source; print(rows_source(rows(3)).facts())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(rows_source(rows(3)).facts())


def test_nothing_heavy_is_imported_for_plain_rows():
    """A library is asked for only if the program has loaded it."""
    code = (
        "import sys; from tests.helpers import rows; from rt_framework.data import rows_source; "
        "assert rows_source(rows(3)).count() == 3; print(sorted({'datasets', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_copy_goes_with_the_source():
    """The temporary file is closed without a warning when the source is no longer used."""
    found = rows_source(rows(3))
    file = found.reader._rows._file
    del found
    gc.collect()
    assert file.closed

"""Text files that are packed with gzip: read, hashed, counted and written as plain ones, and refused when broken."""

import gzip
import hashlib
import json
import random

import pytest

from rt_framework.builtin.formats import csv, packed
from rt_framework.config import Data
from rt_framework.data import open_source, output_format, rows_source
from rt_framework.errors import DataError
from rt_framework.plugin import Host
from tests.helpers import REPO, Cli, json_lines, rows
from tests.test_formats import FORMATS, read

NAMES = ["json", "jsonl", "csv"]
ALPACA = REPO.parent / "shared" / "data" / "alpaca_52k.json.gz"


def text_of(name, rows):
    """Return the rows as the text of a file in that format, before it is packed."""
    lines = [json.dumps(row) for row in rows]
    if name == "json":
        return "[" + ",\n".join(lines) + "]\n"
    if name == "jsonl":
        return "\n".join(lines) + "\n"
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n"


def plain(count=4):
    """Rows without commas, so that they are the same in CSV."""
    return [{"instruction": f"Name {n}.", "output": f"Boat {n}."} for n in range(count)]


def source(path, limit=None, **more):
    return open_source(Host(only=[]), Data(str(path), **more), limit)


def refusal(path, **more):
    """The one line that reading the whole file ends with."""
    with pytest.raises(DataError) as caught:
        source(path, **more).read_through(lambda _: None)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_packed_file_is_the_same_data_set_as_the_plain_one(tmp_path, name):
    """Format, shape, samples, count and draw; the hash is that of the file as it is on the disk."""
    text = text_of(name, plain(50)).encode()
    (tmp_path / f"data.{name}").write_bytes(text)
    packed_file = tmp_path / f"data.{name}.gz"
    packed_file.write_bytes(gzip.compress(text))
    one, two = source(tmp_path / f"data.{name}"), source(packed_file)
    assert (two.format_name, two.shape) == (one.format_name, one.shape) == (name, "alpaca")
    assert list(one) == list(two)
    assert two.count() == 50
    assert [sample.id for sample in two.drawing(7, 3).samples()] == [
        sample.id for sample in one.drawing(7, 3).samples()
    ]
    known, _ = two.read_through(lambda _: None)
    expected = hashlib.sha256(packed_file.name.encode() + hashlib.sha256(packed_file.read_bytes()).digest())
    assert two.reader.content_read() == known.facts()["content"] == expected.hexdigest(), "taken as it was read"


@pytest.mark.parametrize("name", NAMES)
def test_a_packed_file_is_written_and_read_again(tmp_path, monkeypatch, name):
    """With the same bytes each time, whatever its name and the time."""
    one, two = (tmp_path / f"{stem}.{name}.gz" for stem in ("one", "two"))
    FORMATS[name].write(one, plain())
    monkeypatch.setattr("gzip.time.time", lambda: 1e9)
    FORMATS[name].write(two, plain())
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[:2] == b"\x1f\x8b"
    assert read(name, one) == plain()
    assert output_format(Host(only=[]), one, "parquet") == name


def test_a_packed_json_file_is_told_from_json_lines_by_its_content(tmp_path):
    """As a plain one is."""
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text_of("jsonl", plain()).encode()))
    (tmp_path / "B.JSON.GZ").write_bytes(gzip.compress(text_of("json", plain()).encode()))
    assert source(tmp_path / "a.json.gz").format_name == "jsonl"
    assert source(tmp_path / "B.JSON.GZ").format_name == "json"


def test_members_that_follow_one_another_are_one_text(tmp_path):
    """As ``cat a.gz b.gz`` makes them, even where a line begins in one and ends in the next."""
    text = text_of("jsonl", plain(20)).encode()
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(text[:333]) + gzip.compress(b"") + gzip.compress(text[333:]) + b"\0" * 100)
    assert [record.pair.response for _, record in source(path)] == [row["output"] for row in plain(20)]


def test_a_change_while_it_is_in_use_is_noticed(tmp_path):
    """By the hash of the packed bytes."""
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(text_of("jsonl", plain()).encode()))
    known, _ = source(path).read_through(lambda _: None)
    known.check_unchanged()
    path.write_bytes(gzip.compress(text_of("jsonl", plain(3)).encode()))
    with pytest.raises(DataError, match="changed while it was in use"):
        known.check_unchanged()


def noise(count):
    """Rows that can hardly be packed, so that each takes its place in the packed bytes."""
    draw = random.Random(0)
    return [
        {"instruction": f"{draw.getrandbits(4000):x}", "output": f"{draw.getrandbits(4000):x}"} for _ in range(count)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_off_names_the_line(tmp_path, name):
    """It is never read as a shorter one; JSON lines and CSV have shown the rows before it."""
    data = noise(60)
    path = tmp_path / f"data.{name}.gz"
    path.write_bytes(
        gzip.compress(text_of(name, data).encode())[: len(gzip.compress(text_of(name, data).encode())) // 2]
    )
    line = refusal(path)
    number = int(line.removeprefix("line ").split(":")[0])
    assert 20 < number < 40
    assert "broken gzip data: Compressed file ended before the end" in line
    assert "pack the file again" in line


def test_damage_in_the_middle_is_found(tmp_path):
    """The checksum at the end covers what unpacks without an error."""
    content = bytearray(gzip.compress(text_of("jsonl", noise(60)).encode()))
    path = tmp_path / "data.jsonl.gz"
    for place in range(200, len(content) - 10, len(content) // 12):
        broken = bytearray(content)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        line = refusal(path)
        assert line.startswith("line ")
        assert "broken" in line


def test_a_file_that_is_not_packed_says_so(tmp_path):
    """Its name is what says that it is."""
    path = tmp_path / "data.jsonl.gz"
    path.write_text(text_of("jsonl", plain()))
    assert "line 1: broken gzip data: Not a gzipped file" in refusal(path)
    path.write_bytes(gzip.compress(text_of("jsonl", plain()).encode()) + b"rubbish")
    assert "line 5: broken gzip data: Not a gzipped file" in refusal(path)
    path.write_bytes(b"")
    assert refusal(path) == "no records"


def test_the_line_of_a_broken_record_is_that_of_the_text(tmp_path):
    """Counted in what is unpacked."""
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(text_of("jsonl", plain()).encode() + b"{broken\n"))
    assert refusal(path).startswith("line 5: broken JSON")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("jsonl", b'{"instruction": "a", "output": "b"}\n{"instruction": "' + b"a" * 500_000, "line 2: is longer than"),
        ("csv", b'instruction,output\na,b\n"' + b"a\n" * 250_000, "line 50003: broken CSV: field larger than"),
        ("csv", b'instruction,output\na,b\n"' + b"a" * 500_000, "line 3: is longer than"),
        ("json", b'[{"instruction": "a",' + b"\n" * 2_000_000, "is longer than"),
    ],
)
def test_a_record_that_unpacks_without_end_is_refused(tmp_path, monkeypatch, name, text, message):
    """A small file can unpack to more than any memory holds; the limits are lowered here to keep the test small."""
    monkeypatch.setattr(packed, "MOST_BYTES", 100_000)
    monkeypatch.setattr(csv, "MOST_BYTES", 100_000)
    monkeypatch.setattr(packed, "_MOST_OF_TEXT", 1_000_000)
    path = tmp_path / f"data.{name}.gz"
    path.write_bytes(gzip.compress(text))
    assert path.stat().st_size < 5000
    line = refusal(path, format=name)
    assert line.startswith(message)
    assert ";" in line


def test_a_run_over_a_packed_file(tmp_path, monkeypatch, capfd):
    """From the command line, and its result packed again."""
    monkeypatch.chdir(tmp_path)
    FORMATS["jsonl"].write(tmp_path / "data.jsonl.gz", rows(6))
    cli = Cli(monkeypatch, capfd)
    assert cli("score", "data.jsonl.gz", "--student", "fake", "--out", "scores.jsonl").code == 0
    assert len(json_lines(tmp_path / "scores.jsonl")) == 6
    by = "{top: {metric: ifd, count: 2}}"
    assert cli("select", "data.jsonl.gz", "--scores", "scores.jsonl", "--by", by, "--out", "best.csv.gz").code == 0
    assert len(read("csv", tmp_path / "best.csv.gz")) == 2


@pytest.mark.skipif(not ALPACA.is_file(), reason="needs the Alpaca data, which are not part of the repository")
def test_the_alpaca_data_as_they_are_distributed():
    """The same samples from the packed file, and from its rows in memory."""
    found = source(ALPACA)
    assert str(found) == f"{ALPACA}: json, alpaca columns"
    ids = [sample.id for sample in found.samples()]
    assert len(ids) == 52_002
    assert ids == [sample.id for sample in rows_source(json.loads(gzip.decompress(ALPACA.read_bytes()))).samples()]

"""The benchmark of growth: what it measures, what it does not measure twice, and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from click.testing import CliRunner

from benchmarks import growth
from benchmarks.curves import Curve, Plot, draw
from benchmarks.growth import COMMANDS, Place, text

REPO = Path(__file__).resolve().parent.parent


def measure(monkeypatch, folder, command):
    """Measure a command over ten samples; return the lines about it."""
    monkeypatch.setattr(growth, "TIMES", 1)
    done = CliRunner().invoke(growth.main, ["--folder", str(folder), "--command", command, "--most", "10"])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_point_is_measured_once(monkeypatch, tmp_path):
    """Each is a process; a second call finds it in the file, and a command makes what it reads."""
    said = measure(monkeypatch, tmp_path, "select")
    assert said.splitlines() == [f"making {tmp_path}/10/scores.jsonl", "select 10"]
    (point,) = json.loads((tmp_path / "figures.json").read_text())
    assert (point["command"], point["samples"]) == ("select", 10)
    assert 0 < point["processor"] < 60
    assert point["peak"] > 10 * 2**20
    assert measure(monkeypatch, tmp_path, "select") == ""


def test_the_first_question_ends_the_start_of_a_run(monkeypatch, tmp_path):
    """All rows were read by then, and nothing was asked."""
    assert measure(monkeypatch, tmp_path, "start") == "start 10\n"
    assert (tmp_path / "10" / "new" / "ledger.sqlite").exists()
    assert not (tmp_path / "10" / "new" / "kept.jsonl").exists()


def test_texts_have_nothing_in_common(tmp_path):
    """No three words in a row, so that near-duplicates are those that are meant: one row in two hundred, twice."""
    texts = [text(str(number), 24).split() for number in range(500)]
    pieces = [tuple(words[at : at + 3]) for words in texts for at in range(22)]
    assert len(set(pieces)) == len(pieces)
    place = Place(tmp_path, 400)
    place.write_rows()
    lines = place.rows.read_text().splitlines()
    assert (len(lines), len(set(lines))) == (400, 398)


def test_the_curves_stay_inside_and_load_nothing():
    """A point beyond an end is drawn at it; each power of ten has its label."""
    drawn = draw([Plot("time <s>", [Curve("a & b", [(1000, 1.0), (10_000, 9.0)])], (0, 2), (0.9, 1.1))], "growth")
    root = ElementTree.fromstring(drawn)
    assert {one.text for one in root.findall(".//{*}text")} >= {"time <s>", "a & b", "1,000", "10,000"}
    (line,) = root.findall(".//{*}polyline")
    assert [float(point.split(",")[1]) for point in line.get("points").split()] == [130, 30]
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_on_the_page_shows_every_command():
    """A command that is added is measured and drawn anew."""
    root = ElementTree.parse(REPO / "docs" / "pictures" / "growth.svg")
    assert {one.text for one in root.findall(".//{*}text")} >= set(COMMANDS)

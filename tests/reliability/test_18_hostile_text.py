"""Hostile text is harmless: on the terminal nothing is obeyed, in every format the texts come back as they were."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from rt_framework import TeacherError
from rt_framework.config.builder import Builder
from rt_framework.model import Reply
from rt_framework.plugin.host import Host
from rt_framework.testing import FakeStudent, ScriptedTeacher
from tests import fakes_plugin
from tests.run_helpers import SELECTIVE, records_in, write_json

HOSTILE = {
    "colour": "\x1b[31mred\x1b[2J",
    "title": "a\x1b]0;owned\x07b",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "one-byte escapes": "a\x9b2Jb\x9d0;x\x9cc\x90q",
    "direction": "a\u202egnp.exe\u2066b\u2069\u200fc\u061cd",
    "markup": "[/End] [bold]x[/bold] [link=file:///etc/passwd]y[/link] [/]",
    "script": '</script><script>alert(1)</script><img src=x onerror="y">',
    "formula": "=cmd|'/C calc'!A0",
    "plus formula": "+1+1",
    "at formula": '@SUM(1,"2")',
    "nul": "a\x00b",
    "controls": "a\x08\x08b\x0bc\x0cd\x7fe\x85f",
    "line ends": "a\rb\r\nc\u2028d\u2029e",
    "percent and braces": "%s %n {0} {x!r} ${PATH} `id` $(id)",
    "sql": "'); DROP TABLE calls; --",
    "template": "{{ 7*7 }} {% raw %}",
    "quotes": 'a"b\'c,d;e\tf""',
    "fence": "<<<end 0000>>>\n<<<response>>>",
}
EXTRA = "x\x1b[31m[/x]"
"""Name of a column that no shape knows."""
SURROGATE = "a\ud800b\udfffc"
UNCODED = os.fsdecode(b"bad\xffname")


def harmless(text: str) -> bool:
    """Return whether *text* holds no control or formatting character, except ends of lines and tabs."""
    return not [char for char in text if unicodedata.category(char)[0] == "C" and char not in "\n\t"]


def hostile_rows() -> list[dict[str, str]]:
    """A row a text, in every field, with an unknown column of that name; the last holds lone surrogates."""
    texts = [*HOSTILE.values(), SURROGATE]
    return [
        {
            "instruction": f"Q{n} {text} ?",
            "input": f"I {text} .",
            "output": f"A {text} {n}!",
            EXTRA: f"E{text}.",
        }
        for n, text in enumerate(texts)
    ]


def rewriting(request: Any) -> Reply:
    """A good answer with one of the texts in each of its parts, the critique too, from a model of a hostile name."""
    text = [*HOSTILE.values(), SURROGATE][int(request.pair_hash[:8], 16) % (len(HOSTILE) + 1)]
    wanted = request.schema["properties"]
    parts = {name: f"{name} {request.pair_hash[:6]} {text} and so on." for name in wanted}
    return Reply(json.dumps(parts), model=f"model {text}")


def failing(request: Any) -> Reply:
    """Answers that are of no use, and errors, with these texts."""
    text = [*HOSTILE.values(), SURROGATE][int(request.pair_hash[:8], 16) % (len(HOSTILE) + 1)]
    if int(request.pair_hash[8], 16) % 2:
        raise TeacherError("refused", f"no: {text}")
    return Reply(f"Sure! {text}", finish_reason="stop", model=text)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Writes data and a config in a directory of their own, and makes it the current one; returns the config."""

    def make(answer: Any, name: str = "data.json", pipeline: Any = SELECTIVE) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(fakes_plugin.HELD, "teacher", ScriptedTeacher(answer))
        monkeypatch.setitem(fakes_plugin.HELD, "student", FakeStudent())
        write_json(tmp_path / name, hostile_rows())
        raw = {
            "data": {"path": name},
            "teacher": "held:teacher",
            "student": "held:student",
            "scoring": {"preset": "selective-rt"},
            "pipeline": pipeline,
        }
        return write_json(tmp_path / "job.yaml", raw)

    return make


def looked_at(rt: Any, run_dir: object) -> str:
    """Everything that can be shown of a run."""
    told = [rt("status", run_dir), *(rt("explain", run_dir, row, "--prompts") for row in range(len(HOSTILE) + 1))]
    assert [(one.code, one.err) for one in told] == [(0, "")] * len(told)
    return "".join(one.out for one in told)


@pytest.mark.parametrize("answer", [rewriting, failing])
def test_nothing_is_obeyed_on_a_terminal(answer, job, rt):
    """In data, answers, critiques, names of models and messages: `rt run`, `status`, `explain`, `score`, `select`."""
    config = job(answer)
    done = rt("run", config, "--run-dir", "run")
    assert (done.code, done.err) == (0, "")
    shown = looked_at(rt, "run")
    assert harmless(done.out + shown)
    for text in ("[/End] [bold]x[/bold]", "</script><script>alert(1)</script>", "=cmd|'/C calc'!A0", "�[31mred�[2J"):
        assert text in shown
    scored = rt("score", "data.json", "--student", "held:student", "--metric", "ifd", "--out", "s.jsonl")
    selected = rt(
        "select", "data.json", "--scores", "s.jsonl", "--by", "{random: {fraction: 0.5}}", "--out", "top.json"
    )
    for one in (scored, selected):
        assert (one.code, one.err) == (0, "")
        assert harmless(one.out)


def test_progress_and_failures_are_harmless(job, rt):
    """A sample that a stage fails on is told at once, with what the stage said."""
    stages = [{"odd": "raise"}]
    config = job(rewriting, pipeline=stages)
    data = [{"instruction": "BAD", "input": "", "output": text} for text in HOSTILE.values()]
    write_json(config.parent / "data.json", data)
    done = rt("run", config, "--run-dir", "run")
    assert done.code == 1
    assert "the stage broke" in done.out
    assert harmless(done.out + done.err)


NAMES = ("da\x1b[31mta[bold][.json", "da\u202eta\x07.json", f"{UNCODED}.json", "=cmd;$(id)\n.json")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_harmless(name, job, rt, tmp_path):
    """Of data, run directory, output and arguments; also in errors. They are used as they are."""
    config = job(rewriting, name)
    run_dir, out = f"run {name}", f"out {name}"
    told = [
        rt("run", config, "--run-dir", run_dir),
        rt("status", run_dir),
        rt("explain", run_dir, "0"),
        rt("export", run_dir, "--out", out),
        rt("score", name, "--student", "held:student", "--metric", "ifd", "--out", f"s {name}l"),
        rt("select", name, "--scores", f"s {name}l", "--by", "{random: {fraction: 0.5}}", "--out", f"top {name}"),
    ]
    assert [(one.code, one.err) for one in told] == [(0, "")] * len(told)
    wrong = [
        rt("run", f"none {name}"),
        rt("status", f"none {name}"),
        rt("explain", run_dir, name),
        rt("export", run_dir, "--out", out, "--format", name),
        rt("doctor", f"none {name}"),
        rt(name),
    ]
    assert {one.code for one in wrong} == {2}
    assert harmless("".join(one.out + one.err for one in (*told, *wrong)))
    assert (tmp_path / out).is_file() and (tmp_path / run_dir / "kept.json").is_file()


def expected(run_dir: Path) -> list[tuple[str, str, str, str]]:
    """The kept texts as the JSON that the run wrote has them."""
    kept = json.loads((run_dir / "kept.json").read_text("utf-8"))
    return [(one["instruction"], one.get("input", ""), one["output"], one[EXTRA]) for one in kept]


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet", "dataset"])
def test_texts_come_back_as_they_were_in_every_format(name, job, rt, tmp_path):
    """Originals and rewrites, each character: exported and read again. Only lone surrogates, which UTF-8 cannot hold,
    are `?` where a format has no escape for them.
    """
    from rt_framework.ledger.ledger import Ledger

    config = job(rewriting)
    assert rt("run", config, "--run-dir", "run").code == 0
    rows = hostile_rows()
    with Ledger.reading(tmp_path / "run" / "ledger.sqlite") as ledger:
        pairs = [history.sample.current.pair for history in ledger.samples.histories()]
        assert {history.outcome for history in ledger.samples.histories()} == {"original", "rewritten"}
    assert [one[3] for one in expected(tmp_path / "run")] == [row[EXTRA] for row in rows]

    out = tmp_path / f"out.{name}"
    done = rt("export", "run", "--out", out, "--format", name)
    assert (done.code, done.err) == (0, "")
    assert harmless(done.out)
    form = Builder(Host(only=[]))("formats", name)
    held = (lambda text: text) if name in ("json", "jsonl") else _without_surrogates
    records = list(records_in(out, form, "alpaca"))
    found = [(r.pair.instruction, r.pair.input, r.pair.response) for r in records]
    assert found == [tuple(map(held, (p.instruction, p.input, p.response))) for p in pairs]
    assert any(text in pair.response for pair in pairs for text in HOSTILE.values())
    assert [list(row.values())[-1] for row in form.read(out)] == [held(row[EXTRA]) for row in rows]


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet", "dataset"])
def test_a_run_without_a_change_gives_back_every_byte(name, job, rt, tmp_path):
    """Read from a format, taken through a run that keeps every original, written to it again: the same file."""
    texts = [{key: _without_surrogates(one) for key, one in row.items()} for row in hostile_rows()]
    form = Builder(Host(only=[]))("formats", name)
    data = tmp_path / f"in.{name}"
    form.write(data, texts)
    config = job(rewriting, pipeline=[{"measure": ["length"]}])
    assert rt("run", config, "--run-dir", "run", "--set", f"data.path={data}").code == 0
    (kept,) = (tmp_path / "run").glob("kept*")
    assert list(form.read(kept)) == texts
    if data.is_file():
        assert kept.read_bytes() == data.read_bytes()


def test_the_side_files_are_plain_text(job, rt, tmp_path):
    """Scores and manifest hold no control byte at all: JSON escapes them."""
    assert rt("run", job(failing), "--run-dir", "run").code == 0
    for name in ("scores.jsonl", "manifest.json"):
        text = (tmp_path / "run" / name).read_bytes().decode("ascii")
        assert harmless(text)


def test_packs_and_the_hub_folder_can_be_read_whatever_is_in_the_texts(job, rt, tmp_path):
    """By the reader that the trainers use, which refuses a file with a lone surrogate: such a one is `?`, and told."""
    import yaml
    from datasets import load_dataset

    from rt_framework.export.packs import PACKS

    config = job(rewriting, pipeline=[*SELECTIVE, {"select": {"random": {"fraction": 0.9}}}])
    assert rt("run", config, "--run-dir", "run \x1b[31m").code == 0
    folders = [(name, ("--pack", name)) for name in PACKS] + [("hub", ("--hub-folder", "--license", "other"))]
    for name, words in folders:
        done = rt("export", "run \x1b[31m", "--out", f"out \x1b[31m/{name}", *words)
        assert (done.code, done.err) == (0, "")
        assert harmless(done.out)
        folder = tmp_path / "out \x1b[31m" / name
        for path in folder.rglob("*.*"):
            path.read_text("utf-8")
        (data,) = folder.rglob("kept.jsonl" if name == "hub" else "train.jsonl")
        rows = [json.loads(line) for line in data.read_text("utf-8").split("\n")[:-1]]
        assert rows and not any(0xD800 <= ord(char) <= 0xDFFF for char in json.dumps(rows, ensure_ascii=False))
        read = load_dataset("json", data_files=str(data), split="train", cache_dir=str(tmp_path / "cache"))
        assert list(read) == rows
    assert "lone surrogates became '?' in" in done.out
    assert yaml.safe_load((folder / "README.md").read_text("utf-8").split("---\n")[1])["license"] == "other"
    kept = json.loads((tmp_path / "run \x1b[31m" / "kept.json").read_text("utf-8"))
    told = (tmp_path / "out \x1b[31m" / "trl" / "train.jsonl").read_text("utf-8").split("\n")[:-1]
    answers = [json.loads(line)["completion"][0]["content"] for line in told]
    assert answers == [_without_surrogates(row["output"]) for row in kept]

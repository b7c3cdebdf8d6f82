"""Rows that cannot be read: named all at once, or left out and accounted for; and texts that are empty."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

import rt_framework
from rt_framework.builtin.executors.local import LocalExecutor
from rt_framework.config import Builder
from rt_framework.config.schema import Config
from rt_framework.data.shapes import column_names, find_shape, to_record
from rt_framework.data.unread import Tally, Unread
from rt_framework.errors import ConfigError, UnreadableRows
from rt_framework.ledger import Ledger
from rt_framework.model import Pair
from rt_framework.plugin import Host
from rt_framework.results import open_run
from rt_framework.scoring import Scoring, ScoringRules
from rt_framework.scoring.losses import Losses
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.testing import FakeStudent
from tests.helpers import REPO, Cli
from tests.run_helpers import go, job, json_lines, rows, side

PIPELINE = [{"reflect": "response"}, {"choose": "newest"}, {"gate": {"length": {"at_least": 1}}}]


def talk(*turns: tuple[str, Any]) -> dict[str, Any]:
    """A row of messages."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


GOOD = talk(("user", "Name a river."), ("assistant", "The Rhine."))
NARRATED = talk(("user", "Name a river."), ("narrator", "He thinks."), ("assistant", "The Rhine."))
LATER = talk(("user", "A?"), ("assistant", "a"), ("chorus", "Oh."), ("user", "B?"), ("assistant", "b"))
SILENT = talk(("user", "Name a river."))


def write_lines(path: Path, data: list[Any]) -> Path:
    """Write JSON lines and return their file."""
    path.write_text("".join(json.dumps(one) + "\n" for one in data), "utf-8")
    return path


def over(path: Path, pipeline: Any = PIPELINE, **data: Any) -> Config:
    """A job over a file; rows that cannot be read are dropped."""
    config = job(path.parent, [], pipeline, scoring={"preset": "chat"})
    return evolve(config, data=evolve(config.data, path=str(path), **{"unreadable": "drop", **data}))


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    return Cli(monkeypatch, capfd)


# --- refused ----------------------------------------------------------------------------------


def test_one_refusal_names_every_kind_of_fault(cli, tmp_path):
    """Turn 2 and turn 3, 'narrator' and 'chorus' are one kind; the first row of each is named, and the way out."""
    write_lines(tmp_path / "d.jsonl", [GOOD, NARRATED, GOOD, SILENT, LATER, NARRATED])
    done = cli("score", "d.jsonl", "--student", "fake", "--out", "o.jsonl")
    assert done.code == 2
    head, *kinds = done.err.splitlines()
    assert head == (
        "Error: d.jsonl: 4 of 6 rows cannot be read; correct them, or leave them out with data.unreadable: drop "
        "(--unreadable drop)"
    )
    assert [kind[:55] for kind in kinds] == [
        "  3 rows, the first is row 1 (from 0): turn 2 of 'messa",
        "  1 row, row 3 (from 0): 'messages' has no assistant tu",
    ]
    assert "has role 'narrator'; known: " in kinds[0]
    assert not (tmp_path / "o.jsonl").exists()


def test_a_single_bad_row_is_refused_in_one_line(cli, tmp_path):
    """As the fault of one row, with the setting that goes on without it."""
    write_lines(tmp_path / "d.jsonl", [*rows(2), {"instruction": "a"}])
    done = cli("score", "d.jsonl", "--student", "fake", "--out", "o.jsonl")
    assert done.error() == (
        "d.jsonl: row 2 (from 0): no column 'output' (found: instruction); add it, or name the column with "
        "data.columns; or leave the row out with data.unreadable: drop (--unreadable drop)"
    )


@pytest.mark.parametrize("unreadable", ["refuse", "drop"])
@pytest.mark.parametrize("command", ["run", "score"])
def test_a_data_set_without_a_readable_row_is_refused(cli, tmp_path, unreadable, command):
    """In both modes, with the list, and nothing is written."""
    write_lines(tmp_path / "d.jsonl", [SILENT, SILENT, NARRATED])
    (tmp_path / "rt.yaml").write_text(
        f"data: {{path: d.jsonl, unreadable: {unreadable}}}\npipeline: [{{gate: {{}}}}]\n"
    )
    score = ("score", "d.jsonl", "--student", "fake", "--out", "o.jsonl", "--unreadable", unreadable)
    done = cli(*{"run": ("run", "rt.yaml", "--set", "pipeline=[{measure: [echo]}]"), "score": score}[command])
    head, *kinds = done.err.splitlines()
    assert done.code == 2
    assert head == "Error: d.jsonl: none of its 3 rows can be read; correct them, or see data.shape and data.columns"
    assert [kind.split(",")[0] for kind in kinds] == ["  2 rows", "  1 row"]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "o.jsonl").exists()


def test_the_file_of_the_first_row_of_a_kind_is_named(cli, tmp_path):
    """In a folder of files each row has a number in the whole and in its file."""
    (tmp_path / "d").mkdir()
    write_lines(tmp_path / "d/a.jsonl", [GOOD, GOOD])
    write_lines(tmp_path / "d/b.jsonl", [GOOD, SILENT, NARRATED])
    done = cli("score", "d", "--student", "fake", "--out", "o.jsonl")
    assert "1 row, row 3 (from 0), row 1 of b.jsonl: 'messages' has no assistant" in done.err


def test_a_fault_of_the_file_is_raised_at_once(cli, tmp_path):
    """Broken JSON is no fault of a row: what follows it cannot be told apart."""
    (tmp_path / "d.jsonl").write_text(f"{json.dumps(GOOD)}\n{json.dumps(SILENT)}\n{{broken\n")
    done = cli("score", "d.jsonl", "--student", "fake", "--out", "o.jsonl", "--unreadable", "drop")
    assert done.error().startswith("d.jsonl: line 3: broken JSON: ")


def test_kinds_are_counted_in_bounded_memory():
    """Numbers and quoted values make no kind of their own, names of columns do; further kinds are counted together."""

    def kinds(*faults: str) -> list[int]:
        tally = Tally()
        for number, fault in enumerate(faults):
            tally.add(Unread(number, f"row {number}", {}, fault))
        return [kind.count for kind in tally.faults().kinds]

    assert kinds("turn 3 has role 'it\\'s'", 'turn 5 has role "x"', "turn 1.5 has role 'b'") == [3]
    assert kinds("column 'a' holds null", "column 'b' holds null") == [1, 1]
    many = kinds(*("found: " + "x" * number for number in range(1, 1001)))
    assert (len(many), sum(many)) == (51, 1000)


# --- doctor -----------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["data", "config"])
def test_doctor_lists_the_same_kinds(cli, tmp_path, subject):
    """Of data and of a config, whether the rows are refused or left out."""
    write_lines(tmp_path / "d.jsonl", [GOOD, NARRATED, SILENT, LATER])
    for unreadable, mark, code in (("refuse", "WRONG", 2), ("drop", "CHECK", 0)):
        (tmp_path / "rt.yaml").write_text(
            f"data: {{path: d.jsonl, unreadable: {unreadable}}}\npipeline: [{{measure: [echo]}}]\n"
        )
        done = cli("doctor", *{"data": ("d.jsonl", "--unreadable", unreadable), "config": ("rt.yaml",)}[subject])
        assert done.code == code
        assert f"{mark} d.jsonl 3 of 4 rows cannot be read" in done.words
        assert f"{mark} unreadable rows 2 rows, the first is row 1 (from 0): turn 2 of 'messages' has" in done.words
        assert f"{mark} unreadable rows 1 row, row 2 (from 0): 'messages' has no assistant turn" in done.words
        assert ("--unreadable drop" in done.words) is (unreadable == "refuse")
        assert ("1 sample" in done.words) is (unreadable == "drop")


# --- left out ---------------------------------------------------------------------------------

_BAD = [NARRATED, LATER, SILENT, talk(("assistant", "To nobody.")), talk((None, "Odd."), ("assistant", "Yes."))]
_MIXED = st.lists(st.integers(-len(_BAD), 5), min_size=1, max_size=9)


def _numbered(number: int) -> dict[str, Any]:
    """A good row, or a bad one for a negative number."""
    return _BAD[number] if number < 0 else talk(("user", f"Name river {number}."), ("assistant", "The Rhine."))


def _write(path: Path, data: list[dict[str, Any]]) -> Path:
    """Write rows in the format of the path's ending."""
    if path.suffix == ".jsonl":
        return write_lines(path, data)
    pq.write_table(pa.Table.from_pylist(data), path)
    return path


def _read(path: Path) -> list[dict[str, Any]]:
    return json_lines(path) if path.suffix == ".jsonl" else pq.read_table(path).to_pylist()


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@settings(max_examples=8, deadline=None)
@given(_MIXED, st.integers(0, 5), st.booleans())
def test_nothing_is_lost(ending, mixed, good, gated):
    """Kept, dropped and unreadable rows are those of the input, in its order and unchanged; ids and numbers stay."""
    numbers = [*mixed, good]
    data, bad = list(map(_numbered, numbers)), [at for at, number in enumerate(numbers) if number < 0]
    pipeline = [*PIPELINE[:2], *([{"gate": {"ifd": {"below": 3}}}] if gated else [])]
    with tempfile.TemporaryDirectory() as folder:
        run, alone = Path(folder, "run"), Path(folder, "alone")
        readable = [one for number, one in zip(numbers, data, strict=True) if number >= 0]
        summary = go(over(_write(Path(folder, f"d.{ending}"), data), pipeline), run)
        go(over(_write(Path(folder, f"good.{ending}"), readable), pipeline), alone)
        kept, dropped = (_read(run / f"{name}.{ending}") for name in ("kept", "dropped"))
        lines, ids = side(run), [line["id"] for line in side(alone)]
    went = [line["row"] for line in lines if line["outcome"] == "dropped"]
    assert [line["row"] for line in lines] == list(range(len(data)))
    assert [line["row"] for line in lines if (line["reason"] or "").startswith("cannot be read: ")] == bad
    assert [line["id"] for line in lines if line["row"] not in bad] == ids
    assert len(kept) + len(dropped) == len(data)
    assert [one for at, one in zip(went, dropped, strict=True) if at in bad] == [data[at] for at in bad]
    assert (summary.total, summary.unreadable) == (len(data), len(bad))
    assert summary.outcomes["dropped"] == len(dropped) == sum(summary.drops.values())


def test_a_run_tells_what_it_leaves_out(cli, tmp_path):
    """On the screen, in the summary, in the manifest and in the report; 'explain' knows rows by their old number."""
    write_lines(tmp_path / "d.jsonl", [NARRATED, GOOD, LATER, SILENT, GOOD])
    (tmp_path / "rt.yaml").write_text(
        "data: {path: d.jsonl, unreadable: drop}\nteacher: scripted\nstudent: fake\npipeline:\n- reflect: response\n"
        "- choose: newest\n"
    )
    done = cli("run", "rt.yaml")
    assert done.code == 0
    said = "3 of 5 rows cannot be read and are left out: 2 rows, the first is row 0 (from 0): turn 2 of 'messages' has"
    assert [line for line in (done.out + done.err).splitlines() if line.startswith(said)]
    assert (
        "dropped cannot be read: 'messages' has no assistant turn; correct or remove the record 1 20.0 %" in done.words
    )
    summary = json.loads((tmp_path / "runs/rt/manifest.json").read_text())["summary"]
    assert (summary["total"], summary["unreadable"], summary["outcomes"]["dropped"]) == (5, 3, 3)
    assert cli("report", "runs/rt").code == 0
    page = (tmp_path / "runs/rt/report.html").read_text("utf-8")
    assert "Rows of the data that were left out, and are in no other number here: 3; 1 cannot be read: " in page
    assert "2 cannot be read: turn 2 of" in page
    assert cli("explain", "runs/rt", "4").out.startswith("sample ")
    assert "row 4: rewritten" in cli("explain", "runs/rt", "4").out
    assert cli("explain", "runs/rt", "3").error() == (
        "runs/rt: row 3 (from 0) is not among the samples of the last run: it was left out, since it cannot be "
        "read: 'messages' has no assistant turn; correct or remove the record"
    )
    assert cli("explain", "runs/rt", "9").error().endswith("is not among the samples of the last run")
    assert cli("run", "rt.yaml").code == 0


def test_merged_shards_leave_out_what_one_run_does(cli, tmp_path):
    """Every shard reads every row, and a row that cannot be read is none of its samples; the merge counts it once."""
    talks = [talk(("user", f"Name river {number}."), ("assistant", f"River {number}.")) for number in range(9)]
    write_lines(tmp_path / "d.jsonl", [NARRATED, *talks[:4], SILENT, *talks[4:], LATER])
    (tmp_path / "rt.yaml").write_text(
        "data: {path: d.jsonl, unreadable: drop}\nteacher: scripted\nstudent: fake\npipeline:\n- reflect: response\n"
        "- choose: newest\n"
    )
    assert cli("run", "rt.yaml", "--run-dir", "whole").code == 0
    for number in (1, 2):
        assert cli("run", "rt.yaml", "--shard", f"{number}/2", "--run-dir", f"part{number}").code == 0
    assert cli("merge", "rt.yaml", "merged", "part1", "part2").code == 0
    for name in ("kept.jsonl", "dropped.jsonl", "scores.jsonl"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    summaries = [json.loads((tmp_path / name / "manifest.json").read_text())["summary"] for name in ("merged", "whole")]
    assert [(one["total"], one["unreadable"]) for one in summaries] == [(12, 3)] * 2


def test_the_setting_is_a_frozen_fact(tmp_path):
    """A directory goes on with the setting that it was begun with; the default is no fact, as in older directories."""
    path = write_lines(tmp_path / "d.jsonl", [GOOD])
    go(over(path, unreadable="refuse"), tmp_path / "old")
    with open_run(tmp_path / "old") as run:
        assert "unreadable" not in run.facts["data"]
    with pytest.raises(ConfigError, match=r"data.unreadable: None → drop"):
        go(over(path), tmp_path / "old")


def test_another_shape_or_format_of_the_output_cannot_hold_the_row(cli, tmp_path):
    """It is counted and said, and its reason stands in the side file."""
    write_lines(tmp_path / "d.jsonl", [NARRATED, GOOD, GOOD])
    (tmp_path / "rt.yaml").write_text(
        "data: {path: d.jsonl, unreadable: drop}\npipeline: [{gate: {echo: {above: 2}}}]\n"
    )
    for number, (output, name) in enumerate([("shape: alpaca", "jsonl"), ("format: parquet", "parquet")]):
        done = cli("run", "rt.yaml", "--set", f"output={{{output}}}", "--run-dir", f"run{number}")
        assert done.code == 0, done
        assert "they stand in scores.jsonl alone, with the reason" in done.out + done.err
        assert [line["row"] for line in json_lines(tmp_path / f"run{number}/scores.jsonl")] == [0, 1, 2]
        if name == "jsonl":
            assert len(json_lines(tmp_path / "run0/dropped.jsonl")) == 2
    done = cli("run", "rt.yaml", "--run-dir", "same")
    assert "scores.jsonl alone" not in done.out + done.err
    assert json_lines(tmp_path / "same/dropped.jsonl") == [NARRATED, GOOD, GOOD]
    done = cli("export", "same", "--dropped", "--out", "o.json")
    assert "wrote o.json; unreadable rows left out, which only the input's format and shape hold: 1" in done.out
    assert json.loads((tmp_path / "o.json").read_text()) == [GOOD, GOOD]


def test_a_pilot_draws_from_the_rows_that_can_be_read(tmp_path):
    """Its outputs are of the drawn samples alone, by their numbers in the input."""
    path = write_lines(tmp_path / "d.jsonl", [SILENT, GOOD, SILENT, GOOD, SILENT])
    summary = go(over(path), tmp_path / "run", pilot=1)
    (line,) = json_lines(tmp_path / "run/pilot/scores.jsonl")
    assert (summary.total, summary.unreadable) == (1, 0)
    assert line["row"] in (1, 3)


def test_shards_share_the_rows_that_cannot_be_read(tmp_path):
    """Each is in one shard."""
    path = write_lines(tmp_path / "d.jsonl", [SILENT, *rows_of_talk(6), SILENT, NARRATED])
    found = []
    for shard in ("1/2", "2/2"):
        go(over(path, shard=shard), tmp_path / shard[0])
        found += [line["row"] for line in side(tmp_path / shard[0])]
    assert sorted(found) == list(range(9))


def rows_of_talk(count: int) -> list[dict[str, Any]]:
    """Rows of messages that differ."""
    return [talk(("user", f"Name river {number}."), ("assistant", "The Rhine.")) for number in range(count)]


def test_an_unrolled_conversation_is_left_out_whole(tmp_path):
    """No turn before the fault becomes a sample."""
    path = write_lines(tmp_path / "d.jsonl", [LATER, GOOD])
    summary = go(over(path, [{"measure": ["ifd"]}], unroll=True), tmp_path / "run")
    assert (summary.total, summary.unreadable) == (2, 1)
    assert json_lines(tmp_path / "run/dropped.jsonl") == [LATER]
    assert json_lines(tmp_path / "run/kept.jsonl") == [GOOD]


def test_the_first_row_may_be_the_odd_one(tmp_path):
    """The shape is then that of the first row that fits one."""
    path = write_lines(tmp_path / "d.jsonl", [{"note": "x"}, GOOD])
    go(over(path), tmp_path / "run")
    assert json_lines(tmp_path / "run/dropped.jsonl") == [{"note": "x"}]


def test_scores_selections_and_packs_leave_them_out_too(cli, tmp_path):
    """No line and no row of a pack; a selection has them among its others."""
    data = [SILENT, *rows_of_talk(3), NARRATED]
    write_lines(tmp_path / "d.jsonl", data)
    drop = ("--unreadable", "drop")
    done = cli("score", "d.jsonl", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl", *drop)
    assert "s.jsonl: 3 ok, 2 unreadable and left out" in done.out
    assert [line["row"] for line in json_lines(tmp_path / "s.jsonl")] == [1, 2, 3]
    summary = json.loads((tmp_path / "s.jsonl.rt/manifest.json").read_text())["summary"]
    assert (summary["total"], summary["unreadable"], sum(summary["drops"].values())) == (3, 2, 2)
    by = ("--by", "random", "--by-count", 3, "--scores", "s.jsonl")
    done = cli("select", "d.jsonl", *by, "--out", "kept.jsonl", "--dropped", "rest.jsonl", *drop)
    assert "3 of 3 samples; 2 of 5 rows cannot be read and are left out: " in done.out
    assert json_lines(tmp_path / "kept.jsonl") == data[1:4]
    assert json_lines(tmp_path / "rest.jsonl") == [SILENT, NARRATED]
    done = cli("export", "d.jsonl", "--pack", "trl", "--out", "pack", *drop)
    assert "wrote pack: 3 samples; 2 of 5 rows cannot be read" in done.out
    assert "2 of 5 rows" in cli("export", "d.jsonl", "--pack", "trl", "--out", "pack").err
    assert "--unreadable can only" in cli("export", "x", "--out", "y", *drop).error()


def test_rows_in_memory_are_left_out_too(tmp_path):
    """By a key of the call, or of the config."""
    found = rt_framework.score(
        [GOOD, SILENT], FakeStudent(), ["ifd"], unreadable="drop", progress=False, host=Host(only=[])
    )
    assert [line["row"] for line in found] == [0]
    with pytest.raises(UnreadableRows, match=r"rows in memory: row 1 .from 0.: 'messages' has no assistant turn"):
        rt_framework.score([GOOD, SILENT], FakeStudent(), ["ifd"], progress=False, host=Host(only=[]))
    run = rt_framework.run(
        {"data": {"unreadable": "drop"}, "pipeline": [{"measure": ["echo"]}]},
        [GOOD, SILENT],
        run_dir=tmp_path / "run",
        progress=False,
        host=Host(only=[]),
    )
    assert (list(run.kept()), list(run.dropped())) == ([GOOD], [SILENT])


# --- empty texts ------------------------------------------------------------------------------

BLANK = ["", " \n\t", "\u200b"]
THOUGHT = ["<think>Which one?</think>", "<think>Which one?</think> \n"]
ASKED, ANSWERED = "Name a long river in Europe.", "The Rhine is a long river."
CALL = {"type": "function", "function": {"name": "atlas", "arguments": "{}"}}


def shaped(shape: str, asked: str, answered: str) -> dict[str, Any]:
    """A row of a shape."""
    if shape in ("alpaca", "prompt-completion"):
        ask, answer = find_shape(shape).required
        return {ask: asked, answer: answered}
    role, content, names = (
        ("role", "content", ("user", "assistant")) if shape == "messages" else ("from", "value", ("human", "gpt"))
    )
    turns = [{role: name, content: text} for name, text in zip(names, (asked, answered), strict=True)]
    return {find_shape(shape).required[0]: turns}


def pair_in(shape: str, row: dict[str, Any]) -> Pair:
    """The pair of a row."""
    meaning = find_shape(shape)
    return to_record(meaning, row, column_names(meaning, {})).pair


@pytest.fixture
def statuses(monkeypatch, tmp_path):
    """The status of every metric of ours for a pair, by a fake student."""
    monkeypatch.syspath_prepend(str(REPO / "plugins/rt-metrics"))
    make = Builder(Host(modules=["rt_metrics"], only=[], strict=True))
    student, executor = FakeStudent(), LocalExecutor()
    executor.start(lambda: student)
    rules = ScoringRules.of(rt_framework.config.ScoringConfig())
    frame = PresetSpans(rules.preset, make.spec("templates", rules.template), None)

    async def measured(pairs: list[Pair], names: list[str], ledger: Ledger) -> list[dict[str, str]]:
        losses = Losses(student, executor, ledger, 4096)
        scoring = Scoring(lambda name: make("metrics", name), frame, {"": losses}, True)
        try:
            await scoring.fit(names, lambda: iter([Pair(ASKED, response=ANSWERED)]))
            found = await scoring.score(pairs, names)
        finally:
            await losses.close()
        return [{name: score.status for name, score in one.items()} for one in found]

    def call(pairs: list[Pair], names: list[str]) -> list[dict[str, str]]:
        with Ledger.writing(tmp_path / "ledger.sqlite") as ledger:
            return asyncio.run(measured(pairs, names, ledger))

    yield call, sorted(make.names("metrics"))
    executor.close()


@pytest.mark.parametrize("shape", ["alpaca", "prompt-completion", "messages", "sharegpt"])
def test_an_empty_text_is_empty_for_every_metric_that_reads_it(shape, statuses):
    """In both directions, also if only thinking is there; the grade of the instruction reads no response."""
    status, names = statuses
    assert {"ifd", "r-ifd", "r-ifd-novel", "loss", "ppl", "length", "echo", "deita", "grape", "rsr"} <= set(names)
    unanswered = [pair_in(shape, shaped(shape, ASKED, text)) for text in (*BLANK, *THOUGHT)]
    unasked = [pair_in(shape, shaped(shape, text, ANSWERED)) for text in BLANK]
    whole = pair_in(shape, shaped(shape, ASKED, ANSWERED))
    reading = [name for name in names if name != "deita-complexity"]
    for found in status(unanswered, reading):
        assert found == dict.fromkeys(reading, "empty")
    for found in status(unasked, names):
        assert found == dict.fromkeys(names, "empty")
    (found,) = status([whole], names)
    assert "empty" not in found.values()


def test_a_turn_that_calls_tools_is_never_empty(statuses):
    """With any text or none; without an instruction it is empty all the same."""
    status, names = statuses
    for text in (None, "", "<think>Which one?</think>"):
        call = {"role": "assistant", "content": text, "tool_calls": [CALL]}
        asked, unasked = ({"messages": [{"role": "user", "content": said}, call]} for said in (ASKED, " "))
        found, empty = status([pair_in("messages", asked), pair_in("messages", unasked)], names)
        assert "empty" not in found.values(), found
        assert set(empty.values()) == {"empty"}

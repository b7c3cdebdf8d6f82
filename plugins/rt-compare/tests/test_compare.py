"""Two data sets side by side: the command."""

from __future__ import annotations

import json
import re
import shlex
import statistics

import pytest
from compare_parts import harmless, hostile_rows, marked, rows

from rt_framework.testing import ScriptedTeacher


def test_two_files_are_put_side_by_side(rt, found, rt_project):
    """Counts, lengths, duplicates, refusals and languages, in words and as JSON."""
    a = rows(4)
    b = [dict(row, output=f"{row['output']} And there is more to say of it, if one wants to.") for row in a[:3]]
    b += [b[0], dict(b[1], output="I'm sorry, but I cannot help with that."), dict(b[2], instruction="Why?")]
    rt_project.write("a.json", a)
    rt_project.write("b.json", b)
    told = found("a.json", "b.json")
    assert (told["a"]["samples"], told["b"]["samples"]) == (4, 6)
    assert (told["by_id"], told["by_prompt"], told["equal"]) == (0, 3, 0)
    assert (told["longer"], told["shorter"]) == (3, 0)
    assert (told["b"]["exact"], told["b"]["same_prompt"], told["b"]["refusals"]) == (1, 2, 1)
    lengths = sorted(len(row["output"]) for row in a)
    assert told["a"]["response"]["median"] == statistics.median(lengths)
    done = rt("compare", "a.json", "b.json")
    assert "A: a.json: 4 samples B: b.json: 6 samples in both: 3 samples, 0 by the id" in done.words
    assert re.search(r"equal to an earlier sample 0 0\.0 % 1 16\.7 %", done.words)
    assert re.search(r"responses that begin as a refusal 0 0\.0 % 1 16\.7 %", done.words)
    assert "128 permutations" in done.words and "py3langid" in done.words
    assert "a shift of scores is no proof of a better model" in done.words
    assert f"(AUC {told['length_auc']:.3f};" in done.words
    assert told["cannot_say"] and all(one in done.words for one in told["cannot_say"])


def test_a_run_is_compared_with_its_input(rt, found, run, rt_project):
    """Its kept samples, each with its own original, whatever was rewritten; the run has the scores of both."""
    run({"measure": ["ifd", "r-ifd"]}, rows=rows(6))
    told = found("data.json", "runs/rt")
    assert (told["by_id"], told["by_prompt"], told["b"]["is_run"], told["same_scoring"]) == (6, 0, True, True)
    side = rt_project.records("runs/rt/scores.jsonl")
    moved = [line["scores"][line["kept"]]["ifd"] - line["scores"]["original"]["ifd"] for line in side]
    ifd = next(metric for metric in told["metrics"] if metric["name"] == "ifd")
    assert ifd["paired"] == 6
    assert ifd["shift"]["value"] == pytest.approx(statistics.fmean(moved))
    assert ifd["shift"]["low"] < ifd["shift"]["value"] < ifd["shift"]["high"]
    assert (
        "A: data.json: 6 samples, with the scores that runs/rt has of them" in rt("compare", "data.json", "runs/rt").out
    )


def test_a_file_without_scores_says_how_to_make_them(rt, found, run, rt_project):
    """As the run scored; the command works as it is printed, and so does the one that takes what it wrote."""
    run({"measure": ["ifd", "r-ifd"]}, rows=rows(6))
    rt_project.write("other.json", [row | {"output": f"{row['output']} Or so."} for row in rows(6)])
    assert [metric["a"] for metric in found("other.json", "runs/rt")["metrics"]] == [None, None]
    done = rt("compare", "other.json", "runs/rt")
    command, then = re.search(r"to make them: (rt score .*)\nand then: (rt compare .*)\n", done.out).groups()
    assert "--student fake" in command and "--preset chat --metric ifd --metric r-ifd" in command
    assert rt(*shlex.split(command)[1:]).code == 0
    with_scores = found("other.json", "runs/rt", *shlex.split(then)[3:])
    assert with_scores["same_scoring"] is True
    assert [metric["a"]["count"] for metric in with_scores["metrics"]] == [6, 6]


def test_what_a_run_dropped_is_not_compared(found, rt_project):
    """A run that keeps two of six has two samples; nothing of its scores is of the others."""
    rt_project.run([{"measure": ["ifd"]}, {"select": {"random": {"count": 2}}}], rows=rows(6))
    told = found("runs/rt", "data.json")
    assert (told["a"]["samples"], told["by_id"], told["equal"]) == (2, 2, 2)
    assert (told["near"], told["metrics"][0]["a"]["count"]) == (2, 2)


def test_samples_that_ask_the_same_are_matched_in_their_order(found, rt_project):
    """Each once, however often a question stands in either."""
    ask = {"instruction": "Name a river.", "input": ""}
    rt_project.write("a.json", [ask | {"output": text} for text in ("Rhine", "Nile", "Amazon")])
    rt_project.write("b.json", [ask | {"output": text} for text in ("Nile", "Rhine!", "Po", "Elbe", "Oder")])
    told = found("a.json", "b.json")
    assert (told["by_id"], told["by_prompt"], told["equal"]) == (1, 2, 1)
    # Rhine → Rhine!, Amazon → Po
    assert (told["longer"], told["shorter"]) == (1, 1)


def test_scores_of_different_students_are_said_not_to_compare(rt, found, rt_project, tmp_path):
    """By what the score files were made stands beside them; without it that is said."""
    rt_project.write("a.json", rows(3))
    score = ("score", "a.json", "--student", "fake", "--metric", "ifd")
    assert rt(*score, "--out", "one.jsonl").code == 0
    assert rt(*score, "--max-tokens", "77", "--out", "two.jsonl").code == 0
    (tmp_path / "three.jsonl").write_bytes((tmp_path / "one.jsonl").read_bytes())

    def told(other):
        return found("a.json", "a.json", "--scores-a", "one.jsonl", "--scores-b", other)

    assert told("one.jsonl")["metrics"][0]["shift"]["value"] == 0
    for other, same, words in (
        ("one.jsonl", True, None),
        ("two.jsonl", False, "they must not be compared"),
        ("three.jsonl", None, "it is not known whether"),
    ):
        one = told(other)
        assert one["same_scoring"] is same
        assert sum("scores of A and B were made by" in line for line in one["cannot_say"]) == (words is not None)
        assert words is None or any(words in line for line in one["cannot_say"])


def test_what_cannot_be_compared_is_refused_in_a_line(rt, run, rt_project, tmp_path):
    """Scores for a run, scores of another file, a run of nothing, no file."""
    rt_project.write("data.json", rows(3))
    rt_project.write("other.json", rows(9)[5:])
    run()
    assert rt("score", "other.json", "--student", "fake", "--out", "s.jsonl").code == 0
    refused = {
        ("data.json", "runs/rt", "--scores-b", "s.jsonl"): "runs/rt is a run directory, which has its scores",
        ("data.json", "other.json", "--scores-a", "s.jsonl"): "s.jsonl: no line is about a sample of data.json",
        ("data.json", "s.jsonl.rt"): "s.jsonl.rt: a run directory in which no sample was kept",
        ("data.json", "none.json"): "none.json: no such file",
        ("data.json", "other.json", "--scores-b", "none.jsonl"): "none.jsonl: no such file; 'rt score' writes it",
    }
    for arguments, words in refused.items():
        assert words in rt("compare", *arguments).error()
    before = (tmp_path / "data.json").read_bytes()
    same = rt("compare", "other.json", "data.json", "--out", tmp_path / "data.json")
    assert "data.json: is an input of this command" in same.error()
    assert (tmp_path / "data.json").read_bytes() == before


def test_columns_of_your_own_are_read_in_both(found, rt_project):
    """As elsewhere."""
    rt_project.write("a.json", [{"q": "Why?", "a": "So."}])
    rt_project.write("b.json", [{"q": "Why?", "a": "Because."}])
    own = ("--shape", "alpaca", "--column", "instruction=q", "--column", "output=a")
    assert found("a.json", "b.json", *own)["by_prompt"] == 1


@pytest.mark.parametrize("name", ["[bold]x[/bold].json", "a\nb.json", "x\x1b[31m.json"])
def test_hostile_texts_are_harmless(name, rt, rt_project, tmp_path):
    """In both data sets, in their names, and in the names of metrics."""
    rt_project.write(name, hostile_rows())
    rt_project.write("b.json", hostile_rows()[::-1])
    done = rt("compare", name, "b.json", "--out", f"out {name}")
    assert (done.code, done.err) == (0, "")
    assert harmless(done.out)
    assert "\x1b" not in (tmp_path / f"out {name}").read_text()
    scores = [json.dumps({"id": "x", "status": "ok", "metrics": {"if\x1b[31md[/x]": 1.0}})]
    (tmp_path / "s.jsonl").write_text("\n".join(scores))
    assert harmless(rt("compare", name, "b.json", "--scores-a", "s.jsonl").err)


def test_a_damaged_run_directory_is_told_in_a_line(rt, run, tmp_path):
    """With exit code 5 and the way out; nothing is written."""
    run(rows=rows(3))
    ledger = tmp_path / "runs/rt/ledger.sqlite"
    ledger.write_bytes(ledger.read_bytes()[:8192] + b"\xff" * 8192)
    assert "rt salvage" in rt("compare", "runs/rt", "data.json", "--out", "out.json").error(5)
    assert not (tmp_path / "out.json").exists()


# --- what is written --------------------------------------------------------------------------


def tree(folder):
    """Every file in a folder with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "b.json"], "is an input of this command"),
        (["--out", "theirs.txt"], "exists already; name another place with --out, or give --overwrite"),
        (["--out", "s.jsonl", "--scores-a", "s.jsonl", "--overwrite"], "is an input of this command"),
        (["--out", "runs/rt/kept.json", "--overwrite"], "belongs to the run directory"),
        (["--out", "runs/rt/ledger.sqlite", "--overwrite"], "belongs to the run directory"),
        (["--out", "no/../"], "names no file"),
        (["--judge", "scripted", "--run-dir", "new", "--out", "new"], "another output of this command"),
        (["--judge", "scripted", "--run-dir", "new", "--out", "new/manifest.json"], "belongs to the run directory"),
        (["--judge", "scripted", "--run-dir", "runs/rt"], "was started with other settings"),
        (["--judge", "replay:theirs.txt", "--out", "theirs.txt", "--overwrite"], "is an input of this command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_is_written_over_what_is_not_ours(rt, run, rt_project, tmp_path, arguments, words):
    """Inputs, other outputs, files of others, and other run directories stay as they are, to the byte."""
    run(rows=rows(3))
    rt_project.write("a.json", rows(3))
    rt_project.write("b.json", [row | {"output": "Other."} for row in rows(3)])
    assert rt("score", "a.json", "--student", "fake", "--out", "s.jsonl").code == 0
    rt_project.write("theirs.txt", "theirs")
    before = tree(tmp_path)
    assert words in rt("compare", "a.json", "b.json", *arguments).error()
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("at", "code"), [("theirs.txt", 5), ("data.json", 2), ("runs/rt", 2)])
def test_the_judges_answers_have_a_directory_of_their_own(rt, run, rt_project, tmp_path, at, code):
    """No file, and none of the two data sets."""
    run(rows=rows(3))
    rt_project.write("theirs.txt", "theirs")
    before = tree(tmp_path)
    error = rt("compare", "data.json", "runs/rt", "--judge", "scripted", "--run-dir", at).error(code)
    assert error.startswith(f"{at}: ")
    assert tree(tmp_path) == before


def test_the_results_of_the_same_command_are_replaced(judge, rt_project, tmp_path):
    """They are recorded in the directory of the judge's answers."""
    rt_project.write("a.json", rows(3))
    rt_project.write("b.json", [row | {"output": "Other."} for row in rows(3)])
    for _ in range(2):
        assert judge(ScriptedTeacher(lambda _: marked(5, 5)), "--out", "out.json").code == 0

"""Two data sets side by side: the arithmetic, what is found in texts, and the command."""

from __future__ import annotations

import json
import random
import re
import shlex
import statistics

import pytest

from rt_framework.compare.languages import UNSURE, language
from rt_framework.compare.neighbours import Neighbours, Sketcher
from rt_framework.kit.refusals import refuses
from rt_framework.kit.spread import Spread, auc, quantile, repeats
from tests.helpers import CONFIG, Cli, rows, the_error, write_json
from tests.reliability.test_18_hostile_text import NAMES, harmless, hostile_rows


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line in an empty folder, with fakes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    return Cli(monkeypatch, capfd)


@pytest.fixture
def found(cli, tmp_path):
    """Compares, and gives what stands in the JSON file."""

    def make(*arguments):
        done = cli("compare", *arguments, "--json", "found.json", "--overwrite")
        assert (done.code, done.err) == (0, ""), done.err
        return json.loads((tmp_path / "found.json").read_text())

    return make


# --- arithmetic -------------------------------------------------------------------------------


def test_quartiles_are_those_of_the_standard_library():
    """Type 7, which it calls inclusive."""
    numbers = [random.Random(1).gauss(0, 1) for _ in range(37)]
    ordered = sorted(numbers)
    assert [quantile(ordered, part) for part in (0.25, 0.5, 0.75)] == pytest.approx(
        statistics.quantiles(numbers, n=4, method="inclusive")
    )
    spread = Spread.of(numbers)
    assert (spread.count, spread.mean) == (37, pytest.approx(statistics.fmean(numbers)))
    assert Spread.of([3.0]) == Spread(1, 3.0, 3.0, 3.0, 3.0)
    assert Spread.of([]) is None


def test_auc_counts_pairs():
    """As many as there are, ties half; equal sets 0.5, separate ones 0 and 1."""
    draw = random.Random(2)
    for _ in range(20):
        small, large = ([draw.randrange(8) for _ in range(draw.randrange(1, 12))] for _ in "ab")
        pairs = [(b > a) + (b == a) / 2 for a in small for b in large]
        assert auc(small, large) == pytest.approx(statistics.fmean(pairs))
    assert (auc([1, 2], [3, 4]), auc([3, 4], [1, 2]), auc([1, 2], [1, 2])) == (1, 0, 0.5)
    assert auc([], [1]) is None


def test_repeats_are_counted_from_the_second_on():
    """Three equal ones are two repeats."""
    assert repeats("abacab") == 3


# --- texts ------------------------------------------------------------------------------------

TEXT = " ".join(f"word{n}" for n in range(60))


def test_near_duplicates_share_most_of_their_words():
    """A changed word, case and punctuation do not hide one; half of the text, or the words in another order, do."""
    sketch, known = Sketcher(), Neighbours()
    assert not known.add(sketch(TEXT))
    for near in (TEXT, TEXT.replace("word7 ", "other "), TEXT.upper().replace(" ", ", ")):
        assert known.add(sketch(near)), near
    shuffled = TEXT.split()
    random.Random(0).shuffle(shuffled)
    for far in (TEXT[: len(TEXT) // 2], " ".join(shuffled), "", "今天天气很好"):
        assert not known.has(sketch(far)), far


def test_near_duplicates_are_found_without_blanks_between_words():
    """Chinese is taken letter by letter; texts without a word are each other's."""
    sketch, known = Sketcher(), Neighbours()
    chinese = "".join(chr(0x4E00 + n) for n in range(60))
    assert not known.add(sketch(chinese))
    assert known.has(sketch(chinese.replace(chinese[30], "龥")))
    assert not known.add(sketch("?!"))
    assert known.add(sketch("..."))
    assert not known.add(sketch("a\ud800b"))


def test_nearly_all_of_many_near_duplicates_are_found():
    """Of 300 texts with two of 60 words changed, whose similarity is 0.81 at the least, 95 %."""
    sketch, draw, known = Sketcher(), random.Random(3), Neighbours()
    texts = [[f"w{draw.randrange(5000)}" for _ in range(60)] for _ in range(300)]
    assert sum(known.add(sketch(" ".join(text))) for text in texts) == 0
    for text in texts:
        text[draw.randrange(60)] = "changed"
    assert sum(known.has(sketch(" ".join(text))) for text in texts) >= 285


def test_refusals_are_told_from_answers():
    """By how they begin."""
    assert refuses("I'm sorry, but I can't help with that.")
    assert refuses("As an AI language model, I do not have access to the internet.")
    assert not refuses("Sorry is a word of apology.")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The cat sleeps on the sofa, and nobody wants to wake it.", "en"),
        ("Die Katze schläft auf dem Sofa, und niemand möchte sie wecken.", "de"),
        ("这是一个关于人工智能的简短说明。人工智能正在改变世界，也改变生活。", "zh"),
        ("[1, 2, 3]", UNSURE),
        ("Paris", UNSURE),
        ("\ud800" * 30, UNSURE),
        ("", UNSURE),
    ],
)
def test_the_language_is_guessed_where_there_is_enough_text(text, code):
    """Else it is said not to be known."""
    assert language(text) == code


# --- the command ------------------------------------------------------------------------------


def test_two_files_are_put_side_by_side(cli, found, tmp_path):
    """Counts, lengths, duplicates, refusals and languages, in words and as JSON."""
    a = rows(4)
    b = [dict(row, output=f"{row['output']} And there is more to say of it, if one wants to.") for row in a[:3]]
    b += [b[0], dict(b[1], output="I'm sorry, but I cannot help with that."), dict(b[2], instruction="Why?")]
    write_json(tmp_path / "a.json", a)
    write_json(tmp_path / "b.json", b)
    told = found("a.json", "b.json")
    assert (told["a"]["samples"], told["b"]["samples"]) == (4, 6)
    assert (told["by_id"], told["by_prompt"], told["equal"]) == (0, 3, 0)
    assert (told["longer"], told["shorter"]) == (3, 0)
    assert (told["b"]["exact"], told["b"]["same_prompt"], told["b"]["refusals"]) == (1, 2, 1)
    lengths = sorted(len(row["output"]) for row in a)
    assert told["a"]["response"]["median"] == statistics.median(lengths)
    done = cli("compare", "a.json", "b.json")
    assert "A: a.json: 4 samples B: b.json: 6 samples in both: 3 samples, 0 by the id" in done.words
    assert re.search(r"equal to an earlier sample 0 0\.0 % 1 16\.7 %", done.words)
    assert re.search(r"responses that begin as a refusal 0 0\.0 % 1 16\.7 %", done.words)
    assert "128 permutations" in done.words and "py3langid" in done.words
    assert "a shift of scores is no proof of a better model" in done.words
    assert f"(AUC {told['length_auc']:.3f};" in done.words
    assert told["cannot_say"] and all(one in done.words for one in told["cannot_say"])


def test_a_run_is_compared_with_its_input(cli, found, tmp_path):
    """Its kept samples, each with its own original, whatever was rewritten; the run has the scores of both."""
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG + "  - measure: [ifd, r-ifd]\n")
    assert cli("run", "rt.yaml").code == 0
    told = found("data.json", "runs/rt")
    assert (told["by_id"], told["by_prompt"], told["b"]["is_run"], told["same_scoring"]) == (6, 0, True, True)
    side = [json.loads(line) for line in (tmp_path / "runs/rt/scores.jsonl").read_text().splitlines()]
    moved = [line["scores"][line["kept"]]["ifd"] - line["scores"]["original"]["ifd"] for line in side]
    ifd = next(metric for metric in told["metrics"] if metric["name"] == "ifd")
    assert ifd["paired"] == 6
    assert ifd["shift"]["value"] == pytest.approx(statistics.fmean(moved))
    assert ifd["shift"]["low"] < ifd["shift"]["value"] < ifd["shift"]["high"]
    assert (
        "A: data.json: 6 samples, with the scores that runs/rt has of them"
        in cli("compare", "data.json", "runs/rt").out
    )


def test_a_file_without_scores_says_how_to_make_them(cli, found, tmp_path):
    """As the run scored; the command works as it is printed, and so does the one that takes what it wrote."""
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG + "  - measure: [ifd, r-ifd]\n")
    assert cli("run", "rt.yaml").code == 0
    write_json(tmp_path / "other.json", [row | {"output": f"{row['output']} Or so."} for row in rows(6)])
    assert [metric["a"] for metric in found("other.json", "runs/rt")["metrics"]] == [None, None]
    done = cli("compare", "other.json", "runs/rt")
    command, then = re.search(r"to make them: (rt score .*)\nand then: (rt compare .*)\n", done.out).groups()
    assert "--student fake" in command and "--preset chat --metric ifd --metric r-ifd" in command
    assert cli(*shlex.split(command)[1:]).code == 0
    with_scores = found("other.json", "runs/rt", *shlex.split(then)[3:])
    assert with_scores["same_scoring"] is True
    assert [metric["a"]["count"] for metric in with_scores["metrics"]] == [6, 6]


def test_what_a_run_dropped_is_not_compared(found, cli, tmp_path):
    """A run that keeps two of six has two samples; nothing of its scores is of the others."""
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    select = "pipeline=[{measure: [ifd]}, {select: {random: {count: 2}}}]"
    assert cli("run", "rt.yaml", "--set", select).code == 0
    told = found("runs/rt", "data.json")
    assert (told["a"]["samples"], told["by_id"], told["equal"]) == (2, 2, 2)
    assert (told["near"], told["metrics"][0]["a"]["count"]) == (2, 2)


def test_samples_that_ask_the_same_are_matched_in_their_order(found, tmp_path):
    """Each once, however often a question stands in either."""
    ask = {"instruction": "Name a river.", "input": ""}
    write_json(tmp_path / "a.json", [ask | {"output": text} for text in ("Rhine", "Nile", "Amazon")])
    write_json(tmp_path / "b.json", [ask | {"output": text} for text in ("Nile", "Rhine!", "Po", "Elbe", "Oder")])
    told = found("a.json", "b.json")
    assert (told["by_id"], told["by_prompt"], told["equal"]) == (1, 2, 1)
    # Rhine → Rhine!, Amazon → Po
    assert (told["longer"], told["shorter"]) == (1, 1)


def test_scores_of_different_students_are_said_not_to_compare(cli, found, tmp_path):
    """By what the score files were made stands beside them; without it that is said."""
    write_json(tmp_path / "a.json", rows(3))
    score = ("score", "a.json", "--student", "fake", "--metric", "ifd")
    assert cli(*score, "--out", "one.jsonl").code == 0
    assert cli(*score, "--max-tokens", "77", "--out", "two.jsonl").code == 0
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


def test_what_cannot_be_compared_is_refused_in_a_line(cli, tmp_path):
    """Scores for a run, scores of another file, a run of nothing, no file."""
    write_json(tmp_path / "data.json", rows(3))
    write_json(tmp_path / "other.json", rows(9)[5:])
    (tmp_path / "rt.yaml").write_text(CONFIG)
    assert cli("run", "rt.yaml").code == 0
    assert cli("score", "other.json", "--student", "fake", "--out", "s.jsonl").code == 0
    refused = {
        ("data.json", "runs/rt", "--scores-b", "s.jsonl"): "runs/rt is a run directory, which has its scores",
        ("data.json", "other.json", "--scores-a", "s.jsonl"): "s.jsonl: no line is about a sample of data.json",
        ("data.json", "s.jsonl.rt"): "s.jsonl.rt: a run directory in which no sample was kept",
        ("data.json", "none.json"): "none.json: no such file",
        ("data.json", "other.json", "--scores-b", "none.jsonl"): "none.jsonl: no such file; 'rt score' writes it",
    }
    for arguments, words in refused.items():
        assert words in the_error(cli("compare", *arguments))
    before = (tmp_path / "data.json").read_bytes()
    same = cli("compare", "other.json", "data.json", "--json", tmp_path / "data.json")
    assert "data.json: is an input of this command" in the_error(same)
    assert (tmp_path / "data.json").read_bytes() == before


def test_columns_of_your_own_are_read_in_both(cli, found, tmp_path):
    """As elsewhere."""
    write_json(tmp_path / "a.json", [{"q": "Why?", "a": "So."}])
    write_json(tmp_path / "b.json", [{"q": "Why?", "a": "Because."}])
    own = ("--shape", "alpaca", "--column", "instruction=q", "--column", "output=a")
    assert found("a.json", "b.json", *own)["by_prompt"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_hostile_texts_are_harmless(name, cli, tmp_path):
    """In both data sets, in their names, and in the names of metrics."""
    write_json(tmp_path / name, hostile_rows())
    write_json(tmp_path / "b.json", hostile_rows()[::-1])
    done = cli("compare", name, "b.json", "--json", f"out {name}")
    assert (done.code, done.err) == (0, "")
    assert harmless(done.out)
    assert "\x1b" not in (tmp_path / f"out {name}").read_text()
    scores = [json.dumps({"id": "x", "status": "ok", "metrics": {"if\x1b[31md[/x]": 1.0}})]
    (tmp_path / "s.jsonl").write_text("\n".join(scores))
    assert harmless(cli("compare", name, "b.json", "--scores-a", "s.jsonl").err)

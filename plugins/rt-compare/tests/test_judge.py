"""The pairwise judge: the command with teachers that say what they are told to."""

from __future__ import annotations

import json
import random
import re

import pytest
from compare_parts import Priced, Scripted, answers_of, harmless, hostile_rows, marked

from rt_compare.pairwise import NAME
from rt_framework import Pair, Reply, TeacherError
from rt_framework.model import digest
from rt_framework.results import open_run
from rt_framework.testing import ScriptedTeacher

WORKED = [(507, 225, 298, 1.2029), pytest.param(198, 685, 147, 1.0495, marks=pytest.mark.slow)]


def data(folder, verdicts, longer="B"):
    """Both sides of so many questions; the answers of one are longer."""
    for side in "AB":
        more = " and more" if side == longer else ""
        rows = [
            {"instruction": f"Question {n}?", "input": "", "output": f"{side} answers {n}{more}"}
            for n in range(len(verdicts))
        ]
        (folder / f"{side.lower()}.json").write_text(json.dumps(rows))


def found(folder, name="out.json"):
    """Return the judge's part of the JSON file."""
    return json.loads((folder / name).read_text())["judge"]


@pytest.mark.parametrize(("wins", "ties", "losses", "score"), WORKED)
def test_the_worked_numbers_through_the_command(wins, ties, losses, score, judge, tmp_path):
    """1,030 pairs, two questions each."""
    verdicts = ["win"] * wins + ["tie"] * ties + ["loss"] * losses
    random.Random(5).shuffle(verdicts)
    data(tmp_path, verdicts)
    teacher = ScriptedTeacher(Scripted(verdicts))
    done = judge(teacher, "--out", "out.json")
    assert (done.code, done.err) == (0, "")
    assert len(teacher.requests) == 2 * 1030
    assert f"win score of A: {score:.4f}, 95 % from" in done.words
    assert f"of B: {2 - score:.4f}" in done.words
    assert f"A better {wins} " in done.words and f"tie {ties} " in done.words and f"B better {losses} " in done.words
    told = found(tmp_path)
    assert round(told["win_score"]["value"], 4) == score
    assert [told["verdicts"][name] for name in ("wins", "ties", "losses")] == [wins, ties, losses]


def test_conflicts_length_and_answers_without_marks_are_told(judge, tmp_path):
    """A conflict is a tie, and counted; an unusable judgement is excluded, and counted."""
    verdicts = ["win", "win", "win", "loss", "tie", "conflict", "conflict", "chatter"]
    data(tmp_path, verdicts)
    done = judge(ScriptedTeacher(Scripted(verdicts)), "--out", "out.json")
    assert done.code == 0
    told = found(tmp_path)
    assert told["verdicts"] == {"wins": 3, "ties": 3, "losses": 1, "conflicts": 2, "longer": 1, "unequal": 4}
    assert (told["excluded"], told["drawn"]) == ({"format": 1}, 8)
    assert told["win_score"]["value"] == pytest.approx(1 + 2 / 7)
    assert "in 2 pairs (28.6 %) the two orders named different winners" in done.words
    assert "the longer answer won 1 of 4 decisions (25.0 %)" in done.words
    assert "excluded, because an order has no usable answer: 1 pairs (format 1)" in done.words
    # The unusable answer was asked for once more, differently.
    assert "17 teacher calls sent, 1 of them retries" in done.words


def test_a_judge_that_always_likes_the_first_decides_nothing(judge, tmp_path):
    """All ties, all conflicts."""
    data(tmp_path, ["conflict"] * 5)
    judge(ScriptedTeacher(Scripted(["conflict"] * 5)), "--out", "out.json")
    told = found(tmp_path)
    assert (told["verdicts"]["ties"], told["verdicts"]["conflicts"], told["win_score"]["value"]) == (5, 5, 1.0)


def test_answers_are_paid_for_once(judge, tmp_path):
    """The same command again asks nothing; a larger sample asks only for what is new; the ledger has every answer."""
    data(tmp_path, ["win"] * 30)
    first, again, more = (ScriptedTeacher(Scripted(["win"] * 30)) for _ in range(3))
    assert judge(first, "--run-dir", "judged", "-n", 10).code == 0
    done = judge(again, "--run-dir", "judged", "-n", 10)
    assert (len(first.requests), len(again.requests)) == (20, 0)
    assert "0 teacher calls sent, 0 of them retries, 20 answers from the ledger" in done.words
    assert "questions in both: 30, of which 0 have equal answers and 20 were not drawn" in done.words
    judge(more, "--run-dir", "judged", "-n", 12)
    assert len(more.requests) == 4
    with open_run(tmp_path / "judged") as run:
        assert [(bill.reflection, bill.requests) for bill in run.cost.bills] == [("judge", 24)]


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_order(judge, rt_project, tmp_path):
    """Of the rows."""

    def drawn(place, *arguments):
        teacher = ScriptedTeacher(Scripted(["win"] * 30))
        judge(teacher, "--run-dir", place, "-n", 5, *arguments)
        return {frozenset(answers_of(request)) for request in teacher.requests}

    data(tmp_path, ["win"] * 30)
    one = drawn("1")
    for name in ("a.json", "b.json"):
        rt_project.write(name, json.loads((tmp_path / name).read_text())[::-1])
    assert drawn("2") == one
    assert drawn("3", "--seed", 1) != one


def test_only_shared_questions_with_different_answers_are_judged(judge, rt_project, tmp_path):
    """Equal answers cost nothing and are counted; a question that occurs twice is judged twice."""
    ask = {"instruction": "Question?", "input": ""}
    same = {"instruction": "Equal?", "input": "", "output": "Yes."}
    a = [ask | {"output": "A says 0"}, ask | {"output": "A says 1"}, same, {"instruction": "Only A?", "output": "0"}]
    b = [same, ask | {"output": "B says 0"}, ask | {"output": "B says 1"}, ask | {"output": "B says 2"}]
    rt_project.write("a.json", [{"input": ""} | row for row in a])
    rt_project.write("b.json", b)
    teacher = ScriptedTeacher(Scripted(["win"] * 3))
    judge(teacher, "--out", "out.json")
    told = found(tmp_path)
    assert (told["shared"], told["same"], told["drawn"], told["verdicts"]["wins"]) == (3, 1, 2, 2)
    assert {answers_of(request) for request in teacher.requests} == {
        ("A says 0", "B says 0"),
        ("B says 0", "A says 0"),
        ("A says 1", "B says 1"),
        ("B says 1", "A says 1"),
    }


def test_a_budget_is_kept_and_a_larger_one_goes_on(judge, tmp_path):
    """With exit code 6 where it ends; nothing is asked twice."""
    data(tmp_path, ["win"] * 20)
    teacher = Priced(Scripted(["win"] * 20))
    error = judge(teacher, "--out", "out.json", "--budget-usd", "0.00002").error(6)
    assert "budget" in error
    assert not (tmp_path / "out.json").exists()
    asked = len(teacher.requests)
    assert 0 < asked < 40
    assert teacher.paid <= 20_000
    assert judge(teacher, "--out", "out.json", "--budget-usd", "1").code == 0
    assert len(teacher.requests) == 40
    assert found(tmp_path)["verdicts"]["wins"] == 20
    unpriced = judge(ScriptedTeacher(Scripted([])), "--run-dir", "x", "--budget-usd", "1")
    assert "the price of teacher" in unpriced.error()


def test_what_met_errors_ends_with_one_and_is_asked_again(judge, tmp_path):
    """A provider that answers nothing usable for a while."""
    data(tmp_path, ["win"] * 3)

    def failing(request):
        if "answers 1" in answers_of(request)[0]:
            raise TeacherError("bad_request", "no")
        return Scripted(["win"] * 3)(request)

    done = judge(ScriptedTeacher(failing), "--out", "out.json")
    assert done.code == 1
    assert found(tmp_path)["excluded"] == {"bad_request": 1}
    assert "1 of them met errors; run again" in done.words
    assert judge(ScriptedTeacher(Scripted(["win"] * 3)), "--out", "out.json").code == 0
    assert found(tmp_path)["verdicts"]["wins"] == 3


def test_a_fatal_refusal_ends_the_command_in_a_line(judge, tmp_path):
    """A wrong key is no verdict."""
    data(tmp_path, ["win"] * 3)

    def refuse(request):
        raise TeacherError("auth", "wrong key")

    assert "wrong key" in judge(ScriptedTeacher(refuse), "--run-dir", "x").error(3)


def test_what_makes_no_sense_is_refused_before_anything_is_asked(judge, rt, rt_project, tmp_path):
    """No place for the answers, nothing in both, nothing that differs, a key among the options."""
    teacher = ScriptedTeacher(Scripted(["win"] * 3))
    data(tmp_path, ["win"] * 3)
    assert "by --run-dir DIR or --out FILE" in judge(teacher).error()
    assert "can only be used with --judge" in rt("compare", "a.json", "b.json", "-n", 3).error()
    secret = rt("compare", "a.json", "b.json", "--judge", "{litellm: {model: x/y, api_key: abc}}", "--run-dir", "x")
    assert "keys come only from the environment" in secret.error()
    rt_project.write("b.json", json.loads((tmp_path / "a.json").read_text()))
    assert "in the same words" in judge(teacher, "--run-dir", "x").error()
    rt_project.write("b.json", [{"instruction": "Other?", "input": "", "output": "1"}])
    assert "share no question" in judge(teacher, "--run-dir", "x").error()
    assert teacher.requests == []
    assert not (tmp_path / "x").exists()


def test_recorded_answers_judge_too(rt, tmp_path):
    """The teacher ``replay``, by the hashes of the pair shown first and of the other one."""
    data(tmp_path, ["win"] * 2)
    pairs = {
        side: [Pair(row["instruction"], row["input"], row["output"]) for row in json.loads(path.read_text())]
        for side, path in (("a", tmp_path / "a.json"), ("b", tmp_path / "b.json"))
    }
    lines = []
    for a, b in zip(pairs["a"], pairs["b"], strict=True):
        for first, second, text in ((a, b, marked(9, 4)), (b, a, marked(4, 9))):
            line = {"reflection": NAME, "pair": digest([first.hash, second.hash]), "index": 0, "text": text}
            lines.append(json.dumps(line))
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    done = rt("compare", "a.json", "b.json", "--judge", "replay:answers.jsonl", "--out", "out.json")
    assert (done.code, done.err) == (0, "")
    assert "teacher: replay answers.jsonl (recorded answers)" in done.words
    assert "rt report" not in done.out  # the summary of a run would say the same again
    assert found(tmp_path)["verdicts"]["wins"] == 2


def test_hostile_texts_are_harmless(judge, rt_project, tmp_path):
    """In both answers, and in what the judge says."""
    rows = hostile_rows()
    rt_project.write("a.json", rows)
    rt_project.write("b.json", [row | {"output": f"B {row['output']}"} for row in rows])
    teacher = ScriptedTeacher(lambda request: Reply(marked(3, 4), model=answers_of(request)[0]))
    done = judge(teacher, "--out", "out.json")
    assert (done.code, done.err) == (0, "")
    assert harmless(done.out)
    assert found(tmp_path)["verdicts"]["ties"] == len(rows)
    lines = [json.loads(line) for line in (tmp_path / "out.json.rt/kept.jsonl").read_text().split("\n") if line]
    assert [line["messages"][-1]["content"] for line in lines] == [row["output"] for row in rows]


def test_a_dry_run_counts_the_calls_and_writes_nothing(judge, tmp_path):
    """Two for each pair, those that are answered left out; a run then sends as many."""
    data(tmp_path, ["win"] * 5)
    teacher = Priced(Scripted(["win"] * 5))
    done = judge(teacher, "--out", "out.json", "--dry-run")
    assert (done.code, done.err, teacher.requests) == (0, "", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
    assert "5 pairs of answers, each judged in both orders: still to be paid" in done.words
    assert "calls 10 20 " in done.words and "0 of 10 calls are answered in the run directory" in done.words
    assert judge(teacher, "--out", "out.json", "-n", 2).code == 0
    assert len(teacher.requests) == 4
    done = judge(teacher, "--out", "out.json", "--dry-run")
    assert "calls 6 12 " in done.words and "4 of 10 calls are answered in the run directory" in done.words
    quote = json.loads(judge(teacher, "--out", "out.json", "--dry-run", "--json").out)
    assert (quote["still"]["sends"], quote["answered"]) == ({"low": 6, "high": 12}, 4)
    low = int(re.search(r"prompt tokens (\d+) ", done.words)[1])
    before = teacher.paid
    done = judge(teacher, "--out", "out.json", "--json")
    assert done.code == 0 and done.out == (tmp_path / "out.json").read_text()
    told = sum(-(-len(marked(8, 6).encode()) // 4) for _ in range(6))
    assert teacher.paid - before == 3 * low + 7 * told


def test_the_better_answers_are_what_the_run_keeps(judge, tmp_path):
    """Of equal ones that of A; a pair without marks is dropped. The marks stand in the side file."""
    verdicts = ["win", "loss", "tie", "chatter"]
    data(tmp_path, verdicts)
    assert judge(ScriptedTeacher(Scripted(verdicts)), "--out", "out.json").code == 0
    kept, dropped, side = (
        [json.loads(line) for line in (tmp_path / "out.json.rt" / name).read_text().splitlines()]
        for name in ("kept.jsonl", "dropped.jsonl", "scores.jsonl")
    )
    answers = [line["messages"][-1]["content"] for line in kept]
    assert answers == ["A answers 0", "B answers 1 and more", "A answers 2"]
    assert len(dropped) == 1
    assert side[0]["scores"] == {
        "a": {"judge-first": 8, "judge-second": 8},
        "b": {"judge-first": 6, "judge-second": 6},
    }
    assert (side[1]["kept"], side[3]["reason"]) == ("b", "an order has no usable answer: format")


def test_conversations_of_any_form_are_judged(judge, rt_project, tmp_path):
    """Also where turns do not alternate, which not every shape of an output can hold."""
    turns = [
        {"role": "system", "content": "Be brief."},
        *({"role": "user", "content": text} for text in ("Hm.", "Why?")),
    ]
    for side in "AB":
        answer = {"role": "assistant", "content": f"{side} answers 0"}
        rt_project.write(f"{side.lower()}.json", [{"messages": [*turns, answer]}])
    assert judge(ScriptedTeacher(Scripted(["loss"])), "--out", "out.json").code == 0
    (line,) = rt_project.records("out.json.rt/kept.jsonl")
    assert line["messages"] == [*turns, {"role": "assistant", "content": "B answers 0"}]


def test_an_interrupted_judge_goes_on(judge, tmp_path):
    """After an error that ends the run, only what has no answer is asked."""
    data(tmp_path, ["win"] * 6)
    first = ScriptedTeacher(Scripted(["win"] * 6))

    def breaking(request):
        if len(first.requests) > 5:
            raise TeacherError("quota", "no credit")
        return Scripted(["win"] * 6)(request)

    first = ScriptedTeacher(breaking)
    assert "no credit" in judge(first, "--out", "out.json", "--concurrency", 1).error(3)
    again = ScriptedTeacher(Scripted(["win"] * 6))
    assert judge(again, "--out", "out.json").code == 0
    assert len(again.requests) == 12 - 5
    assert found(tmp_path)["verdicts"]["wins"] == 6


def test_changed_data_need_another_directory_and_no_answer_twice(judge, rt_project, tmp_path):
    """The answers of the earlier comparison are used, those about the new pair are asked for."""
    data(tmp_path, ["win"] * 4)
    assert judge(ScriptedTeacher(Scripted(["win"] * 4)), "--run-dir", "first").code == 0
    for side in "ab":
        rows = json.loads((tmp_path / f"{side}.json").read_text())
        added = {"instruction": "Question 4?", "input": "", "output": f"{side.upper()} answers 4"}
        rt_project.write(f"{side}.json", [*rows, added])
    again = ScriptedTeacher(Scripted(["win"] * 5))
    assert "first was started with other settings" in judge(again, "--run-dir", "first").error()
    assert judge(again, "--run-dir", "second", "--answers", "first", "--out", "out.json").code == 0
    assert len(again.requests) == 2
    assert found(tmp_path)["verdicts"]["wins"] == 5

"""The judge of the models' answers: what it is asked, what becomes of its verdicts, and how it goes on after a stop."""

from __future__ import annotations

import json
import re
from itertools import combinations

import numpy as np
import pytest
from prove_parts import SMALL, Priced, answers_in, answers_of, honest, marked, quality_of

from rt_framework import TeacherError
from rt_framework.kit.proofs import read_proof
from rt_framework.results import open_run
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.server import FaultServer, scattered
from rt_prove.statistics import mean_difference

PAIRS = [("kept", "original"), ("kept", "random")]


@pytest.fixture
def folder(rt_project):
    return rt_project.folder / "runs/rt"


@pytest.fixture
def trained(finished, fake):
    """A finished run, and trainings that cost nothing."""
    finished()
    return fake()


@pytest.fixture
def answers(folder):
    """Answers of an arm at its best learning rate, a list a seed, from the files of the units."""

    def read(arm):
        best = json.loads((folder / "proof.json").read_text())["best"][arm]
        files = [next((folder / "proof").glob(f"{arm}-{best:g}-{seed}-*.json")) for seed in (0, 1)]
        return [json.loads(file.read_text())["answers"]["plain"] for file in files]

    return read


def judged(folder):
    """The comparisons of answers in the proof, by arm and control."""
    found = json.loads((folder / "proof.json").read_text())["comparisons"]
    return {(one["arm"], one["control"]): one for one in found if one["answers"]}


def asked(teacher):
    """The pairs of answers about which a judge was asked, in the order shown, with repetitions."""
    return sorted(map(answers_of, teacher.requests))


def questions(answers, arms):
    """Each prompt with the two different answers to it, in both orders."""
    ours, theirs = (answers(arm) for arm in arms)
    for mine, other in zip(ours, theirs, strict=True):
        for place, (a, b) in enumerate(zip(mine, other, strict=True)):
            if a != b:
                yield from ((place, (a, b)), (place, (b, a)))


# --- what it says -------------------------------------------------------------------------------


def test_verdicts_follow_the_answers(trained, judge, answers, folder, rt_project):
    """Of the best learning rates, seed against seed: counted here from the files of the units once more."""
    teacher = ScriptedTeacher(honest)
    done = judge(teacher, generate=6)
    assert (done.code, done.err) == (0, ""), done.err
    found = judged(folder)
    assert set(found) == set(PAIRS)
    for arms, one in found.items():
        ours, theirs = (answers(arm) for arm in arms)
        seeds = [list(zip(*seed, strict=True)) for seed in zip(ours, theirs, strict=True)]
        table = np.array([[np.sign(quality_of(a) - quality_of(b)) for a, b in pairs] for pairs in seeds]).T
        wins, ties, losses = ((table == sign).sum() for sign in (1, 0, -1))
        counts = one["answers"]
        assert (counts["wins"], counts["ties"], counts["losses"], counts["prompts"]) == (wins, ties, losses, 6)
        flat = [pair for pairs in seeds for pair in pairs]
        assert counts["equal"] == sum(a == b for a, b in flat) and counts["left_out"] == 0
        unequal = [(a, b) for a, b in flat if len(a) != len(b) and quality_of(a) != quality_of(b)]
        longer = sum((len(a) > len(b)) == (quality_of(a) > quality_of(b)) for a, b in unequal)
        assert (counts["longer"], counts["unequal"]) == (longer, len(unequal))
        expected = mean_difference(table.astype(float))
        assert (one["value"], one["low"], one["high"]) == pytest.approx((expected.value, expected.low, expected.high))
        shares = " ".join(f"{100 * count / 12:.1f} %" for count in (wins, ties, losses))
        assert f"{' '.join(arms)} {shares} {longer} of {len(unequal)} 0" in done.words
    assert sum(one["answers"]["equal"] for one in found.values()) > 0, "the test has no equal answers"
    assert "a judge may prefer longer answers" in done.words


def test_the_outcome_says_what_it_is(trained, judge, folder):
    """The judge, and that higher is better; a loss says that lower is. It is no column of the means."""
    done = judge(ScriptedTeacher(honest))
    proof = json.loads((folder / "proof.json").read_text())
    loss, verdicts = proof["outcomes"]
    assert (loss["name"], loss["higher_is_better"]) == ("plain", False)
    assert (verdicts["name"], verdicts["higher_is_better"], verdicts["prompts"]) == ("answers to plain", True, 4)
    assert "verdicts of the judge scripted on two answers" in verdicts["unit"]
    assert set(proof["base"]) == {"plain"} == {name for cell in proof["cells"] for name in cell["means"]}
    assert "plain: mean token loss of the response, in nats; lower is better, 6 prompts, 2 seeds" in done.words
    assert "the control's; higher is better, 4 prompts, 2 seeds" in done.words


def test_both_orders_are_asked_and_equal_answers_cost_nothing(trained, judge, answers):
    """Each question once, whichever comparisons and seeds it belongs to."""
    teacher = ScriptedTeacher(honest)
    done = judge(teacher, generate=6)
    shown = asked(teacher)
    assert all(first != second for first, second in shown)
    assert shown == sorted((second, first) for first, second in shown)
    assert len(shown) == len({question for arms in PAIRS for question in questions(answers, arms)})
    equal = 24 - sum(len(list(questions(answers, arms))) for arms in PAIRS) // 2
    assert 0 < equal < 24
    assert f"pairs of answers: 24, of which {equal} are equal, and ties without a call" in done.words


def test_a_judge_that_likes_the_first_decides_nothing(trained, judge, folder):
    """All ties; so much alike is no interval of no width."""

    def first(_):
        return json.dumps({"reasons": "seen", "first": 9, "second": 2})

    assert judge(ScriptedTeacher(first)).code == 0
    for one in judged(folder).values():
        assert (one["value"], one["low"], one["high"], one["answers"]["ties"]) == (0, None, None, 8)


def test_models_that_answer_alike_are_not_judged(finished, fake, judge, folder):
    finished()
    fake(answer=lambda _: "quality 1")
    teacher = ScriptedTeacher(honest)
    done = judge(teacher)
    assert (done.code, teacher.requests) == (0, [])
    assert "no two answers differ: the judge was not asked" in done.words
    assert [one["answers"]["equal"] for one in judged(folder).values()] == [8, 8]
    assert "there is nothing to ask the judge" in judge(teacher, "--dry-run").words


def test_a_prompt_without_an_answer_is_left_out(finished, fake, judge, folder):
    """For a model that could not be asked; an empty answer is judged."""
    finished()
    fake(answer=lambda number: None if number % 5 == 0 else f"quality {number % 4}" if number % 3 else "")

    def marks(request):
        first, second = (1 + (quality_of(one) if one else 0) for one in answers_of(request))
        return json.dumps({"reasons": "seen", "first": first, "second": second})

    teacher = ScriptedTeacher(marks)
    assert judge(teacher, generate=6).code == 0
    assert any("" in pair for pair in asked(teacher))
    counts = [one["answers"] for one in judged(folder).values()]
    assert sum(one["left_out"] for one in counts) > 0
    for one in counts:
        assert one["prompts"] + one["left_out"] == 6
        assert one["wins"] + one["ties"] + one["losses"] == 2 * one["prompts"]


def test_one_seed_gives_no_interval(trained, judge, folder):
    assert judge(ScriptedTeacher(honest), "--seeds", 1).code == 0
    assert {(one["low"], one["smallest"]) for one in judged(folder).values()} == {(None, None)}


def test_all_rewrites_are_judged_too_and_each_pair_once(trained, judge, folder):
    """In every held-out set."""
    arms = ("kept", "all-rewrites", "original")
    assert judge(ScriptedTeacher(honest), "--arms", ",".join(arms)).code == 0
    assert set(judged(folder)) == set(combinations(arms, 2))


# --- answers that are paid for ------------------------------------------------------------------


def test_answers_are_paid_for_once(trained, judge, folder):
    """The same command again asks nothing, trains nothing and comes to the same proof."""
    first, again = (ScriptedTeacher(honest) for _ in range(2))
    assert judge(first).code == 0
    proof, count = (folder / "proof.json").read_bytes(), trained.count
    done = judge(again)
    assert (done.code, again.requests, trained.count) == (0, [], count)
    assert (folder / "proof.json").read_bytes() == proof
    with open_run(folder / "proof/judge") as run:
        assert [(bill.reflection, bill.requests) for bill in run.cost.bills] == [("judge", len(first.requests))]


def test_a_budget_is_kept_and_a_larger_one_goes_on(trained, judge, folder):
    """With exit code 6 where it ends; what is judged stays, and nothing is asked twice."""
    whole, teacher = ScriptedTeacher(honest), Priced(honest)
    assert judge(whole, "--run-dir", "elsewhere").code == 0
    (folder / "proof.json").unlink()
    assert "budget" in judge(teacher, "--budget-usd", "0.000008").error(6)
    assert not judged(folder), "the proof has the losses alone"
    asked_before = len(teacher.requests)
    assert 0 < asked_before < len(whole.requests)
    assert judge(teacher, "--budget-usd", "1").code == 0
    assert asked(teacher) == asked(whole)
    unpriced = judge(ScriptedTeacher(honest), "--run-dir", "x", "--budget-usd", "1")
    assert "the price of teacher" in unpriced.error()


def test_a_judge_that_is_stopped_goes_on(trained, judge, folder):
    """After an error that ends its job, the same command asks for what is missing, and comes to the same proof."""
    whole = ScriptedTeacher(honest)
    assert judge(whole, "--run-dir", "elsewhere").code == 0
    proof = (folder / "proof.json").read_bytes()
    (folder / "proof.json").unlink()

    def breaking(request):
        if len(broken.requests) > 3:
            raise TeacherError("quota", "no credit")
        return honest(request)

    broken, again = ScriptedTeacher(breaking), ScriptedTeacher(honest)
    assert "no credit" in judge(broken, "--concurrency", 1).error(3)
    assert not judged(folder), "the proof has the losses alone"
    assert judge(again).code == 0
    assert len(again.requests) == len(whole.requests) - 3
    assert (folder / "proof.json").read_bytes() == proof


def test_what_met_errors_is_left_out_and_asked_again(trained, judge, folder):
    """The command ends with 1 and a proof of what there is."""

    def failing(request):
        if "more" in answers_of(request)[0]:
            raise TeacherError("bad_request", "no")
        return honest(request)

    done = judge(ScriptedTeacher(failing), generate=6)
    assert done.code == 1
    assert "of them met errors; run again" in done.words and "(bad_request " in done.words
    some = judged(folder)
    assert sum(one["answers"]["left_out"] for one in some.values()) > 0
    again = ScriptedTeacher(honest)
    assert judge(again, generate=6).code == 0
    assert all("more" in first for first, _ in asked(again)) and again.requests
    assert {one["answers"]["left_out"] for one in judged(folder).values()} == {0}


def test_a_provider_that_refuses_half_is_paid_once(trained, prove, judge, folder, monkeypatch):
    """Counted by its server: the same command again asks only for what was refused."""
    whole = ScriptedTeacher(honest)
    assert judge(whole, "--run-dir", "elsewhere").code == 0
    verdicts = [one["answers"] for one in judged(folder).values()]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    refusing = [scattered(2, 0.5, ["bad_request"])]

    def answer(body):
        return marked(answers_in(body["messages"][1]["content"]))

    with FaultServer(answer, lambda number, body: refusing[0](number, body) if refusing else None) as server:
        options = ("--judge", "litellm:openai/judge", "--judge-api-base", server.url, "--judge-structured", "true")
        options = (*SMALL, "--generate", 4, *options, "--judge-input-price", 1, "--judge-output-price", 2)
        assert prove(*options, "--budget-usd", 1).code == 1
        some = server.billed
        assert 0 < some < len(whole.requests)
        refusing.clear()
        done = prove(*options, "--budget-usd", 1)
        assert (done.code, done.err) == (0, "")
        assert server.billed == len(whole.requests) == some + int(re.search(r"(\d+) teacher calls sent", done.words)[1])
    assert [one["answers"] for one in judged(folder).values()] == verdicts


def test_a_judge_without_marks_leaves_no_comparison(trained, judge, folder):
    """Its chatter is no error of the command, and the losses are there."""
    done = judge(ScriptedTeacher(lambda _: "Both are nice."))
    assert done.code == 0
    assert "kept against original: no prompt of plain has a verdict for every seed" in done.words
    assert judged(folder) == {}
    with open_run(folder) as run:
        assert [one.name for one in read_proof(folder, run.identity).measured] == ["plain"]


def test_more_seeds_need_another_directory_and_no_answer_twice(trained, judge, folder):
    """As for 'rt compare': the answers of the earlier directory are used."""
    first, more, whole = (ScriptedTeacher(honest) for _ in range(3))
    assert judge(first).code == 0
    refused = judge(more, "--seeds", 3).error()
    assert "proof/judge was started with other settings; use another --run-dir" in refused
    assert judge(whole, "--seeds", 3, "--run-dir", "whole").code == 0
    assert judge(more, "--seeds", 3, "--run-dir", "more", "--answers", "runs/rt/proof/judge").code == 0
    assert len(more.requests) == len(whole.requests) - len(first.requests) > 0


# --- a dry run ----------------------------------------------------------------------------------


def test_a_dry_run_before_the_training_counts_the_calls(finished, judge, folder):
    """Of real steps of the small model; nothing is asked and nothing kept."""
    finished()
    teacher = ScriptedTeacher(honest)
    done = judge(teacher, "--dry-run", "--max-tokens", 4)
    assert (done.code, teacher.requests) == (0, []), done.err
    assert "held out: plain: 6 prompts; 4 different ones are answered" in done.words
    assert "s an answer of the model without training" in done.words
    assert "the judge: 32 calls, for prompts × seeds × comparisons × orders: 4 × 2 × 2 × 2" in done.words
    assert "Their cost is quoted when all units are finished" in done.words
    assert not (folder / "proof").exists()


def test_a_dry_run_after_the_training_is_a_quote(trained, prove, judge, folder):
    """It trains nothing, asks nothing, and names as many calls as are then made."""
    teacher = Priced(honest)
    assert prove(*SMALL, "--generate", 4).code == 0
    count = trained.count
    done = judge(teacher, "--dry-run")
    assert (done.code, teacher.requests, trained.count) == (0, [], count)
    assert "13 units, of which 13 are finished" in done.words and "nothing was sent or written" in done.words
    assert not (folder / "proof/judge").exists()
    assert judge(teacher).code == 0
    assert f"calls {len(teacher.requests)} {2 * len(teacher.requests)} " in done.words
    assert "calls 0 0 " in judge(teacher, "--dry-run").words


# --- refusals and shares ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judge", "held"], "--judge compares answers: let the trained models answer with --generate N"),
        (["--max-tokens", 9], "--max-tokens can only be used with --generate"),
        (["--generate", 0], "'--generate': 0 is not in the range x>=1"),
        (["--generate", 2, "--budget-usd", 1], "can only be used with --judge"),
        (["--generate", 2, "--run-dir", "x"], "can only be used with --judge"),
        (["--generate", 2, "--answers", "x"], "can only be used with --judge"),
        (["--generate", 2, "--moved"], "can only be used with --judge"),
        (["--generate", 2, "--judge", "nobody"], "nobody"),
        (["--generate", 2, "--judge", "{litellm: {model: x/y, api_key: abc}}"], "keys come only from the environment"),
        (["--generate", 2, "--judge", "held", "--run-dir", "data.json"], "data.json"),
        (["--generate", 2, "--judge", "held", "--held-out", "answers to plain=held.json"], "give another one"),
    ],
)
def test_wrong_options_are_one_line_before_any_training(arguments, message, trained, prove, monkeypatch, folder):
    monkeypatch.setattr("prove_parts.HELD", [ScriptedTeacher(honest)])
    done = prove(*arguments)
    assert done.code in (2, 5) and message in done.err, done.err
    assert "Traceback" not in done.err and trained.count == 0 and not (folder / "proof").exists()


def test_shares_ask_no_judge(trained, judge):
    """Only the command that collects them does."""
    teacher = ScriptedTeacher(honest)
    assert "of 13 units are finished" in judge(teacher, "--unit", "1/2").out
    assert teacher.requests == []
    judge(teacher, "--unit", "2/2")
    assert teacher.requests == []
    assert judge(teacher).code == 0 and teacher.requests

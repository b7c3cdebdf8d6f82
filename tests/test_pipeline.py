"""The run: every sample reaches one end, decisions are the published procedure's, nothing is done twice."""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rt_framework import hookimpl
from rt_framework.errors import ConfigError, DataError, FatalTeacherError, PluginError, TeacherError
from rt_framework.events import Progress
from rt_framework.export import export_file
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Reply
from rt_framework.pipeline import barrier, context
from rt_framework.plugin.host import Host
from rt_framework.rundir.summary import summarise
from rt_framework.spans import SpanLoss
from rt_framework.terminal.console import summary_tables
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.run_helpers import GATES, SELECTIVE, attempts, go, job, outputs, pair_of, row, rows, side

WHOLE = [*SELECTIVE, *GATES]


def scripted(seed: int):
    """Answers drawn by seed and request: good ones, and each way in which an answer is of no use."""

    def answer(request):
        draw = random.Random(f"{seed} {request.reflection} {request.pair_hash} {request.index}")
        good = json.loads(rewriting(request))
        # So that the student's choices differ from seed to seed.
        good["response"] += f" {draw.random()}"
        kind = draw.choice(["good"] * 4 + ["junk", "empty", "cut", "half", "refused", "error"])
        if kind == "error":
            raise TeacherError("refused", "content policy")
        text = {
            "junk": "Sure! Here is the answer.",
            "empty": "",
            "half": json.dumps({"critique": "x", "instruction": "y"}),
            "refused": "I'm sorry, but I cannot assist with that.",
        }.get(kind, json.dumps(good))
        return Reply(text, "length" if kind == "cut" else "stop")

    return answer


def decided(run_dir: Path):
    """Return the outcome, version, reason and decisions of each row, without fields that depend on the way."""
    keep = ("row", "outcome", "kept", "reason", "decisions")
    return [{key: line[key] for key in keep} for line in side(run_dir)]


def accounted(summary, run_dir: Path, count: int):
    """Every row has one end, and the files agree with the counts."""
    lines = side(run_dir)
    assert [line["row"] for line in lines] == list(range(count))
    assert sum(summary.outcomes.values()) == summary.total == count
    told = {name: sum(line["outcome"] == name for line in lines) for name in summary.outcomes}
    assert told == dict(summary.outcomes)
    kept = json.loads((run_dir / "kept.json").read_text())
    dropped = json.loads((run_dir / "dropped.json").read_text())
    assert len(kept) == told["rewritten"] + told["original"]
    assert len(kept) + len(dropped) == count
    return lines


# --- the method -------------------------------------------------------------------------------


@settings(max_examples=12)
@given(st.integers(0, 10**9), st.sampled_from(["selective-rt", "chat"]), st.integers(1, 3))
def test_the_lazy_and_the_exhaustive_way_decide_alike(seed, preset, answers):
    """On the same answers, usable or not: the same versions kept, the same outcomes and reasons, the same data set.

    Lazy asks exactly two first questions a sample; exhaustive asks about versions that were not kept, too.
    """
    folder = Path(tempfile.mkdtemp())
    found = {}
    try:
        for exhaustive in (False, True):
            config = job(
                folder,
                rows(5),
                {"stages": WHOLE, "exhaustive": exhaustive},
                scoring={"preset": preset},
                limits={"answers": answers},
            )
            teacher = ScriptedTeacher(scripted(seed))
            run_dir = folder / str(exhaustive)
            accounted(go(config, run_dir, teacher), run_dir, 5)
            first = [request for request in teacher.requests if request.index == 0]
            kept = (run_dir / "kept.json").read_bytes()
            found[exhaustive] = (decided(run_dir), kept, len(first))
        assert found[True][:2] == found[False][:2]
        assert found[False][2] == 10
        assert 10 <= found[True][2] <= 15
    finally:
        shutil.rmtree(folder)


def test_the_exhaustive_way_has_four_versions_and_three_calls_a_sample(tmp_path):
    """As the published script: every version is reflected on and scored by every metric."""
    teacher = ScriptedTeacher(rewriting)
    go(job(tmp_path, rows(3), {"stages": SELECTIVE, "exhaustive": True}), tmp_path / "run", teacher)
    assert len(teacher.requests) == 9
    for line in side(tmp_path / "run"):
        names = {"original", "instruction", "response", "instruction.response"}
        assert set(line["scores"]) == names
        assert all(set(scores) == {"ifd", "r-ifd"} for scores in line["scores"].values())


def test_the_lazy_way_makes_two_first_attempts_a_sample_and_scores_what_it_needs(tmp_path):
    """Retries are counted apart; a version that lost is neither reflected on nor scored further."""
    broken = {0}

    def answer(request):
        if request.index in broken:
            return "of no use"
        return rewriting(request)

    teacher = ScriptedTeacher(answer)
    summary = go(job(tmp_path, rows(4), SELECTIVE), tmp_path / "run", teacher)
    assert sum(request.index == 0 for request in teacher.requests) == 8
    assert sum(request.index == 1 for request in teacher.requests) == 8
    assert summary.progress.teacher.calls == 16
    for line in side(tmp_path / "run"):
        first, second = line["decisions"]
        assert set(line["scores"]) == {*first["candidates"], *second["candidates"]}
        (lost,) = set(first["candidates"]) - {first["kept"]}
        assert set(line["scores"][lost]) == {"ifd"}


def test_choices_are_strict_and_in_the_right_direction(tmp_path):
    """Step 2 keeps the higher IFD, step 4 the lower r-IFD; the reason has both numbers."""
    go(job(tmp_path, rows(12), SELECTIVE), tmp_path / "run")
    won = {"original": 0, "instruction": 0}
    for line in side(tmp_path / "run"):
        first, second = line["decisions"]
        assert first["stage"] == "choose-highest"
        score = {name: line["scores"][name]["ifd"] for name in first["candidates"]}
        assert score[first["kept"]] == max(score.values())
        assert second["candidates"][0] == first["kept"]
        score = {name: line["scores"][name]["r-ifd"] for name in second["candidates"]}
        assert score[second["kept"]] == min(score.values())
        assert line["kept"] == second["kept"]
        won[first["kept"]] += 1
    assert all(won.values())


def test_a_tie_keeps_what_is_there(tmp_path):
    """Equal losses everywhere: no rewrite is strictly better, every sample stays as it was."""

    class Even(FakeStudent):
        fingerprint = "even"

        def score(self, batch):
            from attrs import evolve

            return [evolve(loss, nll=float(loss.tokens)) for loss in super().score(batch)]

    summary = go(job(tmp_path, rows(3), SELECTIVE), tmp_path / "run", student=Even())
    assert summary.outcomes["original"] == 3
    assert json.loads((tmp_path / "run/kept.json").read_text()) == rows(3)


def test_gates_drop_with_a_reason_and_keep_the_text(tmp_path):
    """A dropped sample is written with the version that did not pass; reasons are counted."""
    summary = go(job(tmp_path, rows(12), WHOLE), tmp_path / "run")
    lines = accounted(summary, tmp_path / "run", 12)
    dropped = [line for line in lines if line["outcome"] == "dropped"]
    assert 0 < len(dropped) < 12
    assert {line["reason"] for line in dropped} <= {"gate ifd: not < 1", "gate r-ifd: not < 1"}
    assert summary.drops == {
        reason: sum(line["reason"] == reason for line in dropped) for reason in {line["reason"] for line in dropped}
    }
    for line in lines:
        version = line["kept"] or line["decisions"][-1]["kept"]
        passed = all(line["scores"][version].get(metric, 9) < 1 for metric in ("ifd", "r-ifd"))
        assert passed is (line["outcome"] != "dropped")
        assert (line["kept"] is None) is (line["outcome"] == "dropped")


@pytest.mark.parametrize("metric", ["ifd", "r-ifd"])
@pytest.mark.parametrize("parts", [{"output": " "}, {"output": "<think>Hm.</think>"}, {"instruction": "", "input": ""}])
def test_a_sample_without_a_score_passes_no_gate(parts, metric, tmp_path):
    """No response, or no instruction: in both directions the reason names the metric and the status."""
    gate = {"gate": {metric: {"above": 0}}}
    summary = go(job(tmp_path, [row(0), row(1, **parts)], [gate], teacher=None), tmp_path / "run")
    assert summary.outcomes == {"rewritten": 0, "original": 1, "dropped": 1, "failed": 0}
    assert side(tmp_path / "run")[1]["reason"] == f"gate {metric}: not scored (empty)"
    score = side(tmp_path / "run")[1]["scores"]["original"][metric]
    assert score["status"] == "empty" and score["reason"].endswith(("is empty", "is empty, reasoning aside"))


def test_a_valid_rewrite_beats_an_original_without_a_score(tmp_path):
    """An empty response has no IFD; its rewrite has one."""
    data = [row(0, output="")]
    summary = go(job(tmp_path, data, SELECTIVE[:2], scoring={"preset": "superfiltering"}), tmp_path / "run")
    (line,) = side(tmp_path / "run")
    value = line["scores"]["instruction"]["ifd"]
    assert (line["kept"] == "instruction") is (value < 1)
    assert summary.failures == {}


@pytest.mark.parametrize(("policy", "outcome"), [("drop", "dropped"), ("keep", "original")])
def test_unimproved_responses_are_dropped_or_kept_as_the_policy_says(policy, outcome, tmp_path):
    """No usable answer: the original goes on, or the paper's policy drops it."""
    teacher = ScriptedTeacher(lambda request: "of no use")
    summary = go(job(tmp_path, rows(3), [*SELECTIVE, {"unimproved": policy}]), tmp_path / "run", teacher)
    assert summary.outcomes[outcome] == 3
    assert summary.failures == {"format": 6}
    reasons = {line["reason"] for line in side(tmp_path / "run")}
    assert reasons == ({"response not improved"} if policy == "drop" else {None})


# --- other pipelines --------------------------------------------------------------------------


def test_v1_takes_every_rewrite(tmp_path):
    """Reflection-Tuning V1: both reflections, no selection, no student."""
    summary = go(job(tmp_path, rows(4), "reflection-v1", student=None), tmp_path / "run")
    assert summary.versions == {"instruction.response": 4}
    kept = json.loads((tmp_path / "run/kept.json").read_text())
    assert all(one["output"].startswith("The answer to response") for one in kept)
    assert all(one["input"] == "" for one in kept)
    assert [one["topic"] for one in kept] == [one["topic"] for one in rows(4)]


@pytest.mark.parametrize(
    ("pipeline", "preset", "metric"), [("cherry", "cherry", "ifd-loss"), ("superfiltering", "superfiltering", "ifd")]
)
def test_the_best_five_percent(pipeline, preset, metric, tmp_path):
    """Cherry and Superfiltering: the highest valid scores, as many as five percent, rounded up."""
    config = job(tmp_path, rows(60), pipeline, teacher=None, scoring={"preset": preset})
    accounted(go(config, tmp_path / "run"), tmp_path / "run", 60)
    lines = side(tmp_path / "run")
    valid = sorted((line["scores"]["original"][metric] for line in lines), reverse=True)
    valid = [value for value in valid if value < 1]
    chosen = [line["scores"]["original"][metric] for line in lines if line["kept"]]
    assert sorted(chosen, reverse=True) == valid[: -(-len(valid) // 20)]
    assert all(line["reason"].startswith("not selected: ") for line in lines if not line["kept"])


def test_the_pipeline_by_name_is_the_one_written_out(tmp_path):
    """`selective-rt` is the five stages of the paper."""
    for name, pipeline in (("a", "selective-rt"), ("b", WHOLE)):
        go(job(tmp_path, rows(6), pipeline), tmp_path / name)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


def test_measuring_changes_nothing_and_gives_before_and_after(tmp_path):
    """The report compares the original and the kept version over the same samples."""
    go(job(tmp_path, rows(6), SELECTIVE), tmp_path / "plain")
    summary = go(job(tmp_path, rows(6), [*SELECTIVE, {"measure": ["ifd", "r-ifd"]}]), tmp_path / "measured")
    assert (tmp_path / "plain/kept.json").read_bytes() == (tmp_path / "measured/kept.json").read_bytes()
    lines = side(tmp_path / "measured")
    for shift in summary.shifts:
        before = [line["scores"]["original"][shift.metric] for line in lines]
        after = [line["scores"][line["kept"]][shift.metric] for line in lines]
        assert shift.samples == 6
        assert (shift.before, shift.after) == pytest.approx((sum(before) / 6, sum(after) / 6))


@pytest.mark.parametrize(
    ("selector", "kept"),
    [
        ({"top": {"metric": "ifd", "count": 2}}, 2),
        ({"random": {"fraction": 0.5, "seed": 3}}, 4),
        ({"length-matched": {"metric": "ifd", "count": 2}}, 2),
        ("first-half", 4),
    ],
)
def test_a_barrier_sees_all_samples_that_reach_it(selector, kept, tmp_path):
    """Stages before and after it; what was dropped before is not counted, what is left goes on."""
    pipeline = [{"odd": "drop"}, {"reflect": "response"}, {"select": selector}, {"choose": "newest"}]
    data = rows(9)
    data[4]["instruction"] += " BAD"
    summary = go(job(tmp_path, data, pipeline), tmp_path / "run")
    lines = accounted(summary, tmp_path / "run", 9)
    assert lines[4]["reason"] == "too bad"
    assert summary.outcomes == {"rewritten": kept, "original": 0, "dropped": 9 - kept, "failed": 0}
    if selector == "first-half":
        assert [line["row"] for line in lines if line["kept"]] == [0, 1, 2, 3]


def test_two_barriers_in_a_row(tmp_path):
    """Each sees what the one before let through."""
    pipeline = [{"select": {"random": {"count": 6}}}, {"select": {"top": {"metric": "ifd", "count": 2}}}]
    summary = go(job(tmp_path, rows(10), pipeline, teacher=None), tmp_path / "run")
    accounted(summary, tmp_path / "run", 10)
    assert summary.outcomes["original"] == 2


def test_a_barrier_after_another_and_after_rewrites_keeps_the_whole_story(tmp_path):
    """Samples come back from a barrier with the same versions, scores, decisions and failures, in their order."""

    def answer(request):
        if request.pair_hash == pair_of(rows(6)[1]).hash:
            raise TeacherError("refused", "a lone surrogate: \ud800")
        return rewriting(request)

    everything = {"select": {"random": {"fraction": 1.0}}}
    with_barriers = [SELECTIVE[0], everything, everything, *SELECTIVE[1:], everything]
    found = []
    for name, pipeline in (("plain", SELECTIVE), ("barriers", with_barriers)):
        go(job(tmp_path, rows(6), pipeline), tmp_path / name, ScriptedTeacher(answer))
        lines = side(tmp_path / name)
        for line in lines:
            line["decisions"] = [one for one in line["decisions"] if not one["stage"].startswith("select")]
            line["failures"] = [one["reason"] for one in line["failures"]]
        found.append((lines, (tmp_path / name / "kept.json").read_bytes()))
    assert found[0] == found[1]


def test_a_data_set_stage_may_ask_for_all_scores_at_once(tmp_path, monkeypatch):
    """Each was computed once when its sample reached the stage, beside the probe; the side file has them."""
    asked = []

    class Watching(FakeStudent):
        def encode(self, spans):
            asked.append(len(spans))
            return super().encode(spans)

    for module in (barrier, context):
        monkeypatch.setattr(module, "WAVE", 4)
    config = job(tmp_path, rows(15), [{"odd-set": "score"}], teacher=None)
    go(config, tmp_path / "run", student=Watching())
    assert sum(asked) == 30 + 2
    assert all(isinstance(line["scores"]["original"]["ifd"], float) for line in side(tmp_path / "run"))


def test_a_run_that_stops_inside_a_barrier_goes_on(tmp_path, monkeypatch):
    """Some samples have the stage's word and the others wait, which is shown; again, all is as if nothing had been."""
    config = job(tmp_path, rows(9), [*SELECTIVE[:2], {"odd-set": "late"}, *SELECTIVE[2:]])
    accounted(go(config, tmp_path / "run"), tmp_path / "run", 9)
    before = outputs(tmp_path / "run")
    for module in (barrier, context):
        monkeypatch.setattr(module, "WAVE", 2)
    monkeypatch.setenv("RT_TEST_BREAK", "1")
    with pytest.raises(PluginError, match=r"stage '3\. odd-set late' failed: RuntimeError: the barrier broke"):
        go(config, tmp_path / "run")
    ledger = Ledger.reading(tmp_path / "run/ledger.sqlite")
    summary = summarise(ledger, Progress())
    ledger.close()
    assert summary.outcomes == {"rewritten": 0, "original": 0, "dropped": 1, "failed": 0}
    assert (summary.total, summary.waiting) == (1, 8)
    assert summary_tables(summary)[0].columns[2]._cells[-1].plain == "8"
    with pytest.raises(DataError, match="row 0 is not at its end; finish the run first"):
        export_file(Host(only=[]), tmp_path / "run", tmp_path / "out.json")
    monkeypatch.delenv("RT_TEST_BREAK")
    summary = go(config, tmp_path / "run", ScriptedTeacher(lambda request: pytest.fail("asked again")))
    assert (summary.outcomes["dropped"], summary.waiting) == (4, 0)
    assert outputs(tmp_path / "run") == before


def test_conversations_go_through_the_whole_job(tmp_path):
    """The last turn is rewritten, the earlier ones are kept, every turn is scored."""
    data = [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"Name colour {number}."},
                {"role": "assistant", "content": "Blue is one of many."},
                {"role": "user", "content": "And a fruit of that colour."},
                {"role": "assistant", "content": "A plum, or some grapes."},
            ]
        }
        for number in range(3)
    ]
    summary = go(job(tmp_path, data, "reflection-v1", student=None), tmp_path / "run")
    assert summary.versions == {"instruction.response": 3}
    for old, new in zip(data, json.loads((tmp_path / "run/kept.json").read_text()), strict=True):
        assert new["messages"][:3] == old["messages"][:3]
        assert new["messages"][3]["content"].startswith("Explain the matter")
    config = job(tmp_path, data, [{"measure": ["ifd"]}], teacher=None, scoring={"preset": "chat"})
    go(config, tmp_path / "scored")
    assert all(isinstance(line["scores"]["original"]["ifd"], float) for line in side(tmp_path / "scored"))


# --- what goes wrong --------------------------------------------------------------------------


def test_a_sample_that_a_plugin_breaks_on_fails_alone(tmp_path):
    """The run goes on; the sample is accounted for with stage, type and message, and written with the dropped ones."""
    data = rows(6)
    data[2]["instruction"] += " BAD"
    told = []

    class Watching:
        @hookimpl
        def rt_sample_failed(self, event):
            told.append((event.row, event.stage, event.kind, event.fatal))

    pipeline = [*SELECTIVE[:2], {"odd": "raise"}]
    summary = go(job(tmp_path, data, pipeline), tmp_path / "run", watchers=[Watching()])
    lines = accounted(summary, tmp_path / "run", 6)
    assert summary.outcomes["failed"] == 1
    assert lines[2]["outcome"] == "failed"
    assert re.fullmatch(r"RuntimeError: the stage broke \(at \S*fakes_plugin\.py:\d+\)", lines[2]["reason"])
    assert told == [(2, "odd", "plugin_bug", True)]
    assert summary.failures == {"plugin_bug": 1}
    dropped = json.loads((tmp_path / "run/dropped.json").read_text())
    assert len(dropped) == 1


def test_a_stage_that_keeps_a_version_that_is_not_there_fails_the_sample(tmp_path):
    """It would be found only when the result is written, after everything was paid for."""
    data = [row(0), row(1, instruction="BAD")]
    summary = go(job(tmp_path, data, [{"odd": "keep"}], teacher=None, student=None), tmp_path / "run")
    lines = accounted(summary, tmp_path / "run", 2)
    assert lines[1]["reason"] == "ValueError: version 'nowhere' was kept, but the sample has no version of that name"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "RuntimeError: the barrier broke"),
        ("lose", "and returned sample"),
        ("turn", "and returned sample"),
    ],
)
def test_a_barrier_that_fails_stops_the_run_and_is_named(how, message, tmp_path):
    """No sample can go on without its word; one that loses or mixes up samples is not believed."""
    config = job(tmp_path, rows(4), [{"odd-set": how}], teacher=None, student=None)
    with pytest.raises(PluginError, match=rf"stage '1\. odd-set {how}' failed: .*{message}"):
        go(config, tmp_path / "run")


def test_a_teacher_s_failure_is_the_sample_s_and_no_more(tmp_path):
    """The sample goes on with the version it has; failures are counted by kind and are in the side file."""

    def answer(request):
        if request.pair_hash == pair_of(rows(4)[1]).hash:
            raise TeacherError("refused", "content policy")
        return rewriting(request)

    summary = go(job(tmp_path, rows(4), SELECTIVE), tmp_path / "run", ScriptedTeacher(answer))
    lines = accounted(summary, tmp_path / "run", 4)
    assert summary.outcomes["failed"] == 0
    assert summary.failures == {"refused": 2}
    assert lines[1]["outcome"] == "original"
    assert [failure["stage"] for failure in lines[1]["failures"]] == ["reflect-instruction", "reflect-response"]


def test_a_fatal_error_stops_and_what_was_paid_for_stays(tmp_path):
    """Running again with a good key asks only what is missing."""
    asked = []

    def answer(request):
        if len(asked) == 5:
            raise TeacherError("quota", "no credit left")
        asked.append(request)
        return rewriting(request)

    config = job(tmp_path, rows(8), SELECTIVE, limits={"concurrency": 1})
    with pytest.raises(FatalTeacherError, match="no credit left"):
        go(config, tmp_path / "run", ScriptedTeacher(answer))
    teacher = ScriptedTeacher(rewriting)
    summary = go(config, tmp_path / "run", teacher)
    accounted(summary, tmp_path / "run", 8)
    assert len(teacher.requests) == 16 - 5
    assert all(request not in asked for request in teacher.requests)


def test_samples_under_way_are_bounded(tmp_path):
    """Never more at once than `in_flight`, for memory's sake."""
    import asyncio

    now, most = 0, 0

    class Counting(ScriptedTeacher):
        async def complete(self, request):
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.005)
            now -= 1
            return await super().complete(request)

    config = job(tmp_path, rows(12), SELECTIVE, limits={"in_flight": 3})
    go(config, tmp_path / "run", Counting(rewriting))
    assert most == 3


# --- again ------------------------------------------------------------------------------------


def test_running_again_does_nothing_and_gives_the_same_bytes(tmp_path):
    """0 calls, 0 forward passes, the same data set and side file."""
    config = job(tmp_path, rows(6), WHOLE)
    go(config, tmp_path / "run")
    before = outputs(tmp_path / "run")
    student = FakeStudent()
    summary = go(config, tmp_path / "run", ScriptedTeacher(lambda request: pytest.fail("asked again")), student)
    assert outputs(tmp_path / "run") == before
    assert (summary.progress.teacher.calls, summary.progress.student.tokens, student.forward_passes) == (0, 0, 0)
    assert summary.progress.teacher.reused == 12
    assert summary.progress.student.reused > 0


@pytest.mark.parametrize(
    "pipeline",
    [
        [*SELECTIVE, {"gate": {"ifd": {"below": 0.5}}}],
        [SELECTIVE[0], {"choose": {"lowest": "ifd"}}],
        [*SELECTIVE[:3], {"choose": {"lowest": "r-ifd-loss"}}, {"select": {"top": {"metric": "ifd", "count": 2}}}],
        [{"select": {"top": {"metric": "ifd-loss", "count": 3}}}],
        [*WHOLE, {"measure": ["ppl", "loss", "words"]}],
    ],
)
def test_another_selector_gate_or_metric_costs_nothing(pipeline, tmp_path):
    """On a finished run, exhaustive so that every rewrite is there: 0 calls and 0 forward passes."""
    everything = [*WHOLE, {"measure": ["ifd", "r-ifd", "ppl"]}]
    go(job(tmp_path, rows(6), {"stages": everything, "exhaustive": True}), tmp_path / "run")
    student = FakeStudent()
    silent = ScriptedTeacher(lambda request: pytest.fail("asked again"))
    summary = go(job(tmp_path, rows(6), pipeline, limits={"in_flight": 2}), tmp_path / "run", silent, student)
    assert (summary.progress.teacher.calls, student.forward_passes) == (0, 0)
    accounted(summary, tmp_path / "run", 6)
    fresh = go(job(tmp_path, rows(6), pipeline), tmp_path / "fresh")
    assert (fresh.outcomes, fresh.versions) == (summary.outcomes, summary.versions)
    assert outputs(tmp_path / "run") == outputs(tmp_path / "fresh")


# --- before anything is paid for --------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"teacher": None}, ConfigError, "stage '1. reflect instruction' asks a teacher, but the config has no"),
        ({"student": None}, ConfigError, "stage '2. choose highest ifd' reads ifd, but the config has no 'student:'"),
        (
            {"pipeline": [{"choose": {"highest": "idf"}}]},
            PluginError,
            "pipeline.0: unknown metric 'idf'. Did you mean 'ifd'",
        ),
        ({"pipeline": [{"reflect": "respons"}]}, PluginError, "unknown reflection 'respons'. Did you mean 'response'"),
        ({"pipeline": [{"reflekt": "response"}]}, PluginError, "unknown stage 'reflekt'. Did you mean 'reflect'"),
        ({"pipeline": [{"choose": {"top": "ifd"}}]}, ConfigError, "fraction"),
    ],
)
def test_what_is_wrong_shows_before_the_first_call(more, error, message, tmp_path):
    """A typing error in the last stage costs nothing."""
    teacher = ScriptedTeacher(lambda request: pytest.fail("asked"))
    with pytest.raises(error, match=message):
        go(job(tmp_path, rows(2), **({"pipeline": SELECTIVE} | more)), tmp_path / "run", teacher)


def test_a_bad_row_shows_before_the_first_call(tmp_path):
    """Even if it is the last one."""
    data = [*rows(3), {"instruction": 7, "input": "", "output": "x"}]
    teacher = ScriptedTeacher(lambda request: pytest.fail("asked"))
    with pytest.raises(DataError, match="row 3"):
        go(job(tmp_path, data, SELECTIVE), tmp_path / "run", teacher)


def test_every_step_of_a_run_is_told_to_reporters(tmp_path):
    """Start, stages, progress and end, in that order; one that raises is left out and the run goes on."""
    told = []

    class Watching:
        @hookimpl
        def rt_run_started(self, event):
            told.append("started")

        @hookimpl
        def rt_stage_started(self, event):
            told.append(event.stage)

        @hookimpl
        def rt_run_finished(self, event):
            told.append(f"finished {event.summary.total}")

    class Broken:
        @hookimpl
        def rt_stage_started(self, event):
            raise RuntimeError("broken")

    go(job(tmp_path, rows(3), SELECTIVE), tmp_path / "run", watchers=[Broken(), Watching()])
    stages = ["reflect-instruction", "choose-highest", "reflect-response", "choose-lowest"]
    assert told == ["started", *stages, "finished 3"]


def test_the_manifest_says_what_was_run(tmp_path):
    """Config, models, data and versions: enough to repeat it."""
    go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["frozen"]["student"] == "fake-student-1"
    assert manifest["frozen"]["teacher"] == "scripted"
    assert manifest["summary"]["total"] == 2
    assert manifest["versions"]["rt-framework"]
    assert attempts(tmp_path / "run") == {("answered", ""): 4}


def test_a_student_that_cannot_read_a_pair_is_refused_before_the_teacher_is_asked(tmp_path):
    """A tokenizer without a chat template under preset ``chat`` would leave every sample unscored, after paying."""

    class Mute(FakeStudent):
        def encode(self, spans):
            return [SpanLoss(None, 0, "no_template", "the tokenizer has no chat template") for _ in spans]

    teacher = ScriptedTeacher(rewriting)
    with pytest.raises(ConfigError, match="no chat template"):
        go(job(tmp_path, rows(3), SELECTIVE), tmp_path / "run", teacher, Mute())
    assert teacher.requests == []

"""A pilot pays for nothing twice, and its intervals hold the truth."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework.config.schema import Data
from rt_framework.data import Source, open_source
from rt_framework.data.source import Draw
from rt_framework.events import RunStarted, SampleFinished
from rt_framework.jobs.piloting import forecast, pilot
from rt_framework.jobs.stopwatch import Stopwatch
from rt_framework.kit.estimates import Estimate, Moments, _t, share
from rt_framework.ledger.ledger import Ledger
from rt_framework.ledger.samples import SampleHistory
from rt_framework.model import Reply, Sample, Usage, Version
from rt_framework.plugin.host import Host
from rt_framework.testing.fakes import FakeStudent, ScriptedTeacher, rewriting
from tests import fakes_plugin
from tests.helpers import CONFIG, Cli, json_lines
from tests.run_helpers import GATES, SELECTIVE, Priced, go, job, pair, request, rows, write_json


def try_out(config, run_dir, rows=10, seed=0, teacher=None, student=None):
    """A pilot with these objects as teacher and student; gives summary and forecast."""
    fakes_plugin.HELD["teacher"] = Priced() if teacher is None else teacher
    fakes_plugin.HELD["student"] = FakeStudent() if student is None else student
    host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
    return asyncio.run(pilot(host, config, run_dir, rows, seed))


def source(folder: Path, data: object) -> Source:
    path = write_json(folder / "rows.json", data)
    return open_source(Host(only=[]), Data(str(path)))


# --- which rows -------------------------------------------------------------------------------


def drawn(from_: Source) -> list[str]:
    return [sample.original.pair.instruction for sample in from_.samples()]


def test_a_draw_does_not_depend_on_the_order_of_the_rows(tmp_path):
    """It is as large as asked for, another seed draws others, and what is drawn comes in input order."""
    data = rows(200)
    whole = source(tmp_path, data)
    some = whole.drawing(30, seed=1)
    names = set(drawn(some))
    assert (some.count(), whole.count(), len(names)) == (30, 200, 30)
    assert [sample.row for sample in some.samples()] == sorted(sample.row for sample in some.samples())
    assert set(drawn(whole.drawing(30, seed=2))) != names
    assert some.facts() == whole.facts()
    random.Random(0).shuffle(data)
    assert set(drawn(source(tmp_path, data).drawing(30, seed=1))) == names


def test_a_smaller_draw_is_a_part_of_a_larger_one(tmp_path):
    """So a second, larger pilot goes on from the first; and asking for too many gives all."""
    whole = source(tmp_path, [*rows(20), *rows(20)])
    few, more = ({sample.id for sample in whole.drawing(n, 5).samples()} for n in (7, 15))
    assert few < more
    assert whole.drawing(1000, 5).count() == 40


def test_every_row_has_the_same_chance(tmp_path):
    """Over many seeds each of 20 rows is drawn about as often."""
    whole = source(tmp_path, rows(20))
    counts = dict.fromkeys(drawn(whole), 0)
    for seed in range(400):
        for name in drawn(whole.drawing(5, seed)):
            counts[name] += 1
    assert min(counts.values()) > 65 and max(counts.values()) < 135  # 100 each, of which 8.7 is one deviation


# --- nothing is paid twice --------------------------------------------------------------------


def test_the_whole_run_reuses_all_that_a_pilot_paid_for(tmp_path):
    """The teacher counts: no question twice; the student computes no loss twice; the data set is the same."""
    config = job(tmp_path, [*rows(30), *rows(5)], [*SELECTIVE, *GATES])
    teacher, student = Priced(), FakeStudent()
    summary, _ = try_out(config, tmp_path / "run", 10, seed=3, teacher=teacher, student=student)
    assert summary.total == 10
    paid, scored = len(teacher.requests), student.forward_spans
    assert 0 < paid <= 20

    go(config, tmp_path / "run", teacher, student)
    asked = [(one.reflection, one.pair_hash, one.index) for one in teacher.requests]
    assert len(asked) == len(set(asked)) == 60

    alone, other = Priced(), FakeStudent()
    go(config, tmp_path / "other", alone, other)
    assert student.forward_spans == other.forward_spans > scored
    assert len(alone.requests) == 60
    for name in ("kept.json", "dropped.json", "scores.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_pilot_leaves_the_outputs_of_the_whole_job_alone(tmp_path):
    """The outputs about the pilot's own rows are in a folder of their own."""
    config = job(tmp_path, rows(12), SELECTIVE)
    summary, _ = try_out(config, tmp_path / "run", 4)
    run_dir = tmp_path / "run"
    assert sorted(path.name for path in (run_dir / "pilot").iterdir()) == [
        ".rt-framework",
        "dropped.json",
        "forecast.json",
        "kept.json",
        "manifest.json",
        "scores.jsonl",
    ]
    assert not [name for name in ("kept.json", "dropped.json", "scores.jsonl") if (run_dir / name).exists()]
    assert len(json_lines(run_dir / "pilot" / "scores.jsonl")) == 4
    assert all(str(run_dir / "pilot") in file for file in summary.files)


def test_a_pilot_of_all_rows_is_the_whole_run(tmp_path):
    """Its outputs are the job's, and its numbers are counts."""
    config = job(tmp_path, [*rows(8), *rows(2)], [*SELECTIVE, *GATES])
    teacher = Priced()
    summary, found = try_out(config, tmp_path / "run", 10, teacher=teacher)
    assert (tmp_path / "run" / "kept.json").exists() and not (tmp_path / "run" / "pilot").exists()
    assert (found.rows, found.population) == (10, 10)
    assert found.cost == Estimate.exact(pytest.approx(teacher.paid))
    assert found.rewritten == Estimate.exact(summary.outcomes["rewritten"] / 10)
    kept = summary.outcomes["rewritten"] + summary.outcomes["original"]
    assert found.kept == Estimate.exact(kept / 10)


# --- what is said of all rows -----------------------------------------------------------------


def uneven(request):
    """Answers whose length depends on the pair: between 1 and 40 sentences."""
    extra = " And then some more of it." * (int(request.pair_hash[:4], 16) % 40)
    return rewriting(request).replace("is long.", f"is long.{extra}")


def test_the_forecast_holds_what_the_whole_run_costs(tmp_path):
    """The cost of all rows, duplicates asked once, lies in the interval; what is spent does not count twice."""
    config = job(tmp_path, [*rows(120), *rows(60)], [*SELECTIVE, *GATES])
    teacher = Priced(uneven)
    _, found = try_out(config, tmp_path / "run", 60, seed=1, teacher=teacher)
    in_pilot = teacher.paid
    assert found.cost.low < found.cost.value < found.cost.high
    assert found.cost.low >= in_pilot
    assert found.budget > found.cost.high
    summary = go(config, tmp_path / "run", teacher)
    assert found.cost.low <= teacher.paid <= found.cost.high
    assert found.rewritten.low <= summary.outcomes["rewritten"] / 180 <= found.rewritten.high
    kept = summary.outcomes["rewritten"] + summary.outcomes["original"]
    assert found.kept.low <= kept / 180 <= found.kept.high
    # A run with that budget comes to its end.
    whole = job(tmp_path, [*rows(120), *rows(60)], SELECTIVE, limits={"budget_usd": found.budget / 1e9})
    assert go(whole, tmp_path / "again", Priced(uneven)).total == 180


def test_a_row_that_stands_twice_is_paid_for_once(tmp_path):
    """Each row stands four times: the forecast is near the cost of a quarter of them, not of all."""
    config = job(tmp_path, rows(50) * 4, SELECTIVE)
    teacher = Priced()
    _, found = try_out(config, tmp_path / "run", 100, teacher=teacher)
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == 100
    assert found.cost.low <= teacher.paid <= found.cost.high < 2 * teacher.paid


def test_what_has_no_price_has_no_cost(tmp_path):
    """Zero dollars would be a lie."""
    _, found = try_out(job(tmp_path, rows(9), SELECTIVE), tmp_path / "run", 4, teacher=ScriptedTeacher(rewriting))
    assert (found.cost, found.budget) == (None, None)
    assert found.rewritten.value in (0, 0.25, 0.5, 0.75, 1)


def test_time_is_left_open_where_it_says_nothing(tmp_path):
    """After answers from the ledger, and where a barrier finishes all samples at once."""
    config = job(tmp_path, rows(20), SELECTIVE)
    assert try_out(config, tmp_path / "run")[1].seconds.value > 0
    assert try_out(config, tmp_path / "run")[1].seconds is None
    selecting = [*SELECTIVE, {"select": {"top": {"metric": "ifd", "fraction": 0.5}}}]
    assert try_out(job(tmp_path, rows(20), selecting), tmp_path / "other")[1].seconds is None


def test_the_pace_is_that_of_the_gaps(monkeypatch):
    """The time to the first sample is kept apart."""
    now = [100.0]
    monkeypatch.setattr("rt_framework.jobs.stopwatch.time.monotonic", lambda: now[0])
    pace = Stopwatch()
    now[0] = 110
    pace.rt_run_started(RunStarted("run", (), 4))
    for moment in (150, 151, 153, 156):
        now[0] = moment
        pace.rt_sample_finished(SampleFinished("id", 0, "original"))
    assert (pace.first, pace.gaps.count, pace.gaps.mean) == (40, 3, 2)
    high = 2 + 4.3027 / math.sqrt(3)
    assert pace.gaps.interval().high == pytest.approx(high, rel=0.01)
    steady, begun = pace.seconds(100, in_flight=3), pace.seconds(100, in_flight=4)
    assert (steady.value, steady.low, steady.high) == (200, 0, pytest.approx(100 * high, rel=0.01))
    # All four were begun at once: the upper end counts the 40 seconds too.
    assert (begun.value, begun.high) == (200, 46 / 4 * 100)


# --- the intervals ----------------------------------------------------------------------------

POPULATION, COUNT, SEEDS = 400, 60, 200


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A ledger of a whole job: skewed costs, a third of the samples rewritten, a tenth dropped."""
    draw = random.Random(7)
    with Ledger.writing(tmp_path_factory.mktemp("synthetic") / "ledger.sqlite") as ledger:

        async def one(number: int) -> SampleHistory:
            old = pair(number)
            cost = round(draw.lognormvariate(13, 0.6))
            sample = Sample(f"{old.hash[:16]}-0", number, (Version("original", old),))
            outcome = draw.choices(("rewritten", "original", "dropped"), (3, 6, 1))[0]
            history = SampleHistory(sample, outcome, None)
            asked = evolve(request(number), pair_hash=old.hash)
            attempt = await ledger.attempts.intend(old.hash, "teacher", asked, 2 * cost)
            await ledger.attempts.answered(attempt, Reply("", usage=Usage(1, 1), nano_dollars=cost))
            await ledger.samples.record(history)
            return history

        async def all_() -> list[SampleHistory]:
            return list(await asyncio.gather(*(one(number) for number in range(POPULATION))))

        histories = asyncio.run(all_())
        yield ledger, histories


def test_intervals_hold_the_truth(synthetic):
    """Cost and both shares, in at least nine of ten draws; and they are not so wide as to say nothing."""
    ledger, histories = synthetic
    cost = ledger.costs.spent()
    rewritten = sum(history.outcome == "rewritten" for history in histories) / POPULATION
    kept = sum(history.outcome != "dropped" for history in histories) / POPULATION
    held = [0, 0, 0]
    for seed in range(SEEDS):
        order = sorted(histories, key=lambda history: hash_of(seed, history))
        found = forecast(ledger, order[:COUNT], POPULATION)
        truths = ((found.cost, cost), (found.rewritten, rewritten), (found.kept, kept))
        for place, (estimate, truth) in enumerate(truths):
            held[place] += estimate.low <= truth <= estimate.high
        assert found.cost.high - found.cost.low < cost
        assert found.rewritten.high - found.rewritten.low < 0.3
    assert min(held) >= 0.9 * SEEDS, held
    assert max(held) < SEEDS, held  # an interval that never fails is no 95 % interval


def test_the_whole_is_never_less_than_what_was_paid(synthetic):
    """The dearest sample and a cheap one: the interval is wide, and its lower end is what the two cost."""
    ledger, histories = synthetic
    costs = {history.sample.id: ledger.costs.about([history.sample.original.pair.hash]) for history in histories}
    order = sorted(histories, key=lambda history: costs[history.sample.id])
    two = [order[0], order[-1]]
    assert forecast(ledger, two, POPULATION).cost.low == sum(costs[history.sample.id] for history in two)


def hash_of(seed: int, history: SampleHistory) -> str:
    """Return a sample's place in the random order of the source, and check that a draw up to it includes the sample."""
    from rt_framework.data.source import _place

    assert history.sample in Draw(seed, _place(seed, history.sample))
    return _place(seed, history.sample)


def test_the_t_quantile_is_the_tables():
    """97.5 % for 1, 2, 3, 5, 10, 30 and 1000 degrees of freedom."""
    table = {3: 3.1824, 5: 2.5706, 10: 2.2281, 30: 2.0423, 1000: 1.9623}
    assert {freedom: pytest.approx(_t(freedom), rel=1.5e-3) for freedom in table} == table
    assert _t(2) == pytest.approx(4.3027, rel=0.01)


def test_wilsons_interval_is_the_published_one():
    """10 of 50 from an endless population; none and all of a few; and all of a finite one."""
    found = share(10, 50, 10**9)
    assert (found.low, found.high) == (pytest.approx(0.1124, abs=1e-4), pytest.approx(0.3304, abs=1e-4))
    none, all_ = share(0, 20, 10**9), share(20, 20, 10**9)
    assert (none.low, none.high) == (0, pytest.approx(0.1611, abs=1e-4))
    assert (all_.low, all_.high) == (pytest.approx(0.8389, abs=1e-4), 1)
    assert share(3, 10, 10) == Estimate.exact(0.3)
    wide, narrow = share(10, 50, 10**6), share(10, 50, 60)
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_moments_are_those_of_the_numbers():
    """Mean and t interval; nothing from one number; the mean itself from all."""
    moments = Moments()
    moments.add(4.0)
    assert moments.interval() is None
    assert moments.interval(1) == Estimate.exact(4.0)
    for number in (8.0, 6.0, 10.0):
        moments.add(number)
    half = 3.1824 * math.sqrt(20 / 3 / 4)
    assert moments.interval() == Estimate(7.0, pytest.approx(7 - half, rel=1e-2), pytest.approx(7 + half, rel=1e-2))
    finite = moments.interval(16)
    assert finite.high - 7 == pytest.approx(half * math.sqrt(3 / 4), rel=1e-2)


# --- on the command line ----------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """`rt` in a directory with a job, with the fakes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setenv("RT_TEST_LOG", str(tmp_path / "log"))
    write_json(tmp_path / "data.json", rows(40))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


def test_a_pilot_says_what_it_found_and_how_to_go_on(cli, tmp_path):
    """The command that it names runs the rest, and asks for nothing again."""
    done = cli("pilot", "rt.yaml", "-n", 10, "--seed", 4, "--run-dir", "my runs/a", "--set", "limits.in_flight=4")
    assert (done.code, done.err) == (0, "")
    assert "pilot: 10 rows drawn at random, seed 4" in done.out
    assert "Forecast for all 40 rows, from 10 of them estimate 95 % from to" in done.words
    for name in ("samples kept with a rewrite", "samples kept in total 100.0 %", "cost unknown", "time "):
        assert name in done.words
    assert "without loading the student" in done.out
    assert (
        done.out.splitlines()[-1]
        == "to continue: rt -p tests.helpers run rt.yaml --run-dir 'my runs/a' --set limits.in_flight=4"
    )
    calls = (tmp_path / "log").read_text().count("call")
    assert calls == 20
    assert cli("run", "rt.yaml", "--run-dir", "my runs/a", "--set", "limits.in_flight=4").code == 0
    assert (tmp_path / "log").read_text().count("call") == 80


def test_a_priced_pilot_names_the_budget_that_is_enough(cli, tmp_path, monkeypatch):
    """In dollars, at the end of the line that says how to go on."""
    monkeypatch.setattr(fakes_plugin, "HELD", {"teacher": Priced(uneven), "student": FakeStudent()})
    text = CONFIG.replace("scripted", "held:teacher").replace("student: fake", "student: held:student")
    (tmp_path / "rt.yaml").write_text(text)
    monkeypatch.setattr("tests.helpers.PLUGIN", "tests.fakes_plugin")
    done = cli("pilot", "rt.yaml", "-n", 20)
    assert done.code == 0, done.err
    *_, last = done.out.splitlines()
    command, budget = last.removeprefix("to continue: ").rsplit("=", 1)
    assert command == "rt -p tests.fakes_plugin run rt.yaml --set limits.budget_usd"
    assert "cost $0.0" in done.words
    assert cli(*command.split()[1:-2], "--set", f"limits.budget_usd={budget}").code == 0


def test_a_pilot_of_all_rows_says_that_it_was_all(cli):
    """Nothing is extrapolated."""
    done = cli("pilot", "rt.yaml", "-n", 40)
    assert "these were all rows" in done.out
    assert "runs/rt/kept.json" in done.out


def test_an_export_after_a_pilot_says_what_is_missing(cli):
    """The account is that of the pilot's rows until the job is run again."""
    assert cli("run", "rt.yaml").code == 0
    assert cli("pilot", "rt.yaml", "-n", 5).code == 0
    done = cli("export", "runs/rt", "--out", "out.json")
    assert done.code == 2
    assert "the last run was a pilot of some rows" in done.err

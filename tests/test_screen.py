"""The live screen, the same from another shell, and every event as a line of JSON."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from attrs import evolve
from rich.console import Console

from rt_framework import hookimpl
from rt_framework.events import Money, Progress, SampleCounts, StageProgress, StudentCounts, TeacherCounts
from rt_framework.model import Decision, Score
from rt_framework.plugin.host import Reporters
from rt_framework.rundir import Meter, MeteredStage, SampleCounter
from rt_framework.rundir import live_state as snapshot
from rt_framework.rundir.directory import owner
from rt_framework.rundir.progress import telling
from rt_framework.terminal.live import screen
from rt_framework.testing import FailingTeacher, SlowTeacher
from tests.helpers import CONFIG, REPO, json_lines, rt
from tests.reliability.test_18_hostile_text import HOSTILE, SURROGATE, harmless
from tests.run_helpers import GATES, SELECTIVE, Priced, go, job, nobody, rows, sample, side, write_json
from tests.terminal import show

PROGRESS = Progress(
    samples=SampleCounts(
        finished=12_345,
        total=52_002,
        outcomes={"rewritten": 9_000, "original": 3_000, "dropped": 340, "failed": 5},
        share=0.25,
        decisions={"current": 7_000, "rewrite": 21_000},
        gains={"ifd": 0.0312, "r-ifd": -0.2},
    ),
    teacher=TeacherCounts(
        calls=40_000,
        retries=120,
        answered=39_000,
        reused=3_000,
        tokens=9_000_000,
        under_way=12,
        at_once=16,
        throttled="at most 3.2 calls a second after a 429",
    ),
    money=Money(
        paid=12_000_000_000,
        spent=14_000_000_000,
        reserved=90_000_000,
        budget=60_000_000_000,
        projected=55_000_000_000,
    ),
    student=StudentCounts(tokens=4_000_000, passes=9_000, reused=77),
    stages=(
        StageProgress("reflect-instruction", 30_000, 0, 5, 900, 2_000, "1. reflect instruction"),
        StageProgress("choose-highest", 29_000, name="2. choose highest ifd"),
        StageProgress("gate", 12_000, 340, name="3. gate ifd below 1, r-ifd below 1"),
    ),
    seconds=3_600.0,
    still=75.0,
    waiting="waiting for 12 answers of the teacher, at most 3.2 calls a second after a 429",
    left=10_800.0,
)


def drawn(progress: Progress, columns: int, **options: object) -> str:
    """The screen as a terminal of that width shows it."""
    out = io.StringIO()
    Console(file=out, width=columns, **options).print(screen(progress))
    return out.getvalue()


# --- what is drawn ----------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 60])
def test_the_screen_fits_and_says_it_all(columns):
    """Stages, calls against their limit and why, money, acceptance, gain, and the time that is left."""
    text = drawn(PROGRESS, columns)
    lines = text.splitlines()
    assert len(lines) <= 23 and max(map(len, lines)) <= columns
    words = " ".join(text.split())
    for told in (
        "25 %",
        "12345/52002: 9000 rewritten, 3000 original, 340 dropped, 5 failed",
        "12 of 16 calls under way calls",
        "at most 3.2 calls a second after a 429",
        "40000 sent, 120 retries, 3000 from the ledger, 900 unusable answers",
        "$14.0000 spent, $0.0900 reserved, budget $60.0000, projected $55.0000",
        "28000, 21000 for the rewrite (75 %); mean gain ifd +0.0312, r-ifd -0.2000",
        "now waiting for 12 answers of the teacher, at most",
        "(nothing new for 75 s)",
        "1:00:00, about 3:00:00 left",
        "30000 · 5 900 2000",
        "12000 340 · · ·",
    ):
        assert told in words, (told, text)


def test_the_screen_needs_no_colour():
    """A terminal that shows none is sent none, and the bar still says how far it is."""
    plain = drawn(PROGRESS, 80, force_terminal=True, no_color=True, color_system=None)
    assert "\x1b" not in plain
    further = evolve(PROGRESS, samples=evolve(PROGRESS.samples, share=0.75))
    more = drawn(further, 80, force_terminal=True, no_color=True, color_system=None)
    assert 0 < plain.splitlines()[0].count("━") < more.splitlines()[0].count("━")


def test_what_is_not_known_is_not_drawn():
    """A run that only scores has no teacher, no money, no choices; one that has begun no time that is left."""
    text = drawn(Progress(seconds=0.4), 80)
    assert " ".join(text.split()) == "0 % samples 0 now working through the samples time 0:00:00"


@pytest.mark.parametrize("text", [*HOSTILE.values(), SURROGATE])
def test_hostile_text_is_harmless_on_the_screen(text):
    """Names of stages, metrics and outcomes, what a provider says: nothing is obeyed, and nothing leaves its line."""
    hostile = evolve(
        PROGRESS,
        samples=evolve(PROGRESS.samples, gains={text: 1.0}, outcomes={text: 2}),
        teacher=evolve(PROGRESS.teacher, throttled=text),
        waiting=text,
        stages=(StageProgress("reflect", 1, name=f"1. {text}"),),
    )
    for columns in (80, 60):
        shown = drawn(hostile, columns)
        assert harmless(shown)
        assert max(map(len, shown.splitlines())) <= columns


# --- what is counted --------------------------------------------------------------------------


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.summary = None

    @hookimpl
    def rt_progress(self, event):
        self.seen.append(event)

    @hookimpl
    def rt_run_finished(self, event):
        self.summary = event.summary


def test_stages_add_up_to_the_outcomes(tmp_path):
    """Each stage passes, drops or fails every sample that reached it; a second run reuses all answers."""
    first, again = Watcher(), Watcher()
    config = job(tmp_path, rows(30), [*SELECTIVE, *GATES])
    for watcher in (first, again):
        go(config, tmp_path / "run", watchers=[watcher])
    progress = first.summary.progress
    reached = 30
    for stage in progress.stages:
        assert stage.passed + stage.dropped + stage.failed == reached
        reached = stage.passed
    assert reached == first.summary.outcomes["rewritten"] + first.summary.outcomes["original"]
    assert sum(stage.dropped for stage in progress.stages) == first.summary.outcomes["dropped"] > 0
    assert progress.samples.share == 1
    assert [stage.reused for stage in again.summary.progress.stages] == [30, 0, 30, 0, 0]
    assert all(stage.reused == 0 for stage in progress.stages)


def test_a_stage_over_the_data_set_is_counted(tmp_path):
    """It passes what it keeps, and the share of work done comes to one."""
    watcher = Watcher()
    go(
        job(tmp_path, rows(10), [{"select": {"top": {"metric": "ifd", "count": 4}}}]),
        tmp_path / "run",
        watchers=[watcher],
    )
    progress = watcher.summary.progress
    assert [(stage.passed, stage.dropped) for stage in progress.stages] == [(4, 6)]
    assert progress.samples.share == 1


def test_the_mean_gain_is_that_of_the_choices(tmp_path):
    """Over all choices of a metric: the kept version's score less that of the current version."""
    watcher = Watcher()
    go(job(tmp_path, rows(12), SELECTIVE), tmp_path / "run", watchers=[watcher])
    for metric, stage in (("ifd", "choose-highest"), ("r-ifd", "choose-lowest")):
        gains = []
        for one in side(tmp_path / "run"):
            for decision in one["decisions"]:
                if decision["stage"] == stage:
                    kept, held = (one["scores"][name][metric] for name in (decision["kept"], decision["candidates"][0]))
                    gains.append(kept - held)
        assert len(gains) == 12
        assert watcher.summary.progress.samples.gains[metric] == pytest.approx(sum(gains) / 12)


def test_unusable_answers_are_counted_where_they_were_asked_for(tmp_path):
    """The sample goes on."""
    watcher = Watcher()
    go(job(tmp_path, rows(5), SELECTIVE), tmp_path / "run", FailingTeacher("refused", 3), watchers=[watcher])
    assert [stage.unusable for stage in watcher.summary.progress.stages] == [3, 0, 0, 0]


def test_money_and_calls_are_told_while_they_are_under_way(tmp_path):
    """Progress tells the reserved money and the calls under way, with their limit; at the end nothing is reserved."""

    class Slow(SlowTeacher):
        cost = Priced.cost

    watcher = Watcher()
    limits = {"concurrency": 3, "budget_usd": 1}
    go(job(tmp_path, rows(30), SELECTIVE, limits=limits), tmp_path / "run", Slow(0.05), watchers=[watcher])
    assert {progress.money.budget for progress in watcher.seen[1:]} == {10**9}
    busy = [progress for progress in watcher.seen if progress.teacher.under_way]
    assert busy and all(seen.teacher.under_way <= seen.teacher.at_once == 3 and seen.money.reserved for seen in busy)
    assert any(progress.waiting == "waiting for 3 answers of the teacher" for progress in busy)
    end = watcher.summary.progress
    assert (end.teacher.under_way, end.money.reserved, end.money.projected) == (0, 0, end.money.spent)


def test_a_call_that_waits_for_the_budget_says_so(tmp_path):
    """Each call reserves more than it costs, so few are sent at once though many may be."""

    class Slow(SlowTeacher):
        def cost(self, prompt_tokens, completion_tokens):
            return 400_000_000

    watcher = Watcher()
    go(job(tmp_path, rows(6), SELECTIVE[:2], limits={"budget_usd": 1}), tmp_path / "run", Slow(0.3), watchers=[watcher])
    reason = re.compile(r"1 call waits|[2-9] calls wait for budget that other calls have reserved")
    assert any(reason.match(progress.teacher.throttled) for progress in watcher.seen)
    assert max(progress.teacher.under_way for progress in watcher.seen) <= 2


STAGES = [
    MeteredStage("reflect-a", "1. reflect a", True),
    MeteredStage("choose-b", "2. choose b", False),
    MeteredStage("reflect-c", "3. reflect c", True),
]


def test_the_projection_goes_by_what_was_paid_for_in_this_process():
    """A run that goes on has half its answers for nothing; what the other half costs is what counts."""
    meter = Meter(nobody(), 100, STAGES)
    teacher = meter.teacher = Counts()

    def through(stages, samples):
        for _ in range(samples):
            for stage in stages:
                meter.samples.at(stage, "passed")

    through(["reflect-a", "choose-b", "reflect-c"], 50)  # from the ledger
    assert meter.progress().money.projected is None
    teacher.calls += 1
    assert meter.progress().money.projected is None
    teacher.spent += 100
    through(["reflect-a"], 10)
    assert meter.progress().money.projected is None  # too few to tell
    teacher.spent += 150
    through(["reflect-a"], 15)
    assert meter.progress().money.projected == 500 + 250 + 75 * 10  # 75 more passes at 10 each
    for _ in range(25):
        meter.samples.at("choose-b", "dropped")  # none of these is asked about again
    assert meter.progress().money.projected == 500 + 250 + 50 * 5


class Counts:
    """A teacher's side of which a meter reads the counters."""

    calls, spent = 0, 500

    def counts(self):
        return TeacherCounts(calls=self.calls)

    def money(self):
        return Money(spent=self.spent)

    def accounts(self):
        return ()

    def reused_at(self, stage):
        return 0

    def why(self):
        return "waiting for 1 answer of the teacher"


def test_a_fault_of_the_progress_is_told_and_stops_nothing(caplog):
    """The work inside goes on without its display."""

    class Broken(Counts):
        def why(self) -> str:
            raise ValueError("no\nreason")

    async def work():
        meter = Meter(nobody(), 2)
        meter.teacher = Broken()
        async with telling(meter):
            await asyncio.sleep(0.05)
            return "done"

    assert asyncio.run(work()) == "done"
    (message,) = caplog.messages
    assert message.startswith("the progress of the run is not shown any more: ValueError: no reason (at ")


def test_time_stands_still_only_while_no_work_is_done():
    """Calls that are sent again and again are no work; an answer, a loss or a finished sample is."""
    meter = Meter(nobody(), 2)
    teacher = meter.teacher = Counts()
    meter.progress()
    time.sleep(0.05)
    teacher.calls += 1
    assert meter.progress().still >= 0.05
    meter.samples.ended("original")
    assert meter.progress().still < 0.05


def test_a_score_out_of_range_is_no_measure_of_a_gain():
    """A rewrite that wins because the current version may not has gained nothing that a difference would show."""
    samples = SampleCounter()
    for current in (Score(1.5, "out_of_range"), Score(None, "empty"), Score(0.25)):
        scores = {"original": {"ifd": current}, "response": {"ifd": Score(0.75)}}
        decision = Decision("choose-highest", ("original", "response"), "response", "")
        samples.chose(decision, evolve(sample(), scores=scores), ["ifd", "r-ifd"])
    assert samples.gains == {"ifd": 0.5}
    assert samples.decisions == {"rewrite": 3}


# --- the snapshot -----------------------------------------------------------------------------


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    """With text that no file would take as it is."""
    teacher = evolve(PROGRESS.teacher, throttled=SURROGATE)
    samples = evolve(PROGRESS.samples, gains={SURROGATE: 1.0})
    said = snapshot.Snapshot(1.5, evolve(PROGRESS, teacher=teacher, samples=samples))
    snapshot.write(tmp_path, said)
    assert snapshot.read(tmp_path) == said
    assert sorted(file.name for file in tmp_path.iterdir()) == [".rt-framework", "progress.json"]


@pytest.mark.parametrize(
    "text", [None, "", "{", "[1]", '{"written": 1}', '{"written": "x", "progress": {"total": []}}']
)
def test_what_is_no_snapshot_is_none(text, tmp_path):
    """Missing, half written, or of another release."""
    if text is not None:
        (tmp_path / "progress.json").write_text(text)
    assert snapshot.read(tmp_path) is None


def test_a_run_goes_on_though_no_snapshot_can_be_written(tmp_path, monkeypatch):
    """Here the disk refuses each."""

    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    snapshot.write(tmp_path, snapshot.Snapshot(0.0, PROGRESS))
    assert [file.name for file in tmp_path.iterdir()] == [".rt-framework"]


def test_the_snapshot_is_there_while_the_run_goes_on(tmp_path):
    """And gone when it ends, as the name of its owner is."""

    class Looks(Watcher):
        @hookimpl
        def rt_progress(self, event):
            said = snapshot.read(tmp_path / "run")
            self.seen += [said.progress] if said else []

    looks = Looks()
    go(job(tmp_path, rows(4), SELECTIVE), tmp_path / "run", SlowTeacher(0.7), watchers=[looks])
    assert looks.seen[-1].stages[0].stage == "reflect-instruction"
    assert not (tmp_path / "run" / "progress.json").exists()
    assert owner(tmp_path / "run") is None


# --- a run in another process -----------------------------------------------------------------

GATED = """
import asyncio
from pathlib import Path
from rt_framework import hookimpl
from rt_framework.testing import ScriptedTeacher, rewriting

class Gated(ScriptedTeacher):
    async def complete(self, request):
        while not Path("go").exists():
            await asyncio.sleep(0.02)
        return await super().complete(request)

def teacher():
    return Gated(rewriting)

@hookimpl
def rt_register_teachers(register):
    register("gated", "gated:teacher", help="waits for a file")
"""
CODE = "from rt_framework.cli import main; main()"


class Shell:
    """``rt`` in processes of their own, in one folder with a job that goes on when told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        write_json(folder / "data.json", rows(6))
        (folder / "rt.yaml").write_text(CONFIG.replace("teacher: scripted", "teacher: gated"), "utf-8")
        (folder / "gated.py").write_text(GATED, "utf-8")
        self.env = os.environ | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": "", "COLUMNS": "", "PYTHONUNBUFFERED": "1"}
        del self.env["COLUMNS"]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of ``rt`` with these arguments."""
        return [sys.executable, "-c", CODE, "-p", "tests.helpers", "-p", "./gated.py", *arguments]

    def start(self, *arguments: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Begin ``rt``."""
        started = subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=self.env, stdout=out, stderr=out, text=True
        )
        self.started.append(started)
        return started

    def run(self, **options: int) -> subprocess.Popen[str]:
        """Begin the job, and come back when it says where it stands."""
        process = self.start("run", "rt.yaml", "--run-dir", "run", **options)
        self.until(lambda: (found := snapshot.read(self.folder / "run")) and found.progress.teacher.under_way == 6)
        return process

    def until(self, condition) -> None:
        """Wait for it."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def go_on(self) -> None:
        """Let the teacher answer."""
        (self.folder / "go").touch()


@pytest.fixture
def shell(tmp_path):
    """A folder with a job; whatever it started is gone at the end."""
    made = Shell(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        with process:  # closes its pipes
            pass


def test_a_run_is_watched_from_another_shell(shell):
    """The other shell shows the owner of the directory, its progress, and the tables when the run has ended."""
    run = shell.run()
    watch = shell.start("status", "--watch", "run")
    assert watch.stdout.readline() == f"run: in use by process {run.pid} on {os.uname().nodename}\n"
    assert "samples 0/6 · teacher 6 of 16 calls under way · calls 6 sent" in watch.stdout.readline()
    shell.go_on()
    assert run.wait(60) == 0
    out, err = watch.communicate(timeout=60)
    assert watch.returncode == 0 and err == ""
    assert "run: the run has ended\n6 samples\n" in out
    assert "Teacher requests" in out


def test_ctrl_c_leaves_the_watching_and_not_the_run(shell):
    """With exit code 0."""
    run = shell.run()
    watch = shell.start("status", "--watch", "run")
    assert "in use by" in watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate(timeout=60)
    assert (watch.returncode, err) == (0, "")
    shell.go_on()
    assert run.wait(60) == 0


def test_a_directory_without_a_run_is_told(shell):
    """It ended, or was killed: then it left its name and its last word, which count for nothing."""
    run = shell.run()
    run.kill()
    run.wait()
    assert (shell.folder / "run" / "progress.json").exists()
    done = rt("status", "--watch", "run", cwd=shell.folder)
    assert done.code == 0
    assert done.out.startswith("run: no run is active in this directory\n0 samples\n")


def test_an_old_snapshot_is_told(tmp_path, monkeypatch, capfd):
    """The run may be busy with something that lets nothing else be done, or be stopped."""
    from rt_framework import rundir
    from rt_framework.cli import status
    from rt_framework.terminal import live as screen

    owners = iter(["process 7 on here", "process 7 on here", None])
    monkeypatch.setattr(rundir, "owner", lambda _: next(owners))
    monkeypatch.setattr(screen, "_EVERY", 0.0)
    monkeypatch.setattr(status, "_EVERY", 0.0)
    snapshot.write(tmp_path, snapshot.Snapshot(time.time() - 100, PROGRESS))
    status._watch(tmp_path)
    assert "these numbers are 100 s old; the run is busy or hangs" in capfd.readouterr().out


def test_the_live_screen_on_a_terminal(shell):
    """Drawn while calls are under way, gone at the end, and the cursor is there again."""
    threading.Timer(3, shell.go_on).start()
    shown = show(shell.command("run", "rt.yaml", "--run-dir", "run"), 80, 24, shell.folder, shell.env)
    assert shown.code == 0 and shown.end.cursor and not shown.end.wrapped
    drawn = [text for _, text in shown.screens]
    busy = [text for text in drawn if "6 of 16 calls under way" in text]
    assert busy and all("1. reflect instruction" in text and "0/6" in text for text in busy)
    assert "now      waiting for 6 answers of the teacher" in busy[0]
    assert "under way" not in shown.end.everything
    end = " ".join(shown.end.everything.split())
    assert end.index("writing to run") < end.index("6 samples") < end.index("12 teacher calls sent")


# --- lines of JSON ----------------------------------------------------------------------------


def test_events_are_lines_of_json_and_add_up(shell):
    """On standard output nothing else is written; the lines of samples are those of the summary."""
    shell.go_on()
    done = shell.start("run", "rt.yaml", "--run-dir", "run", "--reporter", "jsonl")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert all(list(line)[:2] == ["event", "time"] for line in lines)
    assert [line["event"] for line in lines[:3]] == ["preparing", "preparing", "run_started"]
    assert lines[-1]["event"] == "run_finished"
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    ends = [line["outcome"] for line in lines if line["event"] == "sample_finished"]
    summary = lines[-1]["summary"]
    assert {name: ends.count(name) for name in summary["outcomes"]} == summary["outcomes"]
    assert sum(summary["outcomes"].values()) == len(ends) == lines[2]["total"] == 6
    stages = [stage["stage"] for stage in summary["progress"]["stages"]]
    assert {line["stage"] for line in lines if line["event"] == "stage_finished"} == set(stages)


def test_lines_of_json_go_to_a_file_beside_the_console(shell):
    """A run that goes on appends to it; hostile names and numbers that JSON does not have are plain text there."""
    shell.go_on()
    for _ in range(2):
        run = shell.start(
            "run", "rt.yaml", "--run-dir", "run", "--reporter", "console", "--reporter", "jsonl:events.jsonl"
        )
        out, _ = run.communicate(timeout=60)
        assert "teacher calls sent" in out and "{" not in out
    events = [line["event"] for line in json_lines(shell.folder / "events.jsonl")]
    assert events.count("run_started") == events.count("run_finished") == 2


def test_hostile_text_is_plain_ascii_in_lines_of_json(tmp_path):
    """And comes back as it was; a number that JSON does not have is a text."""
    from rt_framework.builtin.reporters.jsonl import JsonlReporter
    from rt_framework.builtin.reporters.settings import JsonlSettings
    from rt_framework.events import RunStarted, Stalled

    reporter = JsonlReporter(JsonlSettings(str(tmp_path / "events.jsonl")))
    reporters = Reporters([reporter], strict=True)
    texts = [*HOSTILE.values(), SURROGATE]
    for text in texts:
        reporters.send("rt_stalled", Stalled(float("nan"), text))
    reporters.send("rt_run_started", RunStarted("x", (), 1, config={"range": (float("inf"), Path("a"), None)}))
    reporter.close()
    assert reporters.failed == []
    raw = (tmp_path / "events.jsonl").read_bytes()
    assert raw.isascii() and harmless(raw.decode())
    lines = json_lines(tmp_path / "events.jsonl")
    assert [line["why"] for line in lines[:-1]] == texts
    assert lines[0]["seconds"] == "nan"
    assert lines[-1]["config"] == {"range": ["inf", "a", None]}


def test_a_place_that_cannot_be_written_is_told_before_anything_is_paid(shell):
    """In one line, with the code of a disk."""
    run = shell.start("run", "rt.yaml", "--run-dir", "run", "--reporter", "jsonl:missing/events.jsonl")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 5
    assert err == "Error: missing/events.jsonl: cannot be written: No such file or directory\n"

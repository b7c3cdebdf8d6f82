"""Real runs through the command line, read back with MLflow's own client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from threading import Event

import pytest
from observed_parts import progress, summary

from rt_framework.events import (
    BatchChanged,
    RunFailed,
    RunFinished,
    RunStarted,
    SampleFailed,
    StageFinished,
    StageStarted,
    Stalled,
)
from rt_mlflow.reporter import MlflowReporter
from rt_mlflow.settings import MlflowSettings
from rt_mlflow.store import Store

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
# MLflow 3.17 with SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

CONFIG = """\
data: {path: data.json}
teacher: observed
student: observed
scoring: {preset: selective-rt}
pipeline:
  - reflect: response
  - choose: {lowest: r-ifd}
  - measure: [ifd]
"""
KEY = "canary-key-of-acme/0123456789"
OPTIONS = ["-p", "observed_parts", "-p", "rt_mlflow"]


@pytest.fixture(scope="session")
def uri(tmp_path_factory) -> str:
    """One database for all tests: to make one takes MLflow a second or two."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A directory with 12 rows and a config, in which commands are called."""
    rows = [{"instruction": f"Name {n} boats.", "output": f"Boat {n} and boat {n + 1}."} for n in range(12)]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    return tmp_path


@pytest.fixture
def run(place, uri, monkeypatch):
    """Calls `rt run` in this process, and gives its exit code. The experiment is named after the directory."""
    (command,) = metadata.entry_points(group="console_scripts", name="rt")

    def call(*arguments: str, **options: object) -> int:
        told = {"mlflow": {"experiment": place.name, "uri": uri, "every": 0, **options}}
        monkeypatch.setattr(sys, "argv", ["rt", *OPTIONS, "run", "rt.yaml", "--reporter", json.dumps(told), *arguments])
        with pytest.raises(SystemExit) as ended:
            command.load()()
        return int(ended.value.code or 0)

    return call


@pytest.fixture
def runs(place, uri):
    """Gives the MLflow runs of this test, oldest first."""

    def read() -> list:
        found = client(uri).get_experiment_by_name(place.name)
        return (
            [] if found is None else client(uri).search_runs([found.experiment_id], order_by=["attributes.start_time"])
        )

    return read


def client(uri: str):
    """MLflow's own."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def history(uri: str, run, name: str) -> list:
    """Points of a metric."""
    return client(uri).get_metric_history(run.info.run_id, name)


def artifact(run, name: str) -> str:
    """Text of an artifact."""
    return (Path(run.info.artifact_uri.removeprefix("file://")) / name).read_text()


QUIET = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""Variables that keep MLflow from calling home, besides those that the reporter sets."""

WATCHED = """\
import sys
def heard(name, told):
    if name in ("socket.connect", "socket.getaddrinfo"):
        print(name, told, file=sys.stderr, flush=True)
sys.addaudithook(heard)
from rt_framework.cli import main
main()
"""
"""The command, which says so on standard error when anything in the process looks up or calls an address."""


def in_a_process(place: Path, *arguments: str, **env: str) -> subprocess.Popen:
    """`rt run` in a process of its own, where nothing but the reporter keeps MLflow quiet."""
    told = {name: value for name, value in os.environ.items() if name not in QUIET} | env
    told["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", WATCHED, *OPTIONS, "run", "rt.yaml", *arguments]
    return subprocess.Popen(command, cwd=place, env=told, stderr=subprocess.PIPE, text=True)


# --- what is logged ---------------------------------------------------------------------------


def test_a_run_is_logged_whole(run, runs, uri, place, monkeypatch):
    """Params, tags, how metrics grew, the account, the artifacts."""
    monkeypatch.setenv("OBSERVED_FAULT", "refused")
    assert run(run_name="first", tags={"team": "boats"}) == 0
    (logged,) = runs()
    assert (logged.info.status, logged.info.run_name) == ("FINISHED", "first")

    params, manifest = logged.data.params, json.loads((place / "runs/rt/manifest.json").read_text())
    assert {
        "rows": "12",
        "teacher": "observed",
        "student": "observed",
        "scoring.preset": "selective-rt",
    }.items() <= params.items()
    assert json.loads(params["pipeline.stages"]) == manifest["config"]["pipeline"]["stages"]
    assert params["facts.student"] == manifest["frozen"]["student"]
    assert params["facts.data.content"] == manifest["frozen"]["data"]["content"]

    tags = logged.data.tags
    assert (tags["team"], tags["rt.end"], tags["limits.concurrency"]) == ("boats", "finished", "32")
    assert tags["rt.run_dir"] == str(place / "runs/rt")
    assert "teacher: observed (live)" in tags["mlflow.note.content"]

    points = history(uri, logged, "samples/finished")
    assert len(points) >= 2
    assert [point.value for point in points] == sorted(point.value for point in points)
    assert [point.step for point in points] == sorted(point.step for point in points)
    assert logged.info.start_time <= points[0].timestamp <= points[-1].timestamp <= logged.info.end_time

    metrics, summary = logged.data.metrics, manifest["summary"]
    assert metrics["samples/finished"] == metrics["samples/rewritten"] + metrics["samples/original"] == 12
    assert metrics["samples/kept_share"] == 1
    assert metrics["failures/refused"] == summary["failures"]["refused"] > 0
    assert metrics["teacher/calls"] == summary["progress"]["teacher"]["calls"] == 12
    for shift in summary["shifts"]:
        assert metrics[f"scores/{shift['metric']}/before"] == pytest.approx(shift["before"])
        assert metrics[f"scores/{shift['metric']}/after"] == pytest.approx(shift["after"])
    assert metrics["stages/reflect-response"] >= 0.15

    assert json.loads(artifact(logged, "manifest.json")) == manifest
    assert f"| refused | {summary['failures']['refused']} |" in artifact(logged, "report.md")


def test_a_directory_goes_on_in_its_mlflow_run_and_another_config_is_another_run(run, runs, uri, monkeypatch):
    """Limits may change. What a later run no longer meets is 0. A gate makes a result to compare, of one directory."""
    with monkeypatch.context() as patch:
        patch.setenv("OBSERVED_FAULT", "connection")
        assert run("--set", "limits.attempts=1") == 1
    (first,) = runs()
    points = len(history(uri, first, "samples/finished"))
    assert first.data.metrics["failures/connection"] > 0
    assert run("--set", "limits.concurrency=2") == 0
    (again,) = runs()
    assert again.info.run_id == first.info.run_id
    assert again.data.metrics["failures/connection"] == 0
    assert (again.data.tags["limits.concurrency"], again.info.status) == ("2", "FINISHED")
    assert len(history(uri, again, "samples/finished")) > points
    assert run("--set", "pipeline=[{gate: {ifd: {below: 1}}}]") == 0
    _, other = runs()
    assert other.data.tags["rt.run_id"] == first.data.tags["rt.run_id"]
    assert other.data.params["pipeline.stages"] == '[{"gate": {"ifd": {"below": 1}}}]'


def test_a_killed_run_is_gone_on_with(run, runs, uri, place):
    """It stays as running, with the points that were written; the next command ends it. No address was called."""
    told = json.dumps({"mlflow": {"experiment": place.name, "uri": uri, "every": 0}})
    process = in_a_process(place, "--set", "limits.concurrency=1", "--reporter", told, OBSERVED_DELAY="0.4")
    deadline = time.monotonic() + 60
    while not any(one.data.metrics.get("samples/finished", 0) > 0 for one in runs()) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.communicate()[1] == ""
    (killed,) = runs()
    assert (killed.info.status, killed.data.tags["rt.end"]) == ("RUNNING", "not yet")
    assert 0 < killed.data.metrics["samples/finished"] < 12
    assert run() == 0
    (done,) = runs()
    assert (done.info.run_id, done.info.status) == (killed.info.run_id, "FINISHED")
    assert done.data.metrics["samples/finished"] == 12
    assert done.data.metrics["teacher/reused_answers"] > 0
    steps = [point.step for point in history(uri, done, "samples/finished")]
    assert steps == sorted(steps) and steps[-1] > steps[0]


def test_an_error_ends_the_mlflow_run_and_no_secret_is_logged(run, runs, uri, monkeypatch, capfd):
    """Status and reason, with `***` for the key; it is in no byte of database and artifacts."""
    monkeypatch.setenv("ACME_API_KEY", KEY)
    monkeypatch.setenv("OBSERVED_FAULT", "auth")
    assert run(tags={"note": f"with {KEY}"}) == 3
    (logged,) = runs()
    assert logged.info.status == "FAILED"
    assert logged.data.tags["rt.end"].startswith("FatalTeacherError: teacher: ")
    assert "auth for ***" in logged.data.tags["rt.end"]
    assert logged.data.tags["note"] == "with ***"
    folder = Path(uri.removeprefix("sqlite:///")).parent
    kept = [path for path in (*folder.rglob("*"), *Path("mlruns").rglob("*")) if path.is_file()]
    assert kept and not any(KEY.encode() in path.read_bytes() for path in kept)


# --- when MLflow fails ------------------------------------------------------------------------


def test_where_nothing_can_be_written_the_run_goes_on(place):
    """One line on standard error, exit code 0, all outputs."""
    (place / "file").write_text("no directory")
    process = in_a_process(place, "--reporter", f"{{mlflow: {{uri: 'sqlite:///{place}/file/mlflow.db', every: 0}}}}")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert told.startswith("reporter MlflowReporter ") and told.count("\n") == 1, told
    assert (place / "runs/rt/manifest.json").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("metrics", "failed and is left out"), ("end", "failed when it was closed")]
)
def test_what_mlflow_raises_later_is_one_warning(name, said, run, monkeypatch, caplog):
    """In the middle of a run, or at its very end, where no hook is called any more."""

    def fail(*_, **__):
        raise OSError("the disk\nis full")

    monkeypatch.setattr(Store, name, fail)
    assert run() == 0
    (warning,) = (one.getMessage() for one in caplog.records if one.name == "rt_framework")
    assert warning.startswith(f"reporter MlflowReporter {said}: OSError: the disk is full (at ")


def test_hooks_do_not_wait_for_mlflow(monkeypatch):
    """A store that does nothing until all hooks have returned gets everything then, in order."""
    gate, done = Event(), []

    class Slow:
        def __init__(self, *_):
            assert gate.wait(20)

        def metrics(self, values, now):
            done.append(values["samples/finished"])

        def account(self, summary, now):
            done.append("account")

        def tag(self, values):
            done.append(values["rt.end"])

        def end(self, status, now):
            done.append(status)

    monkeypatch.setattr("rt_mlflow.reporter.Store", Slow)
    reporter = MlflowReporter(MlflowSettings(every=0))
    reporter.rt_run_started(RunStarted("run", (), 3))
    for number in range(3):
        reporter.rt_progress(progress(number))
    reporter.rt_run_finished(RunFinished(summary()))
    assert done == []
    gate.set()
    reporter.close()
    reporter.close()
    assert done == [0, 1, 2, "account", "finished", "FINISHED"]


def test_progress_is_thinned_but_the_last_point_is_written(monkeypatch):
    """With the failures until then, and the status of a run that was interrupted."""
    done = []

    class Noting:
        def __init__(self, *_): ...

        def metrics(self, values, now):
            done.append((values["samples/finished"], values["failures/format"]))

        def tag(self, values):
            done.append(values)

        def end(self, status, now):
            done.append(status)

    monkeypatch.setattr("rt_mlflow.reporter.Store", Noting)
    reporter = MlflowReporter(MlflowSettings(every=1000))
    reporter.rt_run_started(RunStarted("run", (), 9))
    for number in range(5):
        reporter.rt_progress(progress(number))
        reporter.rt_sample_failed(SampleFailed(f"id-{number}", number, "1. reflect", "format", "no JSON", False))
    reporter.rt_run_failed(RunFailed("Interrupted", "by hand"))
    reporter.close()
    assert done == [(4, 5), {"rt.end": "Interrupted: by hand"}, "KILLED"]


def test_stages_batches_and_stalls_are_logged_as_they_come(monkeypatch):
    """Seconds of a stage, questions by state in all, and what was waited for last."""
    done = []

    class Noting:
        def __init__(self, *_): ...

        def metrics(self, values, now):
            done.append(values)

        def tag(self, values):
            done.append(values)

    monkeypatch.setattr("rt_mlflow.reporter.Store", Noting)
    reporter = MlflowReporter(MlflowSettings())
    reporter.rt_run_started(RunStarted("run", (), 9))
    reporter.rt_stage_started(StageStarted("1. reflect, twice"))
    for name in ("first", "second"):
        reporter.rt_batch_changed(BatchChanged(name, 20, "submitted"))
    reporter.rt_stalled(Stalled(63.2, "teacher: 3 calls under way"))
    reporter.rt_stage_finished(StageFinished("1. reflect, twice"))
    reporter.close()
    *told, stage = done
    assert told == [
        {"batches/submitted": 20},
        {"batches/submitted": 40},
        {"run/stalls": 1},
        {"rt.stalled": "63 s: teacher: 3 calls under way"},
    ]
    assert stage.keys() == {"stages/1. reflect_ twice"} and stage.popitem()[1] >= 0


def test_an_end_without_a_beginning_logs_nothing():
    """A run that could not start has nothing to show."""
    reporter = MlflowReporter(MlflowSettings())
    reporter.rt_run_failed(RunFailed("LockedError", "in use"))
    reporter.close()


@pytest.mark.parametrize(("ended", "seconds"), [(False, "0.1"), (True, "0.2")])
def test_a_store_that_hangs_is_given_up(ended, seconds, monkeypatch):
    """After more time where the run has ended than where a second Ctrl-C leaves it at once."""
    gate = Event()

    class Hanging(Store):
        def __init__(self, *_):
            gate.wait()
            raise OSError("nobody hears of this")

    monkeypatch.setattr("rt_mlflow.reporter.Store", Hanging)
    monkeypatch.setattr("rt_mlflow.reporter.HURRY", 0.1)
    monkeypatch.setattr("rt_mlflow.reporter.PATIENCE", 0.2)
    reporter = MlflowReporter(MlflowSettings())
    reporter.rt_run_started(RunStarted("run", (), 3))
    if ended:
        reporter.rt_run_finished(RunFinished(summary()))
    with pytest.raises(TimeoutError, match=f"not everything was written within {seconds} s"):
        reporter.close()
    gate.set()


def test_a_start_imports_no_mlflow():
    """Neither the plugin nor the reporter: the thread does, once a run has started."""
    code = "import sys, rt_mlflow.reporter; print([m for m in ('mlflow', 'sqlalchemy', 'torch') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

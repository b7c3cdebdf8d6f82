"""The functions for Python programs and notebooks."""

import asyncio
import gc
import json
import signal
import threading
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
import transformers

import rt_framework as rt
from rt_framework.errors import ConfigError, DataError, Interrupted
from rt_framework.plugin import Host
from rt_framework.testing import FakeStudent, ScriptedTeacher, SlowTeacher, rewriting
from tests import tiny_models as tiny
from tests.helpers import REPO
from tests.run_helpers import SELECTIVE, json_lines, rows

QUIET = {"progress": False}


class Gain:
    """A metric that is given as an object."""

    name = "gain"
    direction = "higher"
    valid = rt.Range()

    def spans(self, pair, frame):
        """The losses of the response, with and without its instruction."""
        return {"conditional": frame.response_given_instruction(pair), "alone": frame.response_alone(pair)}

    def reduce(self, losses):
        """The nats per token that the instruction saves."""
        return losses["alone"].mean - losses["conditional"].mean


def config(**more):
    """A job with objects as teacher and student."""
    return {
        "teacher": ScriptedTeacher(rewriting),
        "student": FakeStudent(),
        "scoring": {"preset": "selective-rt"},
        "pipeline": SELECTIVE,
    } | more


def test_rows_in_memory_are_run_and_read(tmp_path):
    """What was kept is in the files too, and a second call asks nothing."""
    job = config()
    finished = rt.run(job, rows(5), tmp_path / "run", **QUIET)
    table = list(finished.rows())
    assert [row["row"] for row in table] == [0, 1, 2, 3, 4]
    assert {"ifd", "r-ifd"} & set(table[0])
    assert finished.summary.total == 5
    assert list(finished.kept()) == json_lines(tmp_path / "run" / "kept.jsonl")
    assert list(finished.dropped()) == json_lines(tmp_path / "run" / "dropped.jsonl")
    assert list(finished.to_pandas()["id"]) == [row["id"] for row in table]
    assert finished.to_dataset().num_rows == len(list(finished.kept()))
    asked = len(job["teacher"].requests)
    assert asked
    rt.run(job, rows(5), tmp_path / "run", **QUIET)
    assert len(job["teacher"].requests) == asked
    with pytest.raises(ConfigError, match="data"):
        rt.run(job, rows(4), tmp_path / "run", **QUIET)


def test_a_run_over_rows_in_memory_is_read_by_another_program(tmp_path):
    """All but its records, which were in memory; one line says so."""
    rt.run(config(), rows(3), tmp_path / "run", **QUIET)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["config"]["student"] == {"FakeStudent": "given as an object"}
    teacher = next(part for part in manifest["plugins"] if part["kind"] == "teacher")
    assert (teacher["name"], teacher["plugin"]) == ("ScriptedTeacher", "given as an object")
    with rt.open_run(tmp_path / "run") as run:
        assert len(list(run.rows())) == 3
        with pytest.raises(DataError, match="rows in the memory of another program") as caught:
            list(run.kept())
    assert "\n" not in str(caught.value)


def test_objects_stand_for_stages_selectors_reflections_and_metrics(tmp_path):
    """Wherever the config names a part."""

    class Both:
        needs = ("gain",)
        reflections = MappingProxyType({})

        async def run(self, sample, ctx):
            (score,) = await ctx.score([sample.current], ["gain"])
            return sample if score["gain"].value is not None else rt.Dropped("no gain")

    job = config(metrics=[Gain()], pipeline=[Both(), {"gate": {"gain": {"above": -100}}}])
    finished = rt.run(job, rows(4), tmp_path / "run", **QUIET)
    assert next(iter(finished.stages)) == "Both"
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]["pipeline"]["stages"][0] == {
        "Both": "given as an object"
    }


def write_rows(path: Path, count: int) -> Path:
    """The rows as a file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(count)))
    return path


@pytest.mark.parametrize("loop", [False, True])
def test_scores_are_those_of_the_command(rt_project, loop):
    """To the last digit: from a path or rows, with and without a running event loop."""
    path = write_rows(rt_project.folder / "data.jsonl", 70)
    done = rt_project.rt("score", path, "--student", "fake", "--out", "scores.jsonl")
    assert done.code == 0, done.err
    lines = rt_project.records("scores.jsonl")
    student = FakeStudent()

    async def inside():
        return rt.score(rows(70), student, **QUIET)

    table = asyncio.run(inside()) if loop else rt.score(rows(70), student, **QUIET)
    assert list(table) == lines
    assert list(rt.score(path, student, **QUIET)) == lines
    assert list(table.to_pandas()["ifd"]) == [line["metrics"]["ifd"] for line in lines]
    assert table.to_dataset().num_rows == len(table) == 70


def test_losses_are_kept_in_a_run_directory_that_is_named(tmp_path):
    """A second call computes nothing; without a directory nothing is left behind."""
    student = FakeStudent()
    first = rt.score(rows(5), student, ["ifd", Gain()], run_dir=tmp_path / "losses", **QUIET)
    computed = student.forward_spans
    assert set(first.lines[0]["metrics"]) == {"ifd", "gain"}
    again = rt.score(rows(5), student, {"gain": Gain()}, run_dir=tmp_path / "losses", **QUIET)
    assert student.forward_spans == computed
    assert [line["metrics"]["gain"] for line in again] == [line["metrics"]["gain"] for line in first]


def test_the_async_forms_leave_the_loop_free(tmp_path):
    """Other tasks go on while a run is at work."""

    async def both():
        table, finished = await asyncio.gather(
            rt.ascore(rows(3), FakeStudent(), **QUIET), rt.arun(config(), rows(3), tmp_path / "run", **QUIET)
        )
        return len(table), finished.summary.total

    assert asyncio.run(both()) == (3, 3)


def test_a_cell_that_is_interrupted_ends_in_order_and_resumes(tmp_path):
    """Ctrl-C in a thread whose event loop runs already, as in a notebook."""
    slow = SlowTeacher(0.2)
    job = config(teacher=slow, limits={"concurrency": 1})
    loop = asyncio.new_event_loop()

    async def cell():
        started = threading.Thread(target=_press_when, args=(slow,))
        started.start()
        try:
            return rt.run(job, rows(20), tmp_path / "run", **QUIET)
        finally:
            started.join()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted):
            loop.run_until_complete(cell())
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
    asked = len(slow.requests)
    assert 0 < asked < 20
    slow._seconds = 0
    finished = rt.run(job, rows(20), tmp_path / "run", **QUIET)
    assert finished.summary.total == 20
    keys = [(request.reflection, request.pair_hash) for request in slow.requests]
    assert len(keys) == len(set(keys)), "nothing was paid for twice"


def _press_when(slow):
    while len(slow.requests) < 1:
        threading.Event().wait(0.01)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_a_cancelled_task_ends_in_order(tmp_path):
    """The directory is free again when the task has ended."""
    slow = SlowTeacher(0.2)

    async def cancelled():
        task = asyncio.ensure_future(rt.arun(config(teacher=slow), rows(5), tmp_path / "run", **QUIET))
        while not slow.requests:  # noqa: ASYNC110 - the teacher tells nobody
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert rt.run(config(teacher=slow), rows(5), tmp_path / "run", **QUIET).summary.total == 5


def test_progress_is_printed_unless_it_is_turned_off(tmp_path, capsys):
    """The lines of the command."""
    rt.run(config(), rows(2), tmp_path / "one", host=Host(only=[]))
    assert "writing to" in capsys.readouterr().out
    rt.run(config(), rows(2), tmp_path / "two", **QUIET)
    assert capsys.readouterr().out == ""


def test_the_notebook_runs_cell_by_cell(capsys, monkeypatch, tmp_path):
    """Inside a running event loop, as Jupyter runs it; it stores no outputs."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = json.loads((REPO / "docs" / "notebook.ipynb").read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names = {}

    async def all_cells():
        for cell in cells:
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)

    asyncio.run(all_cells())
    assert names["run"].summary.total == len(names["rows"]) == len(names["kept"])
    assert "writing to" in capsys.readouterr().out, "progress is shown"


def test_model_and_tokenizer_in_memory_score_as_their_folder(tmp_path):
    """To the last digit; another model is another student."""
    folder = tiny.save(tmp_path / "model", tiny.llama(512), tiny.tokenizer())
    given = {"preset": "selective-rt", "metrics": ["ifd"], **QUIET}
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    run_dir = tmp_path / "losses"
    in_memory = rt.score(rows(6), (model, tokens), run_dir=run_dir, **given)
    assert list(in_memory) == list(rt.score(rows(6), f"hf:{folder}", **given))
    same = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert list(rt.score(rows(6), (same, tokens), run_dir=run_dir, **given)) == list(in_memory)
    with torch.no_grad():
        same.lm_head.weight[0, 0] += 1
    with pytest.raises(ConfigError, match="student"):
        rt.score(rows(6), (same, tokens), run_dir=run_dir, **given)


ALPACA = Path(__file__).parents[2] / "shared" / "data" / "alpaca_500.json"


def test_real_rows_are_scored_as_by_the_command(rt_project):
    """500 rows of Alpaca, to the last digit."""
    if not ALPACA.exists():
        pytest.skip("needs the real rows")
    done = rt_project.rt("score", ALPACA, "--student", "fake", "--out", "scores.jsonl")
    assert done.code == 0, done.err
    table = rt.score(json.loads(ALPACA.read_text("utf-8")), student=FakeStudent(), **QUIET)
    assert list(table) == rt_project.records("scores.jsonl")
    assert len(table) == 500


def test_a_finished_run_may_be_read_and_dropped_in_another_thread(tmp_path):
    """Garbage is collected in whichever thread comes by, also in that of a later run."""
    held = [rt.run(config(), rows(3), tmp_path / "run", **QUIET)]
    found = []

    def elsewhere():
        found.extend(row["row"] for row in held[0].rows())
        held.clear()
        gc.collect()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [0, 1, 2]

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
from rt_framework.api import _job
from rt_framework.errors import BudgetReached, ConfigError, DataError, Interrupted
from rt_framework.ledger.ledger import Ledger
from rt_framework.plugin import Host
from rt_framework.testing import FakeStudent, ScriptedTeacher, SlowTeacher, rewriting
from tests import fakes_plugin
from tests import tiny_models as tiny
from tests.helpers import REPO
from tests.run_helpers import SELECTIVE, Priced, json_lines, rows, write_json

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
    """The kept rows are also written to files, and a second call asks the teacher nothing."""
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


def test_a_cell_that_is_interrupted_ends_in_order_and_resumes(tmp_path, capsys):
    """Ctrl-C in a thread whose event loop runs already, as in a notebook; both cells show their progress."""
    slow = SlowTeacher(0.2)
    job = config(teacher=slow, limits={"concurrency": 1})
    loop = asyncio.new_event_loop()

    async def cell():
        started = threading.Thread(target=_press_when, args=(slow,))
        started.start()
        try:
            return rt.run(job, rows(20), tmp_path / "run")
        finally:
            started.join()

    async def same_cell():
        return rt.run(job, rows(20), tmp_path / "run")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted):
            loop.run_until_complete(cell())
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
    asked = len(slow.requests)
    assert 0 < asked < 20
    assert "writing to" in capsys.readouterr().out
    slow._seconds = 0
    finished = asyncio.run(same_cell())
    assert "20 samples" in capsys.readouterr().out
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
FOUR_LINES = """\
import json, pathlib
import rt_framework as rt
rows = json.loads(pathlib.Path("data.json").read_text())
table = rt.score(rows, student=f"hf:{model}", metrics=["ifd"])
"""


@pytest.mark.model
@pytest.mark.parametrize("count", [6, pytest.param(500, marks=pytest.mark.slow)])
def test_real_rows_are_scored_in_four_lines_as_by_the_command(count, rt_project, smollm2_saved):
    """By the real model, to the last digit: 500 rows of Alpaca take minutes, six short ones of the demo seconds."""
    if count == 500 and not ALPACA.exists():
        pytest.skip("needs the real rows")
    data = json.loads((ALPACA if count == 500 else REPO / "demo/samples.json").read_text("utf-8"))
    by_length = sorted(data, key=lambda row: len(str(row)))
    rt_project.write("data.json", data if count == 500 else by_length[4 : count + 4])  # the shortest have no score
    done = rt_project.rt(
        "score", "data.json", "--student", f"hf:{smollm2_saved}", "--metric", "ifd", "--out", "s.jsonl"
    )
    assert done.code == 0, done.err
    names = {"model": smollm2_saved}
    exec(FOUR_LINES, names)
    assert list(names["table"]) == rt_project.records("s.jsonl")
    assert len(names["table"]) == count
    assert sum(line["status"] == "ok" for line in names["table"]) > count * 0.9


QUESTIONS = [{"q": row["instruction"], "a": row["output"], "input": row["input"]} for row in rows(5)]
COLUMNS = {"instruction": "q", "output": "a"}


def test_columns_and_shape_say_how_to_read_what_is_scored(rt_project):
    """As the options of the command, for rows and for files; and rows as they are say the same."""
    path = write_rows(rt_project.folder / "data.jsonl", 0)
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    told = ("--column", "instruction=q", "--column", "output=a", "--shape", "alpaca", "--format", "jsonl")
    done = rt_project.rt("score", path, "--student", "fake", *told, "--out", "s.jsonl")
    assert done.code == 0, done.err
    lines = rt_project.records("s.jsonl")
    assert list(rt.score(QUESTIONS, FakeStudent(), columns=COLUMNS, shape="alpaca", **QUIET)) == lines
    assert list(rt.score(path, FakeStudent(), columns=COLUMNS, shape="alpaca", format="jsonl", **QUIET)) == lines
    assert [line["metrics"] for line in rt.score(rows(5), FakeStudent(), **QUIET)] == [one["metrics"] for one in lines]


@pytest.mark.parametrize(
    ("reading", "kind", "line"),
    [
        ({}, DataError, "the columns fit no shape: found q, a, input"),
        ({"columns": {"instructions": "q"}}, ConfigError, "instructions"),
        ({"columns": COLUMNS, "shape": "messages"}, (ConfigError, DataError), "messages"),
        ({"columns": COLUMNS, "format": "csv"}, ConfigError, "data.format: rows in memory have no format"),
        ({"columns": COLUMNS, "split": "train"}, ConfigError, "data.split is for data sets of the hub"),
        ({"columns": "q"}, ConfigError, "data.columns: expected a mapping, not 'q'"),
        ({"colums": COLUMNS}, TypeError, "score() got an unexpected keyword argument 'colums'"),
        ({"path": "x"}, TypeError, "score() got an unexpected keyword argument 'path'"),
    ],
)
def test_what_does_not_fit_the_rows_is_one_line(reading, kind, line):
    """With the way out, before anything is scored."""
    student = FakeStudent()
    with pytest.raises(kind) as caught:
        rt.score(QUESTIONS, student, **reading, **QUIET)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    assert student.forward_passes == 0


@pytest.mark.parametrize("form", ["mapping", "file", "Config"])
def test_a_shard_has_its_share_of_the_budget(form, tmp_path):
    """However the config is given: all shards together never spend more than the budget."""
    data = rows(40)
    whole = rt.run(config(teacher=Priced()), data, tmp_path / "whole", **QUIET)
    budget, spent = whole.cost.dollars / 2, 0
    for number in (1, 2, 3, 4):
        folder, plain = tmp_path / f"{form}-{number}", {"shard": f"{number}/4"}
        job = config(teacher=Priced(), data=plain, limits={"budget_usd": budget, "concurrency": 1})
        if form == "Config":
            job = _job(Host(only=[]), job, data)[0]
        if form == "file":
            named = {
                **job,
                "teacher": "held:teacher",
                "student": "held:student",
                "data": {"path": "none.json", **plain},
            }
            fakes_plugin.HELD.update(teacher=job["teacher"], student=job["student"])
            job = write_json(tmp_path / "job.yaml", named)
        host = Host(modules=["tests.fakes_plugin"], only=[])
        with pytest.raises(BudgetReached, match="left of the budget"):
            rt.run(job, data, folder, host=host, **QUIET)
        with Ledger.reading(folder / "ledger.sqlite") as ledger:
            spent += (here := ledger.costs.spent())
        assert 0 < here <= budget * 1e9 / 4
    assert spent <= budget * 1e9


def test_shards_of_rows_are_the_whole(tmp_path):
    """Each row is in one shard."""
    parts = [
        rt.run(config(data={"shard": f"{number}/3"}), rows(20), tmp_path / str(number), **QUIET) for number in (1, 2, 3)
    ]
    whole = rt.run(config(), rows(20), tmp_path / "whole", **QUIET)
    kept = [row for part in parts for row in part.rows()]
    assert sorted(row["id"] for row in kept) == sorted(row["id"] for row in whole.rows())
    assert all(0 < part.summary.total < 20 for part in parts)


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

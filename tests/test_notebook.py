"""Runs in the cells of a real Jupyter kernel: progress, interruption and resumption."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.helpers import REPO

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

JOB = """\
import os
from pathlib import Path
import rt_framework as rt
from rt_framework.testing import FakeStudent, SlowTeacher

class Noting(SlowTeacher):
    async def complete(self, request):
        with open("asked.txt", "a") as file:
            file.write(f"{request.reflection} {request.pair_hash}\\n")
        return await super().complete(request)

Path("kernel").write_text(str(os.getpid()))
rows = [{"instruction": f"Name {n} things that float.", "input": "", "output": f"Boat {n}."} for n in range(20)]

def job(seconds):
    pipeline = [{"reflect": "response"}, {"choose": {"highest": "ifd"}}]
    return {"teacher": Noting(seconds), "student": FakeStudent(), "pipeline": pipeline, "limits": {"concurrency": 1}}
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> Iterator[Any]:
    """A kernel in an empty folder, and the client that sends it cells."""
    monkeypatch.setenv("PYTHONPATH", str(REPO), prepend=":")
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=120)
    with client.setup_kernel(cwd=str(tmp_path)):
        yield client


def ran(client, source: str) -> Any:
    """The cell after it was run, with its outputs."""
    client.nb.cells.append(nbformat.v4.new_code_cell(source))
    return client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)


def told(cell: Any) -> str:
    """All that a cell has printed."""
    shown = [output for output in cell["outputs"] if output["output_type"] in ("stream", "display_data")]
    return "".join(output.get("text") or output["data"]["text/plain"] for output in shown)


def test_the_notebook_of_the_pages_runs_in_a_kernel(tmp_path, monkeypatch):
    """As a reader runs it: no cell fails, and the run shows its progress below its cell."""
    monkeypatch.setenv("PYTHONPATH", str(REPO), prepend=":")
    notebook = nbformat.read(REPO / "docs/notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute(cwd=str(tmp_path))
    shown = [told(cell) for cell in notebook.cells if cell["cell_type"] == "code" and "rt.run(" in cell["source"]]
    assert len(shown) == 1
    assert "writing to" in shown[0] and "3 samples" in shown[0]


def test_a_cell_is_interrupted_and_resumed(kernel, tmp_path):
    """The button ends the run in order; the same cell goes on with it and asks nothing twice."""
    ran(kernel, JOB)
    asked = tmp_path / "asked.txt"
    pressing = threading.Thread(target=_press_when, args=(asked, int((tmp_path / "kernel").read_text())))
    pressing.start()
    with pytest.raises(nbclient.exceptions.CellExecutionError) as caught:
        ran(kernel, 'run = rt.run(job(0.5), rows, "run")')
    pressing.join()
    assert caught.value.ename == "Interrupted"
    before = asked.read_text().splitlines()
    assert 0 < len(before) < 20
    resumed = ran(kernel, 'run = rt.run(job(0), rows, "run")\nprint(run.summary.total, len(list(run.rows())))')
    assert "20 20" in told(resumed)
    lines = asked.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 20


def _press_when(asked: Path, kernel: int) -> None:
    """Interrupt the kernel, as the button does, as soon as the teacher has been asked twice."""
    while not asked.exists() or len(asked.read_text().splitlines()) < 2:
        time.sleep(0.05)
    os.kill(kernel, signal.SIGINT)

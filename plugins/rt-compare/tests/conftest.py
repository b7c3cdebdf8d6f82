"""The command line in the process of a test, in an empty folder, with fakes."""

from __future__ import annotations

import json
from functools import partial

import compare_parts
import pytest

RUN = """\
data:
  path: data.json
teacher: scripted
student: fake
pipeline:
  - reflect: instruction
  - choose: {highest: ifd}
  - reflect: response
  - choose: {lowest: r-ifd}
"""


@pytest.fixture
def rt(rt_project):
    """Calls ``rt`` in the folder of ``rt_project``, with the package as a plugin."""
    return partial(rt_project.rt, plugins=("rt_compare", "compare_parts"))


@pytest.fixture
def run(rt_project, rt):
    """Runs the data in ``data.json`` in ``runs/rt``, with these further stages."""

    def make(*stages, rows=None):
        if rows is not None:
            rt_project.write("data.json", rows)
        more = "".join(f"  - {json.dumps(stage)}\n" for stage in stages)
        rt_project.write("rt.yaml", RUN + more)
        done = rt("run", "rt.yaml")
        assert done.code == 0, done.err
        return done

    return make


@pytest.fixture
def found(rt, tmp_path):
    """Compares, and returns the content of the JSON file."""

    def make(*arguments):
        done = rt("compare", *arguments, "--out", "found.json", "--overwrite")
        assert (done.code, done.err) == (0, ""), done.err
        return json.loads((tmp_path / "found.json").read_text())

    return make


@pytest.fixture
def judge(rt, monkeypatch):
    """Compares ``a.json`` and ``b.json`` with a judge."""

    def call(teacher, *arguments):
        monkeypatch.setattr(compare_parts, "HELD", [teacher])
        return rt("compare", "a.json", "b.json", "--judge", "held", *arguments)

    return call

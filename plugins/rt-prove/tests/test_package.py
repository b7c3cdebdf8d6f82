"""The package as it is installed: its command, and what starting costs."""

from __future__ import annotations

import pytest

from rt_framework.testing.processes import environment, python

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "numpy", "scipy")


def test_the_command_is_listed_and_names_its_package(rt_project):
    assert "from rt-prove" in rt_project.rt("--help").out
    done = rt_project.rt("prove", "--help")
    assert done.code == 0 and "--held-out NAME=FILE" in done.words and "--unit I/N" in done.words


@pytest.mark.parametrize("arguments", [["--help"], ["prove", "--help"]])
def test_a_start_loads_nothing_heavy(arguments, tmp_path):
    """Help comes at once; help of all commands does not import the package."""
    code = f"""
import sys
sys.argv = {["rt", *arguments]}
from rt_framework.cli import main
try: main()
except SystemExit as end: assert not end.code
print("loaded:", sorted(set(sys.modules) & set({HEAVY})), "rt_prove" in sys.modules)
"""
    done = python(code, env=environment(), cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f"loaded: [] {arguments == ['prove', '--help']}", done.stderr

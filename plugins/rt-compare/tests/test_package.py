"""The package as it is installed: its checks by the command line, its command, and what starting costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OTHER = Path(__file__).with_name("held_out.jsonl")

HEAVY = ("torch", "transformers", "numpy", "scipy", "datasketch", "py3langid")


@pytest.mark.slow
def test_the_command_line_checks_the_package(rt):
    """The same checks, as a user makes them."""
    done = rt("plugins", "check", "rt_compare", "--options", f"against: [{OTHER}]")
    assert done.code == 0, done.out
    assert "0 checks failed, 0 of 1 parts were not checked" in done.out


def test_the_command_is_listed_and_names_its_package(rt):
    """Help lists it without an import, and its own help has its options."""
    assert "compare" in rt("--help").out and "from rt-compare" in rt("--help").out
    done = rt("compare", "--help")
    assert done.code == 0 and "--scores-a" in done.out and "--dry-run" in done.out
    assert "--judge-model" in rt("compare", "a", "b", "--judge", "hf:x", "--help").out


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["plugins", "list"]])
def test_a_start_loads_nothing_heavy(arguments, tmp_path):
    """Help comes at once; help of all commands does not import the package."""
    code = f"""
import sys
sys.argv = {["rt", *arguments]}
from rt_framework.cli import main
try: main()
except SystemExit as end: assert not end.code
print("loaded:", sorted(set(sys.modules) & set({HEAVY})), "rt_compare" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"loaded: [] {arguments == ['compare', '--help']}"

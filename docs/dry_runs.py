"""The dry runs that the gallery shows: ``python docs/dry_runs.py`` puts what ``rt`` prints today into the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parent / "gallery.md"
GALLERY = Path(__file__).parent / "gallery"
"""Folder of the configs, in which the commands of the page are called."""
PLUGINS = {"rt_vllm": Path(__file__).parent.parent / "plugins" / "rt-vllm"}
"""Plugins that a reader of the page has installed, with their folders."""

_BLOCK = re.compile(r"^```\n\$ rt ([^\n]*--dry-run)\n.*?^```$", re.MULTILINE | re.DOTALL)
_PROMPTS = re.compile(r"\A.*?^(?=\d+ samples?$)", re.MULTILINE | re.DOTALL)
_NOTES = re.compile(r"^(?:low: |\d+ calls are about rewrites that do not exist yet).*\n", re.MULTILINE)


def renewed(page: str, rt: Callable[[list[str]], str]) -> str:
    """Return the text of a page with what *rt* prints for the words of each dry run that the page shows."""
    return _BLOCK.sub(lambda block: f"```\n$ rt {block[1]}\n{shortened(rt(shlex.split(block[1])))}```", page)


def shortened(printed: str) -> str:
    """Leave out the prompts, which come first, and the notes on low and high, which are the same for every config."""
    lines = _NOTES.sub("", _PROMPTS.sub("", printed)).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def with_plugins(words: list[str]) -> list[str]:
    """Return the words of a command that loads the plugins, whether or not they are installed."""
    return [*(word for plugin in PLUGINS for word in ("-p", plugin)), *words]


def _called(words: list[str]) -> str:
    command = [sys.executable, "-c", "from rt_framework.cli import main; main()", *with_plugins(words)]
    path = os.pathsep.join([*map(str, PLUGINS.values()), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=GALLERY, env=env, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return done.stdout


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), _called), "utf-8")

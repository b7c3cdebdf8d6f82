"""Names on the command line: a shell completes them, and help lists them, without an import of any installed plugin."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from rt_framework.cli import _COMMANDS, rt
from rt_framework.data import SHAPES
from rt_framework.errors import KINDS
from rt_framework.export import PACKS
from rt_framework.jobs.scaffold import KINDS as PARTS
from rt_framework.plugin import Host
from rt_framework.scoring import PRESETS
from tests.helpers import REPO, Cli, install

BUILT_IN = Host(only=()).registry.names


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """The command line, with a plugin and a command installed whose import would be noted."""
    note = f"from pathlib import Path\nPath({str(tmp_path / 'imported')!r}).touch()\n"
    install(tmp_path / "site", "rt-far", {"rt_far": note}, {"far-plugin": "rt_far"})
    command = {"rt_far_command": note}
    install(tmp_path / "site", "rt-farther", command, {"farther": "rt_far_command:c"}, group="rt_framework.commands")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    yield Cli(monkeypatch, capfd)
    assert not (tmp_path / "imported").exists()


@pytest.fixture
def complete(cli, monkeypatch):
    """Ask as Bash does for the words that fit at the end of a line."""

    def ask(line: str) -> list[str]:
        words = line.split()
        monkeypatch.setenv("_RT_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - (not line.endswith(" "))))
        done = cli(plugin=False)
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return ask


def plain(*names: str) -> list[str]:
    """Words as Click prints them for Bash."""
    return [f"plain,{name}" for name in names]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("rt ", [*_COMMANDS, "farther"]),
        ("rt re", ["retry", "reparse", "reflect", "report", "review"]),
        ("rt --deb", ["--debug"]),
        ("rt farther ", []),
        ("rt score --metric ", BUILT_IN("metrics")),
        ("rt score data.json --metric r", ["r-ifd", "r-ifd-loss", "r-ifd-novel"]),
        ("rt -p no:far-plugin score --preset ", PRESETS),
        ("rt score --template ", BUILT_IN("templates")),
        ("rt score --executor ", BUILT_IN("executors")),
        ("rt score --student ", BUILT_IN("students")),
        ("rt score --format j", ["json", "jsonl"]),
        ("rt score --shape ", SHAPES),
        ("rt score --met", ["--metric"]),
        ("rt reflect --teacher ", BUILT_IN("teachers")),
        ("rt reflect --reflection ", BUILT_IN("reflections")),
        ("rt select --by ", ["echo-matched", "length-matched", "random", "threshold", "top"]),
        ("rt run --reporter ", BUILT_IN("reporters")),
        ("rt retry --kind int", ["interrupted_unknown"]),
        ("rt export --pack ", PACKS),
        ("rt plugins ", ["check", "list", "new", "show"]),
        ("rt plugins show f", ["far-plugin"]),
        ("rt plugins check far", ["far-plugin"]),
        ("rt plugins new --kind s", ["selector", "stage", "student"]),
        ("rt plugins check --only m", ["metric"]),
    ],
)
def test_a_name_is_completed(complete, line, names):
    """The names of built-in parts are offered, and those of installed plugins and commands by their metadata."""
    assert sorted(complete(line)) == sorted(plain(*names))


@pytest.mark.parametrize(
    "line", ["rt run ", "rt -p ./", "rt score --out ", "rt status ", "rt report runs/", "rt merge a b "]
)
def test_a_path_is_left_to_the_shell(complete, line):
    """The answer says that files and directories are wanted."""
    (answer,) = complete(line)
    assert answer.startswith("file,")


def test_a_line_that_is_wrong_is_no_error(complete):
    """The rest of it is completed as far as it can be understood."""
    assert plain("score")[0] in complete("rt scroe --metric ")
    assert complete("rt score --student none:x --metric pp") == plain("ppl")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(cli, monkeypatch, shell):
    """By the line that the documentation gives."""
    monkeypatch.setenv("_RT_COMPLETE", f"{shell}_source")
    done = cli(plugin=False)
    assert done.code == 0 and f"_RT_COMPLETE={shell}_complete" in done.out
    page = (REPO / "docs/reference/cli.md").read_text("utf-8")
    assert f"_RT_COMPLETE={shell}_source rt" in page


def test_bash_completes(cli, tmp_path):
    """The script, in a real shell, with the command itself behind it."""
    code = f"{sys.executable} -c 'from rt_framework.cli import main; main()'"
    (tmp_path / "rt").write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {code} "$@"\n')
    (tmp_path / "rt").chmod(0o755)
    script = (
        'eval "$(_RT_COMPLETE=bash_source rt)"; COMP_WORDS=(rt score --metric r-) COMP_CWORD=3; _rt_completion rt; '
    )
    shell = ["bash", "--norc", "-c", f'PATH="{tmp_path}:$PATH"; {script} echo "${{COMPREPLY[@]}}"']
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["r-ifd", "r-ifd-loss", "r-ifd-novel"]


def test_nothing_heavy_is_loaded_for_a_completion(tmp_path):
    """A user who presses the tab key waits for the answer."""
    code = (
        "import os, sys\nos.environ.update(_RT_COMPLETE='bash_complete', COMP_WORDS='rt score --', COMP_CWORD='2')\n"
        "from rt_framework.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        "print({'rt_framework.scoring', 'rt_framework.data', 'torch', 'yaml', 'rich', 'asyncio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "plain,--metric" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


# --- help -------------------------------------------------------------------------------------


NAMES = {
    "metrics": BUILT_IN("metrics"),
    "preset": PRESETS,
    "template": BUILT_IN("templates"),
    "student": BUILT_IN("students"),
    "teacher": BUILT_IN("teachers"),
    "judge": BUILT_IN("teachers"),
    "reflection": BUILT_IN("reflections"),
    "executor": BUILT_IN("executors"),
    "by": ["echo-matched", "length-matched", "random", "threshold", "top"],
    "format_": BUILT_IN("formats"),
    "shape": SHAPES,
    "reporter_names": BUILT_IN("reporters"),
    "pack": PACKS,
}
"""The names that an option takes, by the name that Click gives the option's value."""


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_lists_the_names_that_an_option_takes(cli, name):
    """In every command that has the option, from the registry; what is installed besides is not imported for it."""
    command = rt.get_command(click.Context(rt), name)
    text = "".join(cli(name, "--help", plugin=False).out.split())  # without the breaks of its lines
    for option in command.params:
        if option.name in NAMES:
            assert f"Builtin:{','.join(NAMES[option.name])}." in text, option.name


def test_help_lists_the_kinds_of_part_of_a_new_package(cli):
    """The kinds of plugin, and commands."""
    assert ", ".join(PARTS) in cli("plugins", "new", "--help", plugin=False).words


def test_kinds_of_failure_are_completed(complete):
    """All of them."""
    assert sorted(complete("rt retry --kind ")) == sorted(plain(*KINDS))

"""With every kind of broken plugin installed: what does not use them works, and what does names them."""

from __future__ import annotations

import pytest

from tests.helpers import Cli, install, rows, rt, the_error, write_json

HOOK = "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrics(register):\n    "

BROKEN = {
    "raises": (
        "raise RuntimeError('a plugin broke')",
        "plugin 'raises' 1.0 failed in import: RuntimeError: a plugin broke",
    ),
    "exits": ("import sys\nsys.exit(7)", "plugin 'exits' 1.0 failed in import: SystemExit: 7"),
    "misspelt": (HOOK.replace("metrics", "metrisc") + "pass", "unknown hook 'rt_register_metrisc'. Did you mean"),
    "defaults": (HOOK.replace("(register)", "(register=None)") + "pass", "argument 'register' has a default"),
    "arguments": (HOOK.replace("(register)", "(registry)") + "pass", "'register', but takes registry"),
    "nothing": (HOOK.replace("(register)", "()") + "pass", "must take the argument 'register', but takes nothing"),
    "old": (f"RT_PLUGIN_API = (0, 1)\n{HOOK}pass", "failed in version: PluginError: written for plugin API 0.1"),
    "newer": (f"RT_PLUGIN_API = (3, 0)\n{HOOK}pass", "this is 2.0: update rt-framework"),
    "clash": (
        f"{HOOK}register('loss', 'rt_framework.builtin.metrics.plain:MeanLoss', help='the name of a built-in')",
        "it offers the metric 'loss', which is the name of a built-in one; give it another name",
    ),
    "settings": (f"{HOOK}register('odd', 'm:M', settings=dict)", "settings of 'odd' are no attrs class"),
}
"""Source of a plugin by its name, and a part of what is said of it."""

SOUND = {
    "lost": f"{HOOK}register('lost-metric', 'no_such_module_here:Metric', help='a target that does not exist')",
    "leaver": f"{HOOK}register('leaver-metric', 'rt_broken_exits:Metric', help='a target that exits')",
    "unclear": (
        f"from attrs import frozen\n@frozen\nclass Unclear:\n    rows: 'NoSuchType' = 1\n\n{HOOK}"
        "register('unclear-metric', 'rt_broken_unclear:Unclear', settings=Unclear)"
    ),
    "one": f"{HOOK}register('both', 'rt_framework.builtin.metrics.plain:MeanLoss', help='as two does')",
    "two": f"{HOOK}register('both', 'rt_framework.builtin.metrics.plain:Length', help='as one does')",
}
"""Plugins that load, and fail when what they offer is used."""

COMMANDS = [
    ["score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "again.jsonl"],
    [
        "select",
        "data.json",
        "--scores",
        "s.jsonl",
        "--by",
        "top",
        "--by-metric",
        "ifd",
        "--by-count",
        "2",
        "--out",
        "b.json",
    ],
    ["reflect", "data.json", "--teacher", "scripted", "--out", "r.json"],
    ["run", "rt.yaml"],
    ["run", "rt.yaml", "--dry-run"],
    ["pilot", "rt.yaml", "-n", "2"],
    ["retry", "rt.yaml", "--kind", "refused"],
    ["reparse", "rt.yaml"],
    ["status", "runs/rt"],
    ["explain", "runs/rt", "0"],
    ["export", "runs/rt", "--out", "kept.csv"],
    ["init", "--out", "new.yaml"],
    ["plugins", "list"],
    ["plugins", "show", "ifd"],
    ["plugins", "show", "lost"],
    ["plugins", "new", "rt-fresh"],
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory with all of them installed, and a command that raises."""
    site = tmp_path_factory.mktemp("site")
    for name, code in {**{name: code for name, (code, _) in BROKEN.items()}, **SOUND}.items():
        install(site, f"rt-{name}", {f"rt_broken_{name}": code}, {name: f"rt_broken_{name}"})
    command = {"rt_broken_command": "raise RuntimeError('no command')"}
    install(site, "rt-command", command, {"smash": "rt_broken_command:command"}, group="rt_framework.commands")
    body = "def command():\n    'Print late.'\n    raise RuntimeError('too late')"
    late = {"rt_late_command": f"import click\n@click.command()\n{body}"}
    install(site, "rt-late", late, {"late": "rt_late_command:command"}, group="rt_framework.commands")
    return site


@pytest.fixture
def cli(site, tmp_path, monkeypatch, capfd):
    """The command line where all of them are installed, with a run and scores that are there already."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(5))
    scoring = {"preset": "selective-rt"}
    parts = {"data": {"path": "data.json"}, "teacher": "scripted", "student": "fake", "scoring": scoring}
    write_json(tmp_path / "rt.yaml", {**parts, "pipeline": [{"reflect": "response"}, {"choose": {"highest": "ifd"}}]})
    rt = Cli(monkeypatch, capfd)
    assert rt("run", "rt.yaml").code == 0
    assert rt("score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl").code == 0
    monkeypatch.delenv("RT_LOAD_PLUGINS")
    monkeypatch.syspath_prepend(site)
    return rt


def test_every_command_that_does_not_use_them_works(cli):
    """And every help is shown, and no plugin's failure in it."""
    for command in COMMANDS:
        done = cli(*command)
        assert done.code == 0, (command, done)
        assert "broke" not in done.out + done.err
    for name in dict.fromkeys(command[0] for command in COMMANDS):
        done = cli(name, "--help")
        assert done.code == 0 and done.err == ""


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_is_used_is_named(cli, name):
    """The plugin is named by ``rt plugins show``, by the error about an unknown metric, and by ``rt doctor``."""
    message = BROKEN[name][1]
    assert message in the_error(cli("plugins", "show", name))
    error = the_error(cli("score", "data.json", "--student", "fake", "--metric", "odd", "--out", "o.jsonl"))
    assert error.startswith("unknown metric 'odd'.") and f"plugin '{name}' 1.0 failed" in error
    assert f"plugin '{name}' 1.0 failed" in cli("doctor").words


def test_what_fails_when_it_is_used_is_named(cli, site):
    """A target that does not exist, or exits; unclear settings; a name of two plugins; commands."""
    score = ("score", "data.json", "--student", "fake", "--out", "o.jsonl", "--metric")
    error = the_error(cli(*score, "lost-metric"))
    assert error.startswith("metric 'lost-metric' of plugin 'lost' failed to load from no_such_module_here:Metric: ")
    error = the_error(cli(*score, "leaver-metric"))
    assert error.startswith("metric 'leaver-metric' of plugin 'leaver' failed to load from rt_broken_exits:Metric: Sys")
    error = the_error(cli("plugins", "show", "unclear"))
    assert error.startswith("metric 'unclear-metric' of plugin 'unclear' has settings that cannot be read: NameError")
    assert cli(*score, "loss").code == 0
    error = the_error(cli(*score, "both"))
    assert error == "metric 'both' is offered by plugins 'one' and 'two'; leave one out with -p no:NAME"
    assert cli("-p", "no:two", *score, "both").code == 0
    assert the_error(cli("smash")).startswith("command 'smash' of package 'rt-command' failed to load from rt_broken")
    assert cli("late", "--help").code == 0
    place = f"(at {site}/rt_late_command.py:5)"
    assert the_error(cli("late")) == f"command 'late' of package 'rt-late' failed: RuntimeError: too late {place}"


def test_strict_refuses_the_first(cli):
    """Each look-up of a part ends with the error of the first broken plugin."""
    assert the_error(cli("--strict-plugins", "run", "rt.yaml")).startswith("plugin '")


def test_in_a_process_of_its_own(cli, site, tmp_path):
    """As a user meets it: help and list import none, and a run goes through."""
    assert rt("--help", cwd=tmp_path, path=[site]).code == 0
    listed = rt("plugins", "list", cwd=tmp_path, path=[site])
    assert listed.code == 0 and listed.err == ""
    assert "raises rt-raises 1.0" in listed.words
    done = rt("-p", "tests.helpers", "run", "rt.yaml", cwd=tmp_path, path=[site])
    assert done.code == 0, done


def test_all_that_is_installed_can_be_listed(cli, site):
    """Each part with its package; a plugin that does not load is one line with the reason, and hides no other."""
    listed = cli("plugins", "list")
    assert "smash rt-command 1.0" in listed.words and "late rt-late 1.0" in listed.words
    assert "broke" not in listed.out
    done = cli("plugins", "list", "--load")
    assert (done.code, done.err) == (0, "")
    assert "metric leaver-metric a target that exits rt-leaver 1.0" in done.words
    assert "metric both as one does rt-two 1.0" in done.words and "metric both as two does rt-one 1.0" in done.words
    assert "command late Print late. rt-late 1.0" in done.words
    lines = done.out.splitlines()
    for name, (_, message) in BROKEN.items():
        (line,) = [line for line in lines if line.startswith(f"plugin '{name}' 1.0 failed")]
        assert message in line
    (smash,) = [line for line in lines if line.startswith("command 'smash' of package 'rt-command' failed to load")]
    assert smash.endswith(f"RuntimeError: no command (at {site}/rt_broken_command.py:1)")
    assert "ifd-loss" not in done.out  # what is built in is in the list without --load


def test_what_a_module_of_the_user_offers_is_listed_too(tmp_path, monkeypatch, capfd):
    """Under its own name, since no package has brought it; where nothing is installed, nothing else is in the list."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(f"{HOOK}register('mine', 'rt_framework.builtin.metrics.plain:Length', help='m')")
    done = Cli(monkeypatch, capfd)("-p", "./mine.py", "plugins", "list", "--load", plugin=False)
    assert "metric mine m mine" in done.words


CURIOUS = """
from rt_framework import hookimpl

class Curious:
    suffixes = (".curious",)

    def detect(self, path):
        raise {error}

    def read(self, path):
        return iter([])

    def write(self, path, rows): ...

class Broken(Curious):
    def __init__(self):
        raise OSError("no such library")

@hookimpl
def rt_register_formats(register):
    register("curious", "curious:Curious")
    register("broken", "curious:Broken")
"""


@pytest.mark.parametrize("error", ["ValueError('no\\nheader')", "SystemExit(3)", "RecursionError()", "UnicodeError()"])
def test_a_format_that_fails_to_look_at_a_file_is_named_and_skipped(error, tmp_path, monkeypatch, capfd, caplog):
    """The others go on; where none of them takes the file, the error names it too. So is one that cannot be made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    (tmp_path / "curious.py").write_text(CURIOUS.format(error=error))
    write_json(tmp_path / "data.json", rows(2))
    (tmp_path / "data.strange").write_text("?")
    cli = Cli(monkeypatch, capfd)
    score = ("--student", "fake", "--metric", "ppl", "--preset", "selective-rt", "--out", "s.jsonl")
    done = cli("-p", "curious", "score", "data.json", *score)
    told = [record.getMessage() for record in caplog.records]
    failed = cli("-p", "curious", "score", "data.strange", *score).error()
    assert done.code == 0, done
    name = error.partition("(")[0]
    assert any(line.startswith(f"format 'curious' of curious failed to look at data.json: {name}") for line in told)
    assert any(
        "format 'broken' is left out: format 'broken' of plugin 'curious' failed to start" in line for line in told
    )
    assert "\n" not in "".join(told)
    assert failed.startswith("data.strange: unknown format")
    assert f"Note: format 'curious' of curious failed to look at data.strange: {name}" in failed

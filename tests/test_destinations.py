"""Nothing that this program did not make is replaced or removed: every command, every option that names an output."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
from filelock import FileLock

from rt_framework.cli import _COMMANDS, main, rt
from rt_framework.data.destinations import RUN_FILES as RUN_PATTERNS
from rt_framework.data.destinations import Destination, check, claim
from rt_framework.data.marks import MARK
from rt_framework.data.replacing import ROOM, whole
from rt_framework.data.rows import write_records
from rt_framework.data.source import Source
from rt_framework.errors import ConfigError, DiskError, PluginError
from rt_framework.events import Progress
from rt_framework.jobs import install_checks as checks
from rt_framework.ledger import readable
from rt_framework.ledger.ledger import Ledger
from rt_framework.rundir import directory as rundir
from rt_framework.rundir import live_state as snapshot
from rt_framework.testing import FakeStudent
from tests.helpers import CONFIG, PLUGIN, REPO, Cli, json_lines, rows, write_json
from tests.run_helpers import SELECTIVE, go, job

TOP = "{top: {metric: ifd, count: 2}}"
LONG = "x" * 5000

INPUTS: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("score", "data"): lambda at: ["score", at, "--student", "fake", "--out", "new.jsonl"],
    ("reflect", "data"): lambda at: ["reflect", at, "--teacher", "scripted", "--out", "new.json"],
    ("reflect", "prompt"): lambda at: ["reflect", "data.json", "--prompt", at, "--show"],
    ("answer", "data"): lambda at: ["answer", at, "--student", "fake", "--out", "new.json"],
    ("select", "data"): lambda at: ["select", at, "--scores", "s.jsonl", "--by", TOP, "--out", "new.json"],
    ("select", "scores"): lambda at: ["select", "data.json", "--scores", at, "--by", TOP, "--out", "new.json"],
    ("export", "place"): lambda at: ["export", at, "--out", "new.json"],
    ("answers", "run_dir"): lambda at: ["answers", at],
    ("answers", "check"): lambda at: ["answers", "run", "--check", at],
    ("report", "run_dirs"): lambda at: ["report", at, "--out", "new.html"],
    ("status", "run_dir"): lambda at: ["status", at],
    ("samples", "run_dir"): lambda at: ["samples", at],
    ("explain", "run_dir"): lambda at: ["explain", at, "0"],
    ("review", "run_dir"): lambda at: ["review", at],
    ("doctor", "subject"): lambda at: ["doctor", at],
    ("init", "data"): lambda at: ["init", at, "--out", "new"],
    ("run", "config"): lambda at: ["run", at],
    ("pilot", "config"): lambda at: ["pilot", at],
    ("retry", "config"): lambda at: ["retry", at, "--kind", "truncated"],
    ("reparse", "config"): lambda at: ["reparse", at],
    ("merge", "config"): lambda at: ["merge", at, "new", "shard1", "shard2"],
    ("merge", "shards"): lambda at: ["merge", "rt.yaml", "new", "shard1", at],
    ("salvage", "run_dir"): lambda at: ["salvage", at, "new"],
}
"""A command line for every path that is read."""

FILES: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("score", "out"): lambda at: ["score", "data.json", "--student", "fake", "--metric", "ifd", "--out", at],
    ("reflect", "out"): lambda at: ["reflect", "data.json", "--teacher", "scripted", "--out", at],
    ("answer", "out"): lambda at: ["answer", "data.json", "--student", "fake", "--out", at],
    ("select", "out"): lambda at: ["select", "data.json", "--scores", "s.jsonl", "--by", TOP, "--out", at],
    ("select", "dropped"): lambda at: [*FILES["select", "out"]("new.json"), "--dropped", at],
    ("export", "out"): lambda at: ["export", "run", "--out", at],
    ("answers", "export"): lambda at: ["answers", "run", "--export", at],
    ("report", "out"): lambda at: ["report", "run", "--out", at],
    ("init", "out"): lambda at: ["init", "--out", at],
    ("init", "prompt"): lambda at: ["init", "--prompt", at],
    ("run", "reporter_names"): lambda at: ["run", "rt.yaml", "--run-dir", "new", "--reporter", f"jsonl:{at}"],
}
"""A command line for every file or folder that is written where the user says."""

FOLDERS: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("export", "--format dataset"): lambda at: [*FILES["export", "out"](at), "--format", "dataset"],
    ("export", "--pack"): lambda at: [*FILES["export", "out"](at), "--pack", "trl"],
    ("export", "--hub-folder"): lambda at: [*FILES["export", "out"](at), "--hub-folder", "--license", "other"],
}
"""The same for what writes a folder there."""

RUNS: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("run", "run_dir"): lambda at: ["run", "rt.yaml", "--run-dir", at],
    ("pilot", "run_dir"): lambda at: ["pilot", "rt.yaml", "-n", "2", "--run-dir", at],
    ("retry", "run_dir"): lambda at: ["retry", "rt.yaml", "--kind", "truncated", "--run-dir", at],
    ("reparse", "run_dir"): lambda at: ["reparse", "rt.yaml", "--run-dir", at],
    ("merge", "out"): lambda at: ["merge", "rt.yaml", at, "shard1", "shard2"],
    ("salvage", "out"): lambda at: ["salvage", "run", at],
}
"""The same for run directories."""

OVERWRITING = {"score", "reflect", "answer", "answers", "select", "export", "report"}

LEDGER_FILES = ("ledger.sqlite", "ledger.sqlite-seal", "ledger.sqlite-wal")
RUN_FILES = (*LEDGER_FILES, "run.lock", "manifest.json", "scores.jsonl", "kept.json", "kept.new", ".rt-framework")


# --- the stage --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, what a run, its shards and ``rt score`` left, and things of others in many forms."""
    place = tmp_path_factory.mktemp("stage")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [*sys.path])
        _fill(place)
        commands = [
            ["score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl"],
            ["run", "rt.yaml", "--run-dir", "run"],
            *(["run", "rt.yaml", "--shard", f"{part}/2", "--run-dir", f"shard{part}"] for part in (1, 2)),
            ["export", "run", "--out", "pack", "--pack", "trl"],
        ]
        for command in commands:
            patch.setattr(sys, "argv", ["rt", "-p", PLUGIN, *command])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code, command
    return place


def _fill(place: Path) -> None:
    """Make the files that are there before any command: data, a config, and things of others in many forms."""
    write_json(place / "data.json", rows(6))
    write_json(place / "other.json", [row | {"output": f"{row['output']} Indeed."} for row in rows(6)])
    (place / "rt.yaml").write_text(CONFIG)
    (place / "theirs.txt").write_text("a thesis")
    (place / "theirs").mkdir()
    (place / "theirs" / "thesis.tex").write_text("a thesis")
    (place / "taken").mkdir()
    for name in ("kept.json", "scores.jsonl", "manifest.json"):
        (place / "taken" / name).write_text("a thesis")
    for name in ("run.lock", "run.owner", "ledger.sqlite-seal", ".merging.sqlite-notes", ".readable.sqlite"):
        (place / f"with {name}").mkdir()
        (place / f"with {name}" / name).write_text("a thesis")
    (place / "leading").mkdir()
    (place / "leading" / "ledger.sqlite").symlink_to("../theirs.txt")
    (place / "books").mkdir()
    with sqlite3.connect(place / "books" / "ledger.sqlite") as db:
        db.execute("CREATE TABLE books (title TEXT)")
    db.close()
    os.mkfifo(place / "pipe")
    os.link(place / "data.json", place / "hard.json")
    (place / "link").symlink_to("theirs.txt")
    (place / "dangling").symlink_to("nowhere")
    (place / "folder-link").symlink_to("theirs")


def tree(place: Path) -> dict[str, str]:
    """Everything in a folder: kinds, contents and where links lead."""
    found = {}
    for path in sorted(place.rglob("*")):
        mode = path.lstat().st_mode
        content = (
            path.read_bytes() if stat.S_ISREG(mode) else os.fsencode(path.readlink()) if path.is_symlink() else b""
        )
        found[str(path.relative_to(place))] = f"{stat.S_IFMT(mode):o} {hashlib.sha256(content).hexdigest()}"
    return found


@pytest.fixture
def refused(stage, monkeypatch, capfd) -> Callable[[list[str]], str]:
    """Runs a command that has to be refused: one line, exit code 2 or 5, no data is read, and nothing is changed."""
    monkeypatch.chdir(stage)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    monkeypatch.setattr(Source, "read_through", lambda *_: pytest.fail("the data is read before it is refused"))
    monkeypatch.setattr(checks, "check_device", lambda: iter(()))  # and to import torch
    cli, before = Cli(monkeypatch, capfd), tree(stage)

    def refuse(command: list[str]) -> str:
        done = cli(*command)
        assert done.code in (2, 5), (command, done)
        error = done.error(done.code)
        assert tree(stage) == before, command
        assert stat.S_ISCHR(Path(os.devnull).stat().st_mode) and not Path(f"{os.devnull}.rt").exists()
        return error

    return refuse


# --- the matrix -------------------------------------------------------------------------------


def _paths(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Every parameter that is a path, of a command and of those below it."""
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from _paths(one, f"{name} {inner}")
    yield from ((name, str(one.name)) for one in command.params if isinstance(one.type, click.Path))


def test_every_path_of_every_command_is_in_the_matrix():
    """A new option that names a file has to say here whether it is read or written."""
    context = click.Context(rt)
    commands = {name: rt.get_command(context, name) for name in _COMMANDS}
    found = {pair for name, command in commands.items() for pair in _paths(command, name)}
    known = {*INPUTS, *FILES, *RUNS}
    assert found == known - {("run", "reporter_names")}
    with_flag = {name for name, command in commands.items() if any(one.name == "overwrite" for one in command.params)}
    assert with_flag == OVERWRITING


def cases(lines: dict[tuple[str, str], Callable[[str], list[str]]]) -> pytest.MarkDecorator:
    """Each command line of a table as a case."""
    return pytest.mark.parametrize("line", lines.values(), ids=[" ".join(key) for key in lines])


def forced(line: list[str]) -> list[str]:
    """A command line, with ``--overwrite`` where there is the flag."""
    return [*line, "--overwrite"] if line[0] in OVERWRITING else line


@pytest.mark.parametrize(
    "at",
    [
        *("data.json", "hard.json", "./run/../data.json"),
        *(f"run/{name}" for name in RUN_FILES),
        *("run/pilot/x.json", "shard1/dropped.csv"),
        *("run", "theirs", "pack/README.md", "theirs.txt/x.json", "new.json/../run"),
        *("/dev/null", "pipe", "link", "dangling", "leading/ledger.sqlite"),
        *(".", "..", LONG, f"{LONG[:300]}/x.json", "sub/" * 1200 + "x.json"),
    ],
    ids=lambda at: at[:30],
)
@cases({**FILES, **FOLDERS})
def test_an_output_is_never_something_of_another(line, at, refused):
    """An input, a file of a run directory, a folder, a link, a device: not even with ``--overwrite``."""
    if line is FILES["run", "reporter_names"] and at == "pipe":
        pytest.skip("events may go to a FIFO")
    error = refused(forced(line(at)))
    assert at not in {"link", "dangling"} or "is a link, and rt does not write through links" in error


@pytest.mark.parametrize("at", ["theirs.txt", "other.json", "rt.yaml"])
@cases({**FILES, **FOLDERS})
def test_a_file_that_is_there_stays(line, at, refused):
    """Unless it is recorded as ours; the line says which option lets it go, where there is one."""
    error = refused(line(at))
    if line("")[0] in OVERWRITING:
        assert error == f"{at}: exists already; name another place with " + error.rpartition(" with ")[2]
        assert error.endswith(", or give --overwrite to replace it")


@cases({key: line for key, line in FILES.items() if key[0] == "select"})
def test_scores_that_are_read_stay(line, refused):
    """Even with ``--overwrite``: they are an input."""
    assert "is an input of this command" in refused(forced(line("s.jsonl")))


@pytest.mark.parametrize(
    "at",
    [
        *("data.json", "s.jsonl", "run/ledger.sqlite", "theirs.txt", "link", "dangling", "pipe", "/dev/null"),
        *("taken", "with run.lock", "with run.owner", "with ledger.sqlite-seal", "with .merging.sqlite-notes"),
        *("with .readable.sqlite", "leading", "books", "pack", "run/pilot", "run/kept", "shard1/dropped"),
        *(LONG, f"{LONG[:300]}/run", "theirs.txt/run"),
    ],
    ids=lambda at: at[:30],
)
@cases(RUNS)
def test_a_run_directory_is_never_something_of_another(line, at, refused):
    """A file, a device, an output of ours, and a folder with files of others where a run writes its own."""
    refused(line(at))


@pytest.mark.parametrize(
    "command",
    [
        ["run", "rt.yaml", "--run-dir", "shard1"],
        ["merge", "rt.yaml", "run", "shard1", "shard2"],
        ["merge", "rt.yaml", "shard1", "shard1", "shard2"],
        ["run", "rt.yaml", "--run-dir", "s.jsonl.rt"],
        ["salvage", "shard1", "run"],
        ["salvage", "shard1", "shard1"],
    ],
    ids=" ".join,
)
def test_the_run_directory_of_another_job_stays(command, stage, monkeypatch, capfd):
    """It is opened to see what it stands on; its ledger, the seal of it and every other file are as they were."""
    monkeypatch.chdir(stage)
    before = tree(stage)
    Cli(monkeypatch, capfd)(*command).error()
    assert tree(stage) == before


def test_calls_under_way_of_another_job_stay_so(stage, tmp_path, cli):
    """A run that was killed is taken up by a run of the same job, and by nobody before that is clear."""
    book = shutil.copytree(stage / "shard1", tmp_path / "killed") / "ledger.sqlite"
    book.with_name("ledger.sqlite-seal").unlink()  # the ledger is changed here, as a run does that is killed
    with sqlite3.connect(book) as db:
        db.execute("INSERT INTO attempts (call, state, reserved) SELECT call, 'intent', 1000 FROM attempts LIMIT 1")
    db.close()
    before = _dump(book)
    assert "was started with other settings" in cli("run", "rt.yaml", "--run-dir", "killed").error()
    assert _dump(book) == before
    ok(cli, "run", "rt.yaml", "--shard", "1/2", "--run-dir", "killed")
    assert _dump(book) != before


def _dump(book: Path) -> list[str]:
    db = sqlite3.connect(f"{book.as_uri()}?mode=ro", uri=True)
    try:
        return list(db.iterdump())
    finally:
        db.close()


@pytest.mark.parametrize(
    "command",
    [
        [*FILES["select", "out"]("new.json"), "--dropped", "new.json"],
        [*FILES["select", "out"]("new.json"), "--dropped", "run/../new.json"],
        FILES["run", "reporter_names"]("new/kept.json"),
        FILES["run", "reporter_names"]("new/ledger.sqlite"),
        [*FILES["run", "reporter_names"]("new.jsonl"), "--reporter", "jsonl:new.jsonl"],
    ],
    ids=" ".join,
)
def test_two_outputs_are_two_places(command, refused):
    """One would have replaced the other."""
    refused(command)
    refused(forced(command))


def test_a_run_directory_in_the_place_of_a_folder_is_told_as_that(stage):
    """And is replaced by no option."""
    with pytest.raises(ConfigError, match="is a run directory, which is never replaced"):
        check(Destination(stage / "run", kind="folder", overwrite=True))


def test_an_output_within_another_or_under_its_second_name_is_refused(tmp_path):
    """In either order: the folder would go with what was just written into it, the file would be written twice."""
    (tmp_path / "a.json").write_text("")
    os.link(tmp_path / "a.json", tmp_path / "b.json")
    folder, inside = Destination(tmp_path / "set", kind="folder"), Destination(tmp_path / "set" / "rest.jsonl")
    one, other = (Destination(tmp_path / name, overwrite=True) for name in ("a.json", "b.json"))
    for both in ((folder, inside), (inside, folder), (one, other)):
        with pytest.raises(ConfigError, match="is, or lies in, another output of this command"):
            claim(both)


def test_data_in_its_own_run_directory_stays(refused):
    """A run reads ``kept.json`` and would write it."""
    command = ["run", "rt.yaml", "--set", "data.path=run/kept.json", "--run-dir", "run"]
    assert "run/kept.json: is an input of this command" in refused(command)


@cases(INPUTS)
def test_a_path_that_no_system_can_have_is_one_line(line, refused):
    """Wherever it is given."""
    refused(line(LONG))


def test_a_path_in_a_config_that_no_system_can_have_is_one_line(refused):
    """And where a package is written."""
    refused(["run", "rt.yaml", "--set", f"data.path={LONG}"])
    refused(["plugins", "new", LONG])


# --- inside data, in time, and links that are fine ---------------------------------------------


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path) -> Cli:
    """The command line in a folder with data and a config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


def ok(cli: Cli, *arguments: object) -> None:
    """Run a command that has to succeed."""
    done = cli(*arguments)
    assert done.code == 0, done


SCORE = ("score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl")


def test_scores_that_are_ours_are_written_again(cli):
    """``OUT.rt`` says so; a file of another needs ``--overwrite`` once."""
    ok(cli, *SCORE)
    ok(cli, *SCORE)
    Path("t.jsonl").write_text("mine")
    assert "t.jsonl: exists already" in cli(*SCORE[:-1], "t.jsonl").error()
    assert Path("t.jsonl").read_text() == "mine" and not Path("t.jsonl.rt").exists()
    ok(cli, *SCORE[:-1], "t.jsonl", "--overwrite")
    ok(cli, *SCORE[:-1], "t.jsonl")
    assert len(json_lines(Path("t.jsonl"))) == 6


def test_what_is_ours_is_known_where_no_mark_is(cli):
    """A run directory of an earlier release goes on, and keeps what is not its own."""
    ok(cli, *SCORE)
    ok(cli, "run", "rt.yaml", "--run-dir", "run")
    ok(cli, "report", "run")
    for mark in Path().rglob(".rt-framework"):
        mark.unlink()
    ok(cli, *SCORE)
    Path("run", "kept.csv").write_text("mine")
    ok(cli, "run", "rt.yaml", "--run-dir", "run")
    ok(cli, "report", "run")
    refused = cli("run", "rt.yaml", "--run-dir", "run", "--set", "output.format=csv")
    assert refused.error() == "run/kept.csv: exists already; name another place with --run-dir"
    assert Path("run", "kept.csv").read_text() == "mine"


def test_a_reflection_a_run_a_pilot_and_a_report_are_written_again(cli):
    """The same command again needs no flag where its run directory records what it wrote."""
    for _ in range(2):
        ok(cli, "reflect", "data.json", "--teacher", "scripted", "--out", "better.json")
        ok(cli, "pilot", "rt.yaml", "-n", "2", "--run-dir", "run")
        ok(cli, "run", "rt.yaml", "--run-dir", "run", "--reporter", "jsonl:events.jsonl")
        ok(cli, "report", "run")
    assert cli("export", "run", "--out", "kept.csv").code == 0
    assert "kept.csv: exists already" in cli("export", "run", "--out", "kept.csv").error()
    ok(cli, "export", "run", "--out", "kept.csv", "--overwrite")


def test_a_merge_that_was_killed_before_there_was_a_ledger_goes_on(tmp_path):
    """The mark is the first thing in a run directory; without it the same files would be another's."""
    for name in ("run", "mine"):
        with rundir.alone(tmp_path / name):
            (tmp_path / name / rundir.MERGING).write_text("half of it")
    check(Destination(tmp_path / "run", "OUT", "run"))
    (tmp_path / "mine" / MARK).unlink()
    with pytest.raises(ConfigError, match="no run of rt wrote"):
        check(Destination(tmp_path / "mine", "OUT", "run"))


def test_a_reporter_that_names_no_paths_is_told_of(tmp_path):
    """Before the run; one that names a file of the run is refused."""
    for outputs, error, words in (
        (3, PluginError, "reporter Odd: its attribute 'outputs' must be a sequence of paths, not 3"),
        ([tmp_path / "run" / "kept.json"], ConfigError, "another output of this command|belongs to the run directory"),
    ):
        odd = type("Odd", (), {"outputs": outputs})()
        with pytest.raises(error, match=words):
            go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", watchers=[odd])
    assert not (tmp_path / "run").exists()


def test_other_files_beside_a_run_stay(cli):
    """A folder with files of the user may be a run directory, and a link may lead to it."""
    Path("mine").mkdir()
    Path("mine", "notes.txt").write_text("mine")
    Path("mine", ".part-kept.json").write_text("mine")
    Path("way").symlink_to("mine")
    for _ in range(2):
        ok(cli, "run", "rt.yaml", "--run-dir", "way")
    assert {Path("mine", name).read_text() for name in ("notes.txt", ".part-kept.json")} == {"mine"}
    assert sorted(path.name for path in Path("mine").glob(".rt*")) == [".rt-framework"]


def test_events_go_to_a_new_file_or_after_other_events(cli):
    """A FIFO may take them too; a file that holds something else is refused before the run."""
    Path("notes.txt").write_text("mine\n")
    run = ("run", "rt.yaml", "--run-dir", "run", "--reporter")
    assert "notes.txt: holds other content than events" in cli(*run, "jsonl:notes.txt").error()
    assert not Path("run").exists()
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    ok(cli, *run, "jsonl:pipe")
    events = [json.loads(line)["event"] for line in os.read(reader, 1_000_000).splitlines()]
    assert events[0] == "preparing" and "run_started" in events
    os.close(reader)
    ok(cli, *run, "jsonl:events.jsonl")
    ok(cli, *run, "jsonl:events.jsonl")
    assert [line["event"] for line in json_lines(Path("events.jsonl"))].count("run_started") == 2


def test_a_folder_of_ours_is_replaced_and_nothing_else_in_it(cli):
    """A changed file is replaced only with ``--overwrite``, an added one never; ``datasets`` reads the folder."""
    ok(cli, "run", "rt.yaml", "--run-dir", "run")
    command = ("export", "run", "--out", "set", "--format", "dataset")
    Path("set").mkdir()  # an empty one may be taken
    ok(cli, *command)
    ok(cli, *command)
    import datasets

    assert len(datasets.load_from_disk("set")) == len(json.loads(Path("run/kept.json").read_text()))
    Path("set", "state.json").write_text("{}")
    assert "set: was changed since rt wrote it: state.json" in cli(*command).error()
    ok(cli, *command, "--overwrite")
    ok(cli, "score", "set", "--student", "fake", "--out", "s.jsonl")
    Path("set", "thesis.tex").write_text("mine")
    for flag in ((), ("--overwrite",)):
        assert "set: holds something that rt did not write: thesis.tex" in cli(*command, *flag).error()
    assert Path("set", "thesis.tex").read_text() == "mine"
    for out in ("set/new.jsonl", "set/data"):
        inside = cli("score", "set", "--student", "fake", "--out", out)
        assert "lies in set, an input of this command" in inside.error()
    assert "lies in set" in cli("run", "rt.yaml", "--set", "data.path=set", "--run-dir", "set/run").error()


# --- the one way to write ----------------------------------------------------------------------


def write(place: Destination, text: str = "new") -> None:
    """Write a file whole."""
    with whole(place) as part:
        part.write_text(text)


def test_a_file_that_came_while_the_work_went_on_stays(tmp_path):
    """The destination is looked at again just before it is replaced."""
    out = tmp_path / "out.jsonl"

    def late() -> None:
        with whole(Destination(out)) as part:
            part.write_text("new")
            out.write_text("mine")

    with pytest.raises(ConfigError, match="exists already"):
        late()
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_scores_of_changed_data_or_of_a_damaged_ledger_replace_nothing(cli, monkeypatch):
    """Both are looked at last, when all lines are there."""
    ok(cli, *SCORE)
    before, score = Path("s.jsonl").read_bytes(), ("score", "data.json", "--student", "fake", "--out", "s.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "check", lambda _: (_ for _ in ()).throw(DiskError("damaged")))
        assert cli(*score).error(5) == "damaged"
    write_json(Path("data.json"), rows(7))
    student = FakeStudent.score

    def late(self: FakeStudent, batch: object) -> object:
        Path("data.json").write_text(Path("data.json").read_text() + " ")
        return student(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeStudent, "score", late)
    assert "data.json: changed while it was in use" in cli(*score).error()
    assert Path("s.jsonl").read_bytes() == before
    assert not list(Path().glob(f"{ROOM}*"))


def test_an_error_of_the_student_is_none_of_the_file(cli, monkeypatch):
    """While scores are written a student may lose its network or its device; the file can be written all the same."""

    def lost(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(FakeStudent, "score", lost)
    error = cli(*SCORE).error()
    assert "the student cannot score: ConnectionResetError: " in error and "s.jsonl" not in error
    assert not Path("s.jsonl").exists() and not list(Path().glob(f"{ROOM}*"))


def test_parts_that_fail_at_once_are_one_error(cli, monkeypatch, unnoticed):
    """Many rows are scored in parts; the first error ends the command, and those of the others are not printed."""
    write_json(Path("data.json"), rows(1_000))

    def lost(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(FakeStudent, "score", lost)
    assert "the student cannot score: ConnectionResetError: " in cli(*SCORE).error()
    gc.collect()
    assert not unnoticed


def test_temporary_names_are_new_and_go_with_their_writer(tmp_path):
    """A killed writer's part files are removed; a living writer's, and every file of the user's, stay."""
    old = time.time() - 3600
    for name, mark in (("killed", True), ("alive", True), ("mine", False), ("torn", True)):
        room = tmp_path / f"{ROOM}{name}"
        (room / "new").mkdir(parents=True)
        if mark:
            (room / MARK).touch()
            os.utime(room / MARK, (old, old))
    (tmp_path / f"{ROOM}torn" / "old").mkdir()  # it was killed between two renames: the old folder is in there
    told = tmp_path / f"{ROOM}alive" / "told"
    told.mkdir()
    (told / MARK).write_text("theirs")
    os.utime(told / MARK, (old, old))
    (tmp_path / f"{ROOM}link").symlink_to(told)
    with FileLock(tmp_path / f"{ROOM}alive" / MARK):
        os.utime(tmp_path / f"{ROOM}alive" / MARK, (old, old))
        write(Destination(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{ROOM}{name}" for name in ("alive", "link", "mine", "torn")
    ] + ["out"]
    assert (told / MARK).read_text() == "theirs"


def test_a_format_is_given_a_temporary_path_of_the_same_name(tmp_path):
    """A format of a plugin never sees the place itself."""
    given = []

    class Format:
        suffixes = (".x",)

        def write(self, path: Path, rows: object) -> None:
            given.append(path)
            path.write_text("")

    write_records(tmp_path / "out.x", Format(), "alpaca", None, [])  # type: ignore[arg-type]
    assert given[0].name == "out.x" and given[0].parent.parent.name.startswith(ROOM)
    assert [path.name for path in tmp_path.iterdir()] == ["out.x"]


def test_a_folder_that_cannot_come_leaves_the_old_one(tmp_path, monkeypatch):
    """The old one has stepped aside, and comes back."""
    place = Destination(tmp_path / "out", kind="folder")

    def write_folder(text: str) -> None:
        with whole(place) as part:
            part.mkdir()
            (part / "data").write_text(text)

    write_folder("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(DiskError, match="out: cannot be written: Input/output error"):
        write_folder("new")
    assert (tmp_path / "out" / "data").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_every_file_of_a_run_directory_is_known_as_its_own(stage):
    """The guard names them by patterns; a new file of a run has to be among these."""
    named = {rundir.MERGING, rundir.PROGRESS, rundir.PILOT, rundir.OWNER, readable.READABLE}
    for name in named | {path.name for path in Path(stage, "run").iterdir()}:
        assert any(fnmatch(name, pattern) for pattern in RUN_PATTERNS), name


def test_a_run_directory_that_is_gone_is_not_made_again(tmp_path):
    """A run says each second where it stands; moved away meanwhile, its directory can be moved back."""
    snapshot.write(tmp_path / "run", snapshot.Snapshot(0.0, Progress()))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_but_through_the_guard():
    """Only those who own what they write open a file for writing, or rename or remove one."""
    writes = re.compile(
        r"""\.open\(\s*"[wax]|\.write_(text|bytes)\(|\.unlink\(|rmtree\(|\.rename\(|os\.rename|os\.replace|save_to_disk\("""
        r"|O_WRONLY|truncate\(|shutil\.(copy|move)"
    )
    found = {}
    for path in (REPO / "rt_framework").rglob("*.py"):
        name = str(path.relative_to(REPO / "rt_framework").with_suffix(""))
        if not name.startswith("testing/"):
            text = path.read_text("utf-8")
            guarded = re.search(r"from rt_framework\.data(\.replacing)? import (\([^)]*|[^\n(]*)\bwhole\b", text)
            if writes.search(text) and not guarded:
                found[name] = len(writes.findall(text))
    assert set(found) == {
        *("data/marks", "data/replacing"),  # the guard itself
        *("ledger/seal", "ledger/readable", "ledger/salvage"),  # what makes a run directory
        *("rundir/directory", "jobs/merging"),
        "builtin/reporters/jsonl",  # appends events
        "kit/stdout",  # to the null device, when the reader of a pipe has gone
        *(f"builtin/formats/{name}" for name in ("dataset", "packed")),  # to the path they are given
        "data/hub",  # into a temporary folder, and in the cache of the hub
    }

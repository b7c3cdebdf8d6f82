"""A damaged ledger stops a run before outputs are touched or anything is asked; a clean end leaves one whole file."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve, frozen

from rt_framework import hookimpl
from rt_framework.config.schema import Config
from rt_framework.data.replacing import ROOM
from rt_framework.errors import DataError, DiskError
from rt_framework.jobs.merging import merge
from rt_framework.jobs.running import RunMode, run
from rt_framework.ledger import writer
from rt_framework.ledger.damage import identity_in
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Request
from rt_framework.pipeline.job import open_job
from rt_framework.plugin.host import Host
from rt_framework.rundir.directory import look, open_run
from rt_framework.rundir.manifest import read_config_of
from rt_framework.rundir.outputs import write_outputs
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests import fakes_plugin
from tests.helpers import the_error
from tests.reliability.jobs import Commands
from tests.run_helpers import GATES, SELECTIVE, go, job, outputs, row, rows

ROWS = 24
LEDGER = "ledger.sqlite"
WAL, SHM, SEAL = f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}-seal"
PIPELINE = [*SELECTIVE, *GATES]


class Copying:
    """A reporter that copies the run directory when so many samples have come to their end: as a kill leaves it."""

    def __init__(self, run_dir: Path, to: Path, count: int) -> None:
        self._from, self._to, self._left = run_dir, to, count

    @hookimpl
    def rt_sample_finished(self, event: object) -> None:
        self._left -= 1
        if self._left:
            return
        # A kill comes at one moment: hold the writer, and let it first note the commit that it has just made.
        with closing(sqlite3.connect(self._from / LEDGER, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            while identity_in(db)[1] != json.loads((self._from / SEAL).read_bytes())["commits"]:
                time.sleep(0.001)
            shutil.copytree(self._from, self._to, ignore=shutil.ignore_patterns(f"{ROOM}*"))
            db.execute("ROLLBACK")


@frozen
class Bases:
    """Run directories as they are left, and the job that they are of."""

    config: Config
    clean: Path
    """By a run that came to its end."""
    again: Path
    """By a second run of the same, killed in its middle: the outputs are those of the first."""
    first: Path
    """By a first run, killed in its middle."""
    other: Path
    """By another job's run."""
    asked: int
    """Requests that `first` needs to come to its end."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Bases:
    folder = tmp_path_factory.mktemp("bases")
    config = job(folder, rows(ROWS), PIPELINE, limits={"in_flight": 6})
    run_dir = folder / "run"
    go(config, run_dir, watchers=[Copying(run_dir, folder / "first", 10)])
    shutil.copytree(run_dir, folder / "clean")
    go(config, run_dir, watchers=[Copying(run_dir, folder / "again", 10)])
    (folder / "elsewhere").mkdir()
    other = job(folder / "elsewhere", [row(number) for number in range(50, 50 + 2 * ROWS)], PIPELINE)
    go(other, folder / "other")
    shutil.copytree(folder / "first", folder / "resumed")
    teacher = ScriptedTeacher(rewriting)
    go(config, folder / "resumed", teacher)
    assert outputs(folder / "resumed") == outputs(folder / "clean") == outputs(folder / "again")
    return Bases(config, folder / "clean", folder / "again", folder / "first", folder / "other", len(teacher.requests))


# --- what can happen to files -----------------------------------------------------------------

Damage = Callable[[Path, random.Random, Bases], None]


def flip(name: str, count: int = 1) -> Damage:
    """Change bytes anywhere in a file."""

    def damage(run_dir: Path, dice: random.Random, _: Bases) -> None:
        path = run_dir / name
        content = bytearray(path.read_bytes())
        for at in dice.sample(range(len(content)), count):
            content[at] ^= dice.randrange(1, 256)
        path.write_bytes(content)

    return damage


def block(name: str, fill: bytes) -> Damage:
    """Overwrite one page that holds something."""

    def damage(run_dir: Path, dice: random.Random, _: Bases) -> None:
        content = (run_dir / name).read_bytes()
        pages = [at for at in range(0, len(content), 4096) if any(content[at : at + 4096])]
        at = dice.choice(pages)
        (run_dir / name).write_bytes(content[:at] + fill * 4096 + content[at + 4096 :])

    return damage


def cut(name: str, share: float | None = None) -> Damage:
    """Take away a file's end."""

    def damage(run_dir: Path, dice: random.Random, _: Bases) -> None:
        content = (run_dir / name).read_bytes()
        (run_dir / name).write_bytes(content[: int(len(content) * (dice.random() if share is None else share))])

    return damage


def gone(*names: str) -> Damage:
    """Delete files."""

    def damage(run_dir: Path, *_: object) -> None:
        for name in names:
            (run_dir / name).unlink()

    return damage


def letter(run_dir: Path, dice: random.Random, _: Bases) -> None:
    """Change one letter inside an answer: to SQLite that is an answer too."""
    content = bytearray((run_dir / LEDGER).read_bytes())
    places = [found.start() for found in re.finditer(rb"boat", content)]
    content[dice.choice(places)] = ord("g")
    (run_dir / LEDGER).write_bytes(content)


def swapped(*names: str) -> Damage:
    """Put another run's files in their place."""

    def damage(run_dir: Path, _: object, bases: Bases) -> None:
        for name in names:
            shutil.copy(bases.other / name, run_dir / name)

    return damage


def another_log(run_dir: Path, _: object, bases: Bases) -> None:
    """Put the log of another run beside it."""
    shutil.copy(bases.first / f"{LEDGER}-wal", run_dir / f"{LEDGER}-wal")


def old(run_dir: Path, _: object, bases: Bases) -> None:
    """Put an older copy of the same ledger in its place, with its log."""
    for name in (LEDGER, f"{LEDGER}-wal"):
        shutil.copy(bases.first / name, run_dir / name)


def both(*damages: Damage) -> Damage:
    """One after the other."""

    def damage(run_dir: Path, dice: random.Random, bases: Bases) -> None:
        for one in damages:
            one(run_dir, dice, bases)

    return damage


DAMAGES: list[tuple[str, str, Damage]] = [
    ("clean", "a byte", flip(LEDGER)),
    ("clean", "another byte", flip(LEDGER)),
    ("clean", "many bytes", flip(LEDGER, 200)),
    ("clean", "a letter of an answer", letter),
    ("clean", "a block", block(LEDGER, b"\xff")),
    ("clean", "a page of zeros", block(LEDGER, b"\0")),
    ("clean", "cut", cut(LEDGER)),
    ("clean", "emptied", cut(LEDGER, 0)),
    ("clean", "emptied, and its seal gone", both(cut(LEDGER, 0), gone(SEAL))),
    ("clean", "gone", gone(LEDGER)),
    ("clean", "gone with its seal", gone(LEDGER, SEAL)),
    ("clean", "another run's", swapped(LEDGER)),
    ("clean", "another run's with its seal", swapped(LEDGER, SEAL)),
    ("clean", "another run's, and its seal gone", both(swapped(LEDGER), gone(SEAL))),
    ("clean", "an older one", old),
    ("clean", "another log beside it", another_log),
    ("clean", "a page of zeros, and its seal gone", both(block(LEDGER, b"\0"), gone(SEAL))),
    ("again", "a byte", flip(LEDGER)),
    ("again", "a letter of an answer", letter),
    ("again", "a page of zeros", block(LEDGER, b"\0")),
    ("again", "its log cut", cut(WAL)),
    ("again", "its log gone", gone(WAL)),
    ("again", "a byte of its log", flip(WAL)),
    ("again", "another run's", swapped(LEDGER)),
    ("first", "its log cut", cut(WAL)),
    ("first", "the end of its log cut", cut(WAL, 0.999)),
    ("first", "its log gone", gone(WAL)),
    ("first", "its log emptied", cut(WAL, 0)),
    ("first", "a block of its log", block(WAL, b"\xff")),
    ("first", "a byte of its log", flip(WAL)),
    ("first", "gone", gone(LEDGER, WAL, SHM)),
]
"""After a clean end, after a second run's kill, after a first run's kill."""

HARMLESS: list[tuple[str, str, Damage]] = [
    ("clean", "its seal gone", gone(SEAL)),
    ("clean", "its seal damaged", block(SEAL, b"\0")),
    ("again", "its index of the log", block(SHM, b"\xff")),
    ("again", "its index of the log gone", gone(SHM)),
    ("first", "half a commit behind its log", lambda run_dir, *_: _append(run_dir / WAL, b"\x01" * 9000)),
    ("first", "its seal gone", gone(SEAL)),
    ("first", "another run's file under a log that has all pages", swapped(LEDGER)),
]
"""What takes nothing away."""


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def _ids(damages: list[tuple[str, str, Damage]]) -> list[str]:
    return [f"{base}: {words}" for base, words, _ in damages]


def _files(run_dir: Path) -> dict[str, bytes]:
    """All that a run leaves for others, and the manifest."""
    return {
        path.name: path.read_bytes()
        for path in run_dir.iterdir()
        if path.suffix in (".json", ".jsonl") and path.name != "progress.json"
    }


def _other_answers(request: Request) -> str:
    return rewriting(request).replace("boat", "ship")


# --- the run ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "words", "damage"), DAMAGES, ids=_ids(DAMAGES))
def test_a_damaged_ledger_stops_the_run_before_anything_is_touched_or_asked(tmp_path, bases, base, words, damage):
    """One error that tells the way out; outputs stay byte for byte."""
    run_dir = shutil.copytree(getattr(bases, base), tmp_path / "run")
    damage(run_dir, random.Random(words), bases)
    before, teacher = _files(run_dir), ScriptedTeacher(_other_answers)
    for _ in range(2):  # the first time leaves nothing that makes the second one go on
        with pytest.raises(DiskError, match=r"damaged: .*were paid for.*rt salvage") as told:
            go(bases.config, run_dir, teacher)
        assert "\n" not in str(told.value)
        assert (_files(run_dir), teacher.requests) == (before, [])


@pytest.mark.parametrize(("base", "words", "damage"), HARMLESS, ids=_ids(HARMLESS))
def test_what_takes_nothing_away_stops_nothing(tmp_path, bases, base, words, damage):
    """Every answer that was committed is there, and asked for no more; outputs are as ever."""
    run_dir = shutil.copytree(getattr(bases, base), tmp_path / "run")
    damage(run_dir, random.Random(words), bases)
    teacher = ScriptedTeacher(rewriting)
    go(bases.config, run_dir, teacher)
    assert outputs(run_dir) == outputs(bases.clean)
    assert len(teacher.requests) == (bases.asked if base == "first" else 0)


def test_after_a_clean_end_one_file_holds_everything(tmp_path, bases):
    """There is no log, and the ledger alone, copied elsewhere, goes on for nothing."""
    assert not [path for path in bases.clean.iterdir() if path.name in (WAL, SHM)]
    (tmp_path / "run").mkdir()
    shutil.copy(bases.clean / LEDGER, tmp_path / "run" / LEDGER)
    teacher = ScriptedTeacher(_other_answers)
    go(bases.config, tmp_path / "run", teacher)
    assert (outputs(tmp_path / "run"), teacher.requests) == (outputs(bases.clean), [])


def test_a_log_that_was_written_back_is_no_damage(tmp_path, bases, monkeypatch):
    """A long run writes its log back into the file now and then; killed after that, it goes on."""
    monkeypatch.setattr(writer, "LONG_LOG", 150_000)
    config = job(tmp_path, rows(ROWS), PIPELINE, limits={"in_flight": 4})
    go(config, tmp_path / "run", watchers=[Copying(tmp_path / "run", tmp_path / "killed", 18)])
    assert (tmp_path / "killed" / WAL).stat().st_size < 500_000
    assert json.loads((tmp_path / "killed" / SEAL).read_bytes())["digest"] is None
    go(config, tmp_path / "run", watchers=[Copying(tmp_path / "run", tmp_path / "again", 18)])
    for left in ("killed", "again"):
        go(config, tmp_path / left)
        assert outputs(tmp_path / left) == outputs(bases.clean)


# --- the way out ------------------------------------------------------------------------------


def _way_out(told: object, rt: Commands) -> str:
    """Do what the message says, word by word; gives what the last command said."""
    command = re.search(r"keep it: (mv .* && )rt (salvage .*) copies its", str(told))
    assert command is not None
    subprocess.run(["bash", "-ec", command[1].removesuffix("&& ")], check=True)
    done = rt(*shlex.split(command[2]))
    assert done.code == 0, done
    return done.out


def _a_block_of_answers(run_dir: Path, *_: object) -> None:
    content = (run_dir / LEDGER).read_bytes()
    at = content.rindex(b"boat") // 4096 * 4096
    (run_dir / LEDGER).write_bytes(content[:at] + b"\xff" * 4096 + content[at + 4096 :])


def _no_json(run_dir: Path, *_: object) -> None:
    with closing(sqlite3.connect(run_dir / LEDGER)) as db, db:
        db.execute("UPDATE attempts SET reply = substr(reply, 2) WHERE id = 3")


@pytest.mark.parametrize(
    ("base", "damage", "most"),
    [
        ("clean", _a_block_of_answers, 8),
        ("clean", flip(LEDGER, 3), 20),
        ("clean", cut(LEDGER, 0.9), 44),
        ("clean", both(_no_json, gone(SEAL)), 1),
        ("again", _a_block_of_answers, 8),
        ("first", cut(WAL, 0.8), 47),
    ],
    ids=["block", "bytes", "cut", "no JSON", "block after a kill", "log"],
)
def test_the_way_out_that_the_message_tells_leads_out(tmp_path, bases, rt, base, damage, most):
    """The commands in it keep the damaged directory and salvage answers; the next run asks for the lost ones."""
    run_dir = shutil.copytree(getattr(bases, base), tmp_path / "a run")
    damage(run_dir, random.Random(2), bases)
    before, teacher = _files(run_dir), ScriptedTeacher(rewriting)
    with pytest.raises(DiskError) as told:
        go(bases.config, run_dir, teacher)
    assert (_files(run_dir), teacher.requests) == (before, [])
    said = _way_out(told.value, rt)
    go(bases.config, run_dir, teacher)
    assert outputs(run_dir) == outputs(bases.clean)
    assert len(teacher.requests) <= most, said
    assert _files(tmp_path / "a run.damaged") == before


def test_nothing_is_salvaged_into_a_run_or_out_of_nothing(tmp_path, bases, rt):
    """Each with one line, and nothing is left."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ledger.sqlite-notes").write_text("a thesis")
    for out, there in ((bases.other, "dropped.json"), (tmp_path / "mine", "ledger.sqlite-notes")):
        before = sorted(out.iterdir())
        told = the_error(rt("salvage", bases.clean, out))
        assert told == f"{out}: holds {there} already; give a new directory"
        assert sorted(out.iterdir()) == before
    assert "no ledger here" in the_error(rt("salvage", tmp_path / "none", tmp_path / "new"))
    run_dir = shutil.copytree(bases.clean, tmp_path / "run")
    (run_dir / LEDGER).write_bytes(b"no ledger" * 999)
    assert "nothing in it can be read" in the_error(rt("salvage", run_dir, tmp_path / "new"), 5)
    assert not (tmp_path / "new" / LEDGER).exists()


# --- who only looks ---------------------------------------------------------------------------

SEEN = [one for one in DAMAGES if one[0] == "clean" and "gone" not in one[1] and "emptied" not in one[1]]


@pytest.mark.parametrize(("base", "words", "damage"), SEEN, ids=_ids(SEEN))
def test_commands_that_look_tell_damage_in_one_line_and_write_nothing(tmp_path, bases, rt, base, words, damage):
    """Status, explain, report, export."""
    run_dir = shutil.copytree(getattr(bases, base), tmp_path / "run")
    damage(run_dir, random.Random(words), bases)
    before, out = _files(run_dir), tmp_path / "out.json"
    for command in (
        ("status", run_dir),
        ("explain", run_dir, "0"),
        ("report", run_dir, "--out", out),
        ("export", run_dir, "--out", out),
    ):
        assert "rt salvage" in the_error(rt(*command), 5)
        assert not out.exists()
    assert _files(run_dir) == before


def test_damage_that_is_met_while_reading_is_the_same_error(tmp_path, bases, rt):
    """The ledger of a run at work is not looked through first; what cannot be read is told all the same."""
    run_dir = shutil.copytree(bases.clean, tmp_path / "run")
    content = (run_dir / LEDGER).read_bytes()
    (run_dir / LEDGER).write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    (run_dir / "run.owner").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    assert "damaged: " in the_error(rt("status", run_dir), 5)
    assert "damaged: " in the_error(rt("explain", run_dir, "0"), 5)


def test_a_damaged_shard_is_not_merged(tmp_path):
    """Nor is anything made of the others."""
    config = job(tmp_path, rows(12), PIPELINE)
    shards = []
    for number in (1, 2):
        shards.append(tmp_path / f"shard-{number}")
        go(evolve(config, data=evolve(config.data, shard=f"{number}/2")), shards[-1])
    letter(shards[1], random.Random(1), None)
    host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
    with pytest.raises(DiskError, match=r"shard-2.*damaged"):
        merge(host, config, tmp_path / "merged", shards)
    assert not (tmp_path / "merged").exists()


def test_a_dry_run_and_a_retry_see_it_too(tmp_path, bases, rt):
    """A quote over a ledger that is lost would be too high, a retry would begin anew."""
    run_dir = shutil.copytree(bases.clean, tmp_path / "run")
    (run_dir / LEDGER).unlink()
    for manner in (RunMode(retry=("refused",)), RunMode(ask=False)):
        with pytest.raises(DiskError, match="the file is missing"):
            _run(bases.config, run_dir, manner)
    from rt_framework.jobs.quoting import quote

    with pytest.raises(DiskError, match="the file is missing"):
        quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), bases.config, run_dir)


def _run(config: Config, run_dir: Path, manner: RunMode) -> ScriptedTeacher:
    teacher = fakes_plugin.HELD["teacher"] = ScriptedTeacher(rewriting)
    fakes_plugin.HELD["student"] = FakeStudent()
    asyncio.run(run(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir, (), manner))
    return teacher


@pytest.mark.parametrize("manner", [RunMode(retry=("refused",)), RunMode(ask=False)], ids=["retry", "reparse"])
def test_where_no_run_is_none_is_taken_up(tmp_path, bases, manner):
    """`rt retry` and `rt reparse` begin nothing: nothing is made and nothing is asked."""
    with pytest.raises(DataError, match="no run was started in this directory; 'rt run' starts one"):
        _run(bases.config, tmp_path / "run", manner)
    assert list(tmp_path.iterdir()) == []


# --- under a run ------------------------------------------------------------------------------


def _remove_ledger(run_dir: Path) -> None:
    (run_dir / LEDGER).unlink()


def _remove_all(run_dir: Path) -> None:
    shutil.rmtree(run_dir)


def _replace_all(run_dir: Path) -> None:
    run_dir.rename(run_dir.with_name("moved"))
    shutil.copytree(run_dir.with_name("moved"), run_dir)


@pytest.mark.parametrize(
    "vanish",
    [
        _remove_ledger,
        _remove_all,
        _replace_all,
        lambda run_dir: run_dir.rename(run_dir.with_name("moved")),
        lambda run_dir: (run_dir / "run.lock").unlink(),
        lambda run_dir: (run_dir / WAL).unlink(),
    ],
    ids=["ledger removed", "all removed", "all replaced", "all moved", "lock removed", "log removed"],
)
def test_what_vanishes_under_a_run_stops_it_before_more_is_paid(tmp_path, vanish):
    """Only calls under way at that moment are sent; no output is written."""
    config = job(tmp_path, rows(ROWS), PIPELINE, limits={"concurrency": 2, "in_flight": 4})
    run_dir, sent = tmp_path / "run", []

    def answer(request: Request) -> str:
        sent.append(request)
        if len(sent) == 10:
            vanish(run_dir)
        return rewriting(request)

    with pytest.raises(DiskError, match="was removed or replaced while the run was at work"):
        go(config, run_dir, ScriptedTeacher(answer))
    assert len(sent) <= 12
    assert not list(tmp_path.rglob("kept.json"))


def test_a_directory_that_vanishes_after_the_last_answer_gets_no_outputs(tmp_path, bases):
    """The ledger is looked for once more before anything is written."""

    class Vanishing:
        @hookimpl
        def rt_sample_finished(self, event: object) -> None:
            self.count = getattr(self, "count", 0) + 1
            if self.count == ROWS:
                (tmp_path / "run" / LEDGER).rename(tmp_path / "taken")

    with pytest.raises(DiskError, match="was removed or replaced"):
        go(bases.config, tmp_path / "run", watchers=[Vanishing()])
    assert not (tmp_path / "run" / "kept.json").exists()


@pytest.mark.parametrize("harm", [_remove_ledger, lambda run_dir: cut(LEDGER, 0.5)(run_dir, random.Random(), None)])
def test_outputs_are_written_from_a_ledger_that_is_whole(tmp_path, bases, harm):
    """A ledger that was removed or cut short during a run is noticed before the first output is replaced."""
    run_dir = shutil.copytree(bases.clean, tmp_path / "run")
    before = _files(run_dir)
    opened = open_job(Host(modules=["tests.fakes_plugin"], only=[], strict=True), bases.config)
    with open_run(run_dir) as ledger:
        harm(run_dir)
        with pytest.raises(DiskError):
            write_outputs(opened.outlet, opened.source, run_dir, ledger)
    assert _files(run_dir) == before


def test_a_look_at_a_run_leaves_its_seal_right(tmp_path, bases):
    """Readers change no byte: the next run finds what the last one left."""
    run_dir = shutil.copytree(bases.clean, tmp_path / "run")
    with look(run_dir):
        pass
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(path.name for path in bases.clean.iterdir())
    assert read_config_of(run_dir) == bases.config
    with Ledger.reading(run_dir / LEDGER) as ledger:
        assert ledger.told().answers > 0
    go(bases.config, run_dir)
    assert outputs(run_dir) == outputs(bases.clean)

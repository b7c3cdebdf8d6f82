"""Disk full, read-only, network file system: before the first paid call where it can be known, else stop, 0 lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rt_framework.builtin.reflections.reflecting import Reflecting
from rt_framework.data.replacing import ROOM
from rt_framework.data.rows import write_records
from rt_framework.errors import DiskError
from rt_framework.model import Record
from rt_framework.rundir import disk
from rt_framework.testing import FakeStudent
from rt_framework.testing.server import FaultServer
from tests import fakes_plugin
from tests.helpers import the_error
from tests.reliability.jobs import http_job, questions
from tests.run_helpers import attempts, http_answer, json_lines, pair, records_in, rows, side

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path) -> Iterator[Mount]:
    """Mounts a small disk of so many MB, in memory."""
    made: list[Path] = []

    def small(megabytes: int, name: str = "disk") -> Path:
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no disk can be mounted here: {error}")
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        made.append(place)
        return place

    yield small
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=True)


def read_only(place: Path) -> None:
    """Mount what is there read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def fill(place: Path, left: int = 0) -> Path:
    """Take all room but so many bytes, as another program would; returns the file that takes it.

    The room is taken in small steps and measured before each: a ledger may be writing to the same disk meanwhile.
    """
    ballast, taken = place / "ballast", 0
    with ballast.open("wb") as file:
        while (room := shutil.disk_usage(place).free - left) > 0:
            step = min(room, 1_000_000)
            try:
                os.posix_fallocate(file.fileno(), taken, step)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                taken += step
    return ballast


@pytest.fixture
def parsed(monkeypatch) -> list[str]:
    """Keys of the questions whose answers were acknowledged: handed to the parser."""
    seen: list[str] = []
    parse = Reflecting.parse

    def noted(self, pair, request, reply):
        seen.append(json.dumps([{"role": t.role, "content": t.content} for t in request.messages], sort_keys=True))
        return parse(self, pair, request, reply)

    monkeypatch.setattr(Reflecting, "parse", noted)
    return seen


def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(tmp_path, rt, mount, parsed, size):
    """In the middle of a run: code 5, one line with the way out; while it is full nothing is sent; with room again the
    same command goes on, and no answer that was acknowledged is asked for again.
    """
    place, count = mount(size(150, 400)), size(30, 300)
    ballast: list[Path] = []
    lock = threading.Lock()

    def answer(body):
        with lock:
            if len(server.received) >= count and not ballast:
                ballast.append(fill(place, left=100_000))
        return http_answer(body)

    with FaultServer(answer) as server:
        config = http_job(tmp_path, server, rows(count))
        error = the_error(rt("run", config, "--run-dir", place / "run"), code=5)
        assert error.startswith(f"{place}/run/ledger.sqlite: cannot be written: database or disk is full; everything ")
        assert error.endswith("or make the file writable, and give the same command again")
        first, acknowledged = questions(server), set(parsed)
        assert count / 2 < len(acknowledged) < 2 * count

        error = the_error(rt("run", config, "--run-dir", place / "run"), code=5)
        assert error.startswith(f"{place}/run: 0 MB are free on this disk and the run may need ")
        assert questions(server) == first

        ballast[0].unlink()
        done = rt("run", config, "--run-dir", place / "run")
        assert done.code == 0, done
        again = questions(server) - first
        assert not acknowledged & set(again)
        twice = {question for question in again if first[question]}
        ended = attempts(place / "run")
        assert ended.get(("unknown", "interrupted_unknown"), 0) <= 4  # limits.concurrency
        # A connection that broke is in doubt too.
        assert len(twice) <= sum(count for (state, _), count in ended.items() if state != "answered")
        assert len(first | again) == 2 * count
        assert server.billed <= 2 * count + len(twice)
    assert [line["row"] for line in side(place / "run")] == list(range(count))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_sent(tmp_path, rt, mount):
    """With what is free, what is needed, and the way out; that works."""
    place = mount(8)
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server)
        error = the_error(rt("run", config, "--run-dir", place / "run"), code=5)
        assert error == (
            f"{place}/run: 8 MB are free on this disk and the run may need 80 MB; make room, or choose another disk "
            "(--run-dir, or --out)"
        )
        assert not (place / "run" / "ledger.sqlite").exists()
        assert server.received == []
        assert rt("run", config, "--run-dir", tmp_path / "elsewhere").code == 0
    error = the_error(rt("score", tmp_path / "data.json", "--student", "fake", "--out", place / "s.jsonl"), code=5)
    assert error.startswith(f"{place}/s.jsonl.rt: 8 MB are free on this disk")


def test_the_room_that_is_asked_for_grows_with_the_input(tmp_path):
    """And what a directory holds already counts."""
    assert disk.room(1_000_000, 500_000_000, teacher=True) == 80_000_000 + 16_000_000_000 + 6_000_000_000
    assert disk.room(1_000_000, 500_000_000, teacher=False) == 80_000_000 + 4_000_000_000 + 2_000_000_000
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(DiskError, match="MB are free on this disk"):
        disk.check_room(tmp_path, free + 10_000_000)
    (tmp_path / "ledger.sqlite").write_bytes(b"")
    os.truncate(tmp_path / "ledger.sqlite", 20_000_000)
    disk.check_room(tmp_path, free + 10_000_000)


def test_a_read_only_disk_is_refused_before_anything_is_sent(tmp_path, rt, mount):
    """A new directory on it, and one that was begun: code 5 and one line each; looking at a run still works."""
    place = mount(150)
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, limits={"samples": 2})
        assert rt("run", config, "--run-dir", place / "run").code == 0
        read_only(place)
        before = len(server.received)
        for name in ("new", "run"):
            error = the_error(rt("run", config, "--run-dir", place / name, "--set", "limits.samples=12"), code=5)
            assert error == f"{place}/{name}: cannot be used as a run directory: Read-only file system"
        assert len(server.received) == before
    scored = rt("score", tmp_path / "data.json", "--student", "fake", "--out", place / "s.jsonl")
    assert the_error(scored, code=5).endswith("/s.jsonl: cannot be written: Read-only file system")
    exported = rt("export", place / "run", "--out", place / "kept.csv")
    assert the_error(exported, code=5) == f"{place}/kept.csv: cannot be written: Read-only file system"
    assert rt("export", place / "run", "--out", tmp_path / "kept.csv").code == 0
    assert rt("status", place / "run").code == 0


class Filling(FakeStudent):
    """A student that takes the last room of a disk, once a few batches are done."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = place

    def score(self, batch):
        if self.forward_passes == 3:
            fill(self._place)
        return super().score(batch)


class Late(FakeStudent):
    """A student that takes nearly all room when it is asked who it is: the ledger is open by then."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = place

    @property
    def fingerprint(self) -> str:
        fill(self._place, left=300_000)
        return FakeStudent.fingerprint


def test_scores_on_a_full_disk(tmp_path, rt, mount, monkeypatch):
    """Code 5, one line, no file under the final name; with room again the same command goes on."""
    place = mount(150)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(3000)))
    monkeypatch.setitem(fakes_plugin.HELD, "student", Filling(place))
    command = ("score", data, "--student", "held:student", "--metric", "ifd", "--out", place / "s.jsonl")
    error = the_error(rt(*command), code=5)
    assert "disk is full" in error or "No space left on device" in error
    assert not (place / "s.jsonl").exists()
    (place / "ballast").unlink()
    monkeypatch.setitem(fakes_plugin.HELD, "student", FakeStudent())
    assert rt(*command).code == 0
    assert len(json_lines(place / "s.jsonl")) == 3000

    # All losses are known now: it is the file itself that does not fit, and the old one stays.
    before = (place / "s.jsonl").read_bytes()
    monkeypatch.setitem(fakes_plugin.HELD, "student", Late(place))
    assert the_error(rt(*command), code=5) == f"{place}/s.jsonl: cannot be written: No space left on device"
    assert (place / "s.jsonl").read_bytes() == before
    assert not list(place.glob(f"{ROOM}*"))


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet", "dataset"])
def test_an_output_that_does_not_fit_leaves_the_old_one(name, mount):
    """Every format: an error of the disk, and the file that was there before is whole."""
    from rt_framework.config.builder import Builder
    from rt_framework.plugin.host import Host

    place, form = mount(12), Builder(Host(only=[]))("formats", name)
    out = place / f"kept.{name}"
    write_records(out, form, "alpaca", {}, [Record(pair(1))])
    noise = [Record(pair(n, response=os.urandom(100_000).hex())) for n in range(40)]
    fill(place, left=3_000_000)
    with pytest.raises(DiskError, match=f"kept.{name}: cannot be written: .*No space left on device"):
        write_records(out, form, "alpaca", {}, noise)
    assert [record.pair for record in records_in(out, form, "alpaca")] == [pair(1)]
    assert sorted(path.name for path in place.iterdir()) == ["ballast", out.name]


# --- file systems of other machines -----------------------------------------------------------


def mounts(path: Path, *places: tuple[str, str]) -> Path:
    """Write mounts, each a place and a kind, to a file in the form that Linux lists them in; return its path."""
    lines = [f"{n} 1 0:{n} / {place} rw shared:{n} - {kind} source rw" for n, (place, kind) in enumerate(places)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "lustre"])
def test_a_network_file_system_is_refused_before_anything_is_sent(kind, tmp_path, rt, monkeypatch):
    """By its name, with the way out, that works; nothing is made there."""
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    told = mounts(tmp_path / "mounts", ("/", "ext4"), (str(there), kind))
    monkeypatch.setattr(disk, "MOUNTS", told)
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server)
        error = the_error(rt("run", config, "--run-dir", there / "deep" / "run"), code=5)
        assert error == (
            f"{there}/deep/run: is on a network file system ({kind}), where the ledger is not safe; choose a directory "
            "on a disk of this machine (--run-dir, or --out) and copy the result from there"
        )
        assert server.received == []
        assert list(there.iterdir()) == []
        assert rt("run", config, "--run-dir", here).code == 0
        assert rt("export", here, "--out", there / "kept.json").code == 0


def test_the_file_system_of_a_place(tmp_path, mount, monkeypatch):
    """As the system tells it: the deepest mount above a path, the latest of two, names with blanks, links followed."""
    assert disk.file_system(mount(1, "a b") / "not" / "yet") == "tmpfs"
    deep = tmp_path / "nfs" / "local"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    places = [("/", "ext4"), (str(tmp_path / "nfs"), "nfs4"), (str(deep), "ext4"), (str(deep), "xfs"), ("/nf", "nfs")]
    monkeypatch.setattr(disk, "MOUNTS", mounts(tmp_path / "mounts", *places))
    assert disk.file_system(tmp_path / "nfs" / "locals" / "run") == "nfs4"
    assert disk.file_system(deep / "run") == disk.file_system(tmp_path / "link" / "run") == "xfs"
    assert disk.file_system(tmp_path) == disk.file_system(Path("/nfs")) == "ext4"
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "none")
    assert disk.file_system(tmp_path) is None

"""The contract of stages, checked in runs that are also killed and resumed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

from rt_framework.config import Config
from rt_framework.errors import RtError
from rt_framework.jobs.running import run
from rt_framework.model import Pair, Unparsed
from rt_framework.plugin import structure
from rt_framework.results import Call, open_run
from rt_framework.teacher import rendered
from rt_framework.testing.blocking import blocking_calls
from rt_framework.testing.contracts.base import ColumnContract, load
from rt_framework.testing.parts import KILL_AT_CALL, KILL_AT_END, Deadly
from rt_framework.testing.processes import forked

_PARTS = "rt_framework.testing.parts"
_WORDS = (
    "a cork",
    "a leaf",
    "a boat",
    "a swan and her seven young",
    "",
    "wood",
    "a duck",
    "foam",
    "oil on water",
    "ice",
)
_RUN = """\
import sys
from pathlib import Path
from rt_framework.testing.contracts.stage import go
go(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
"""
_UNHURT: dict[tuple[str, str, str], tuple[dict[str, str], dict[str, str]]] = {}
"""Outputs of two undisturbed runs of the stage that is being checked."""
_KILLS = ((KILL_AT_CALL, "5"), (KILL_AT_END, "3"))
"""Points at which two runs in the same directory are killed, one after the other."""


class StageContract(ColumnContract):
    """Contract of a stage, checked in a run of ten rows with a teacher and a student that need no model."""

    kind = "stages"
    before: Sequence[Any] = ({"reflect": "response"},)
    """Stages that come before the checked one in that run, as in a config."""
    preset = "selective-rt"
    """Scoring preset of that run."""
    teacher: Any = "scripted"
    """Teacher of that run, as in a config; the one of the kit answers every question form with made-up parts."""

    def test_it_says_what_it_needs(self) -> None:
        """``needs`` lists names of metrics; ``reflections`` maps names to questions that render and parse."""
        stage = self.make()
        names = not isinstance(stage.needs, str) and all(isinstance(name, str) for name in stage.needs)
        assert names, f"expected needs to list names of metrics, found {stage.needs!r}"
        reflections = stage.reflections
        good = isinstance(reflections, Mapping) and all(
            hasattr(reflection, "render") and hasattr(reflection, "parse") for reflection in reflections.values()
        )
        assert good, f"expected reflections to map names to reflections, found {reflections!r}"

    def test_every_sample_comes_through(self, tmp_path: Path) -> None:
        """Each sample goes on or is dropped with a reason: no sample fails, and the run does not fail."""
        try:
            lines = self._finished(tmp_path)
        except RtError as error:
            raise AssertionError(f"the run ended with: {error}") from error
        for line in lines:
            assert line["outcome"] != "failed", f"row {line['row']} failed: {line['reason']}"
            assert line["outcome"] != "dropped" or str(line["reason"]).strip(), (
                f"row {line['row']} is dropped without a reason"
            )

    def test_its_answers_are_read(self, tmp_path: Path) -> None:
        """Each question of the stage gets an answer that it can read; else its path with an answer never ran."""
        stage = self.make()
        if not stage.reflections:
            raise SkipTest("it asks nothing")
        self._finished(tmp_path)
        unread = ", ".join(sorted(set(stage.reflections) - self._read(stage, tmp_path / "run")))
        if unread and self.teacher == StageContract.teacher:
            raise SkipTest(
                f"the teacher of the kit gives no answer to {unread} that can be read, so nothing that follows from "
                "one is checked: set teacher to a part that answers"
            )
        assert not unread, f"no answer of teacher {self.teacher!r} to {unread} can be read; see what parse says to it"

    def test_it_never_blocks(self, tmp_path: Path) -> None:
        """No sample makes the others wait: coroutines await, and do not call ``time.sleep`` or a blocking client."""
        with blocking_calls() as places:
            self._finished(tmp_path)
        assert not places, (
            f"the event loop is blocked by {places[0]}: await asyncio.sleep, an asynchronous client, or "
            "asyncio.to_thread"
        )

    def test_it_repeats(self, tmp_path: Path) -> None:
        """Two runs leave the same files, because resuming means running again."""
        first, second = self._unhurt(tmp_path)
        for name, text in first.items():
            assert text == second[name], f"{name} differs between two runs; use only the sample and ctx"

    def test_killed_it_goes_on(self, tmp_path: Path) -> None:
        """A run that is killed twice and resumed leaves the same files as an undisturbed run."""
        whole, again = self._unhurt(tmp_path)
        if whole != again:
            raise SkipTest("two uninterrupted runs differ already")
        config = self._config(tmp_path / "killed")
        died = [self._killed(config, tmp_path / "killed", *kill) for kill in _KILLS]
        if not any(died):
            raise SkipTest("no run could be killed before its end")
        for name, text in self._outputs(config, tmp_path / "killed").items():
            assert text == whole[name], (
                f"{name} differs after two kills; keep nothing between samples, and do not count runs"
            )

    # --- the run ------------------------------------------------------------------------------

    def _config(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        rows = [
            {
                "instruction": f"Name {number} things that float.",
                "input": "",
                "output": f"{words}, and no. {number}" * (words != ""),
                **self.extra_of(number),
            }
            for number, words in enumerate(_WORDS)
        ]
        (folder / "rows.json").write_text(json.dumps(rows), "utf-8")
        job = {
            "data": {"path": str(folder / "rows.json")},
            "teacher": self.teacher,
            "student": "fake",
            "scoring": {"preset": self.preset},
            "pipeline": [*self.before, {self.name: self.options} if self.options is not None else self.name],
            "limits": {"in_flight": 2, "fail_on_error": False},
        }
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        return folder / "job.json"

    def _unhurt(self, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Return the outputs of two undisturbed runs; every check with these options uses the same two runs."""
        key = (self.plugin, self.name, repr((self.options, self.before, self.preset, self.teacher)))
        if key not in _UNHURT:
            _UNHURT.clear()
            first, second = (self._outputs(self._config(folder / name), folder / name) for name in ("one", "other"))
            _UNHURT[key] = (first, second)
        return _UNHURT[key]

    def _outputs(self, config: Path, folder: Path) -> dict[str, str]:
        self.make()
        try:
            go(self.plugin, config, folder / "run")
        except RtError as error:
            raise SkipTest(f"the run does not end: {error}") from None
        names = ("kept.json", "dropped.json", "scores.jsonl")
        return {name: (folder / "run" / name).read_text("utf-8") for name in names}

    def _finished(self, folder: Path) -> list[dict[str, Any]]:
        self.make()
        go(self.plugin, self._config(folder), folder / "run")
        return [json.loads(line) for line in (folder / "run/scores.jsonl").read_text("utf-8").splitlines()]

    def _read(self, stage: Any, run_dir: Path) -> set[str]:
        """Return the names of the questions of the stage to which a stored answer can be read."""
        read = set()
        with open_run(run_dir, load(self.plugin, _PARTS)) as finished:
            for history in finished:
                pairs = {version.pair.hash: version.pair for version in history.sample.versions}
                for call in finished.calls(history):
                    for name, question in stage.reflections.items():
                        if call.reply is not None and _answers(question, pairs[call.request.pair_hash], call):
                            read.add(name)
        return read

    def _killed(self, config: Path, folder: Path, variable: str, value: str) -> bool:
        """Run in a process that is killed at a chosen point; return whether it was killed."""
        done = forked(_RUN, self.plugin, config, folder / "run", **{variable: value})
        return done.returncode == -signal.SIGKILL


def _answers(question: Any, pair: Pair, call: Call) -> bool:
    """Return whether a call was made for a question, and its answer can be read."""
    request = call.request
    own = rendered(question, pair, request.index, request.schema is not None, request.draw)
    asked = own == request if not request.step else own.messages == request.messages[: len(own.messages)]
    return asked and not isinstance(question.parse(pair, request, call.reply), Unparsed)


def go(plugin: str, config: Path, run_dir: Path) -> None:
    """Run a job with a plugin and with :mod:`rt_framework.testing.parts`, which need no model."""
    job = structure(json.loads(config.read_text("utf-8")), Config)
    asyncio.run(run(load(plugin, _PARTS), job, run_dir, [Deadly()]))

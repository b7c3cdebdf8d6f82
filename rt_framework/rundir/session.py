"""One session of a job in its run directory: the beginning and the end that all jobs share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, frozen

from rt_framework.concurrency import StopSignal, interruptible
from rt_framework.events import Preparing, RunFailed, RunFinished, RunStarted, Summary
from rt_framework.kit.garbage import seldom_collected
from rt_framework.ledger import Ledger, is_older
from rt_framework.plugin import Reporters, close_reporters
from rt_framework.rundir.directory import LEDGER, freeze, open_run, remember_run
from rt_framework.rundir.live_state import heartbeat
from rt_framework.rundir.manifest import plain_config
from rt_framework.rundir.pace import MeteredStage
from rt_framework.rundir.progress import Meter, telling
from rt_framework.text import without_secrets

T = TypeVar("T")


@frozen
class Opening:
    """Everything that a session needs before its run directory is opened."""

    job: str
    """Name of the job in events: ``run``, ``score`` or ``judge``."""
    run_dir: Path
    reporters: Reporters
    watchers: Sequence[object]
    """The reporters of this session alone, which are closed when the process has to end at once."""
    total: int
    """Number of samples."""
    need: int
    """Bytes that the run directory needs."""
    steady: AbstractContextManager[object] = nullcontext()
    """Context in which the input must not change."""
    stages: Sequence[MeteredStage] = ()
    """The stages of the pipeline, in order."""


class Session:
    """A job at work in its run directory.

    Its work claims the directory, then begins, then does what it is for. Reporters are told of progress from the
    beginning until everything that the work has opened is closed again.
    """

    def __init__(self, opening: Opening, ledger: Ledger) -> None:
        self.ledger = ledger
        self.meter = Meter(opening.reporters, opening.total, opening.stages)
        self.stop = StopSignal()
        self._opening = opening
        self._after = AsyncExitStack()

    async def claim(self, facts: Mapping[str, Any], moved: bool = False) -> int:
        """Record the facts that the job depends on; return the number of attempts that a killed run left open.

        Args:
            facts: the facts; they may not change in a run directory.
            moved: True if the teacher may be asked at another place than before.

        Raises:
            ConfigError: the directory was begun with other facts.
        """
        # Nothing is written before this: the directory may be another job's.
        await freeze(self.ledger, self._opening.run_dir, facts, moved)
        return await self.ledger.attempts.settle_interrupted()

    def preparing(self, what: str) -> None:
        """Report that the job does something that may take a while before it begins."""
        self.meter.reporters.send("rt_preparing", Preparing(what, self._opening.job))

    async def begin(self, writes: Path, notes: Sequence[str], config: Any) -> None:
        """Report that the job begins, and report its progress from then on.

        Args:
            writes: directory or file that the job writes.
            notes: lines that a user should read first.
            config: settings of the job, as plain values or attrs objects.
        """
        self._after.push_async_callback(lambda: remember_run(self.ledger, self.meter.progress()))
        run_id, facts = self.ledger.meta("run_id"), self.ledger.meta("frozen")
        started = RunStarted(
            str(writes), tuple(notes), self.meter.total, run_id, plain_config(config), facts, self._opening.job
        )
        self.meter.begin()
        self.meter.reporters.send("rt_run_started", started)
        await self._after.enter_async_context(telling(self.meter))

    async def through(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Return the result of *work*, during which a snapshot of the progress is kept in the run directory."""
        async with heartbeat(self.meter, self._opening.run_dir), self._after:
            return await work(self)


async def in_session(
    opening: Opening, work: Callable[[Session], Awaitable[T]], end: Callable[[Session, T], Summary]
) -> tuple[T, Summary]:
    """Do the work of a job in its run directory, from the lock to the last event.

    Args:
        opening: the job and its directory.
        work: the work; at a signal it is cancelled, and cleans up.
        end: writes the outputs and the manifest, and returns the summary.

    Returns:
        the result of *work*, and the summary; everything is on disk by then.

    Raises:
        RtError: the job ended early; what was committed stays, and the same command resumes.
    """
    with _told(opening), seldom_collected(), _opened(opening) as ledger, opening.steady:
        session = Session(opening, ledger)
        leave = partial(_leave, ledger, opening.watchers)
        result = await interruptible(session.through(work), session.stop.trip, leave)
        session.meter.reporters.send("rt_progress", evolve(session.meter.progress(), waiting="writing the outputs"))
        summary = end(session, result)
    opening.reporters.send("rt_run_finished", RunFinished(summary, opening.job))
    return result, summary


def _opened(opening: Opening) -> AbstractContextManager[Ledger]:
    if is_older(opening.run_dir / LEDGER):  # a large one takes a minute or two
        opening.reporters.send("rt_preparing", Preparing("bringing the ledger up to date", opening.job))
    return open_run(opening.run_dir, opening.need)


def _leave(ledger: Ledger, watchers: Sequence[object]) -> None:
    """Prepare an immediate exit: commit the answers that have arrived, and let the reporters restore the terminal."""
    ledger.flush(5.0)  # a merge in the index of keys may be under way, which takes a second or two
    close_reporters(watchers)


@contextmanager
def _told(opening: Opening) -> Iterator[None]:
    """Send reporters an event if the block ends with an error."""
    try:
        yield
    except Exception as error:
        failed = RunFailed(type(error).__name__, without_secrets(str(error)), opening.job)
        opening.reporters.send("rt_run_failed", failed)
        raise

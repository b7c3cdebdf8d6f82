"""Review of rewrites by a person: which of them are shown, one after the other, and how the word on each is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from heapq import nsmallest
from pathlib import Path
from typing import Literal

from attrs import evolve, frozen

from rt_framework.errors import DataError, LockedError
from rt_framework.model import ORIGINAL, Version, digest
from rt_framework.results import FinishedRun, Review, SampleHistory, holds_run, open_run
from rt_framework.rundir import REVIEW, Verdict, alone, check_run, is_vetoed, owner, write_reviews

Act = Literal["accept", "veto", "comment", "skip", "back", "quit"]
"""What a person may do with a rewrite."""


@frozen
class Rewrite:
    """A rewrite that a person is asked about, with its sample."""

    history: SampleHistory
    version: Version
    """The rewrite, as the run chose it."""
    said: Review | None = None
    """The review of this text so far."""


@contextmanager
def reviewing(run_dir: Path, by: str = "") -> Iterator[Reviewing]:
    """Lock a run directory for a review, so that no run changes its rewrites meanwhile; it is free when the block ends.

    Args:
        run_dir: the run directory.
        by: name of the person.

    Raises:
        DataError: there is no run, or its reviews cannot be read.
        LockedError: a run or another review is at work there.
        DiskError: the directory cannot be written, or its ledger is damaged.
    """
    if not holds_run(run_dir):
        raise DataError(f"{run_dir}: no ledger here; is this a run directory?")
    who = owner(run_dir)
    if who is not None:
        raise LockedError(f"{run_dir}: in use by {who}; review its rewrites when that has ended")
    with alone(run_dir):
        check_run(run_dir)
        with open_run(run_dir) as run:
            yield Reviewing(run, by)


class Reviewing:
    """A review of the rewrites of one run by one person."""

    def __init__(self, run: FinishedRun, by: str) -> None:
        self.run = run
        self._by = by
        self._reviews = run.reviews

    def draw(self, count: int, seed: int) -> list[str]:
        """Return the ids of *count* samples with a chosen rewrite that has no verdict yet, in a random order.

        The order depends on the seed and the ids alone, so a later call goes on where this one ended.
        """
        chosen = (sample_id for sample_id, outcome, *_ in self.run.outcomes() if outcome == "rewritten")
        # As many more as there are reviews, since those with a verdict are left out.
        order = nsmallest(count + len(self._reviews), chosen, key=lambda sample_id: digest([seed, sample_id]))
        return [sample_id for sample_id in order if self._is_open(sample_id)][:count]

    def find(self, which: str) -> str:
        """Return the id of one sample with a rewrite that was chosen, reviewed or not.

        Args:
            which: its row number, its id, or the beginning of its id.

        Raises:
            DataError: no sample, or more than one, matches; or none of its rewrites was chosen.
        """
        history = self.run.sample(which)
        if self._rewrite_in(history) is None:
            why = f"it was {history.outcome}: {history.reason}" if history.reason else "its original was kept"
            raise DataError(f"{self.run.path}: sample {history.sample.id} has no rewrite to review, since {why}")
        return history.sample.id

    def rewrite(self, sample_id: str) -> Rewrite:
        """Return the chosen rewrite of a sample, with the review of it so far."""
        history = self.run.sample(sample_id)
        version = self._rewrite_in(history)
        assert version is not None, "only samples with a rewrite are drawn or found"
        return Rewrite(history, version, self._reviews.of(sample_id, version))

    def say(self, rewrite: Rewrite, verdict: Verdict | None = None, comment: str = "") -> Review:
        """Keep the word on a rewrite, flushed to disk; a verdict or comment that is left out stays as it was.

        The name in a review is that of the person who gave the verdict.

        Raises:
            DiskError: the reviews cannot be written.
        """
        sample, before = rewrite.history.sample, self._reviews.of(rewrite.history.sample.id, rewrite.version)
        review = Review(
            id=sample.id,
            row=sample.row,
            version=rewrite.version.name,
            pair=rewrite.version.pair.hash,
            verdict=verdict or (before.verdict if before else None),
            comment=comment or (before.comment if before else ""),
            by=self._by if verdict or before is None or before.verdict is None else before.by,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._reviews = self._reviews.saying(review)
        write_reviews(self.run.path, self._reviews)
        return review

    def _is_open(self, sample_id: str) -> bool:
        said = self.rewrite(sample_id).said
        return said is None or said.verdict is None

    def _rewrite_in(self, history: SampleHistory) -> Version | None:
        """Return the rewrite that the run chose, or that a veto took back; ``None`` if there is neither."""
        sample = history.sample
        if is_vetoed(sample):
            taken = next(decision.candidates[0] for decision in sample.decisions if decision.stage == REVIEW)
            veto = self._reviews.veto_of(evolve(sample, kept=taken))
            return sample.version(taken if veto is None else veto.version)
        return sample.current if history.is_kept and sample.kept != ORIGINAL else None


def walk(
    reviewing: Reviewing,
    ids: Sequence[str],
    show: Callable[[Rewrite, int], None],
    ask: Callable[[], Act],
    write: Callable[[], str],
    tell: Callable[[Review], None],
) -> None:
    """Go through samples with a person, until the last one or until the person quits. Each word is kept at once.

    Args:
        reviewing: the review.
        ids: ids of the samples, in order.
        show: shows a rewrite, given its place from 0.
        ask: returns what the person does.
        write: returns a comment of the person.
        tell: confirms what was kept.
    """
    place = 0
    while place < len(ids):
        rewrite = reviewing.rewrite(ids[place])
        show(rewrite, place)
        act = ask()
        while act == "comment":
            comment = write()
            if comment:
                tell(reviewing.say(rewrite, comment=comment))
            act = ask()
        if act == "quit":
            return
        if act in ("accept", "veto"):
            tell(reviewing.say(rewrite, act))
        place = max(0, place - 1) if act == "back" else place + 1

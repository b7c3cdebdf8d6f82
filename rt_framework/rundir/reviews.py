"""Reviews of rewrites: what people said about the rewrites of a run, kept in its directory, and obeyed by its next run.

A review is about a text, not about a name: a rewrite that a later run makes anew under the same name is not reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

import cattrs
from attrs import asdict, field, frozen

from rt_framework.data import Destination, whole
from rt_framework.errors import DataError
from rt_framework.events import ReviewCounts
from rt_framework.ledger import Ledger, SampleHistory
from rt_framework.model import ORIGINAL, Decision, Sample, Version
from rt_framework.text import number_of

REVIEWS = "reviews.jsonl"

REVIEW = "review"
"""Id in decisions of the step that obeys a veto. No stage of a pipeline has this id."""

Verdict = Literal["accept", "veto"]


@frozen
class Review:
    """The word of a person on one rewrite."""

    id: str
    """Id of the sample."""
    row: int
    """Row of the sample, from 0."""
    version: str
    """Name of the rewrite."""
    pair: str
    """Hash of the rewrite's texts, so that the review does not fit another text of the same name."""
    verdict: Verdict | None
    """``accept`` or ``veto``; ``None`` for a comment alone."""
    comment: str = ""
    """Remark of the person; empty if there is none."""
    by: str = ""
    """Name of the person, if it was given."""
    time: str = ""
    """Time of the review, in UTC."""

    @property
    def words(self) -> str:
        """The review in words: ``vetoed by Ana: too long``."""
        said = {"accept": "accepted", "veto": "vetoed", None: "commented on"}[self.verdict]
        return f"{said} by {self.by or 'a person'}" + (f": {self.comment}" if self.comment else "")


@frozen
class Reviews:
    """The reviews of a run: the last one of each text. Iteration yields them in the order in which they were made."""

    _by_text: Mapping[str, Mapping[str, Review]] = field(factory=dict)
    """Reviews by the hash of the text, by the id of the sample."""

    def __iter__(self) -> Iterator[Review]:
        every = (review for by_text in self._by_text.values() for review in by_text.values())
        return iter(sorted(every, key=lambda review: review.time))

    def __len__(self) -> int:
        return sum(map(len, self._by_text.values()))

    def of(self, sample_id: str, version: Version) -> Review | None:
        """Return the review of a version of a sample, or ``None``."""
        by_text = self._by_text.get(sample_id)
        return None if by_text is None or version.name == ORIGINAL else by_text.get(version.pair.hash)

    def saying(self, *reviews: Review) -> Self:
        """Return the reviews with further ones, each in place of an earlier one of the same text."""
        made = {sample_id: dict(by_text) for sample_id, by_text in self._by_text.items()}
        for review in reviews:
            made.setdefault(review.id, {})[review.pair] = review
        return type(self)(made)

    def obeyed(self, sample: Sample) -> Sample:
        """Return the sample with its original kept, if its current version is vetoed, or made from a vetoed one.

        A sample that a veto has taken back stays with its original.
        """
        if sample.kept == ORIGINAL or (sample.id not in self._by_text and not is_vetoed(sample)):
            return sample
        veto = self.veto_of(sample)
        if veto is None and not is_vetoed(sample):
            return sample
        reason = "an earlier rewrite was vetoed" if veto is None else veto.words
        return sample.deciding(Decision(REVIEW, (sample.kept,), ORIGINAL, reason))

    def veto_of(self, sample: Sample) -> Review | None:
        """Return the veto of the current version of a sample, or of one that it was made from; or ``None``."""
        reviews = (self.of(sample.id, version) for version in line_of(sample))
        return next((review for review in reviews if review is not None and review.verdict == "veto"), None)


def is_vetoed(sample: Sample) -> bool:
    """Return whether a veto took a sample back to its original in this run."""
    return any(decision.stage == REVIEW for decision in sample.decisions)


def line_of(sample: Sample) -> Iterator[Version]:
    """Yield the current version, the one that it was made from, and so on."""
    versions = {version.name: version for version in sample.versions}
    name: str | None = sample.kept
    while name is not None and (version := versions.pop(name, None)) is not None:
        yield version
        name = version.parent


def read_reviews(run_dir: Path) -> Reviews:
    """Return the reviews in a run directory; none if it has no such file.

    Raises:
        DataError: a line is no review; the message names it.
    """
    path = run_dir / REVIEWS
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return Reviews()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return Reviews().saying(*(_read(path, number, line) for number, line in numbered))


def _read(path: Path, number: int, line: str) -> Review:
    try:
        return cattrs.structure(json.loads(line), Review)
    except Exception as error:  # cattrs raises groups
        raise DataError(f"{path}: line {number} is no review; correct this line, or delete it") from error


def write_reviews(run_dir: Path, reviews: Reviews) -> None:
    """Write all reviews of a run, flushed to disk; the file is replaced as a whole or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    # A person may have put the file there, with the reviews of another run over the same data, so it is not refused.
    destination = Destination(run_dir / REVIEWS, "RUN_DIR", record=run_dir, overwrite=True)
    with whole(destination) as part:
        part.write_text("".join(f"{json.dumps(asdict(review))}\n" for review in reviews), "utf-8")


def count_reviews(reviews: Reviews, ledger: Ledger) -> ReviewCounts:
    """Count the reviews of texts that the last run chose, and those of other texts apart."""
    accepted = vetoed = pending = stale = commented = 0
    by: dict[str, None] = {}
    for review in reviews:
        history = ledger.samples.history(review.id)
        standing = None if history is None else _standing(review, history)
        accepted += standing == "accepted"
        vetoed += standing in ("vetoed", "pending")
        pending += standing == "pending"
        stale += standing is None and review.verdict is not None
        commented += bool(review.comment)
        if review.by:
            by[review.by] = None
    return ReviewCounts(accepted, vetoed, pending, stale, commented, tuple(by))


def _standing(review: Review, history: SampleHistory) -> str | None:
    """Return what a review means for the sample that a run recorded; ``None`` if the text was not chosen."""
    sample = history.sample
    if review.verdict == "accept":
        return "accepted" if history.is_kept and sample.current.pair.hash == review.pair else None
    if review.verdict == "veto" and is_vetoed(sample):
        return "vetoed" if any(version.pair.hash == review.pair for version in sample.versions) else None
    chosen = history.is_kept and any(version.pair.hash == review.pair for version in line_of(sample))
    return "pending" if review.verdict == "veto" and chosen and sample.kept != ORIGINAL else None


def check_obeyed(run_dir: Path, counts: ReviewCounts) -> None:
    """Check that a run has obeyed all vetoes, before its texts are passed on.

    Raises:
        DataError: rewrites were vetoed after the run.
    """
    if counts.pending:
        raise DataError(
            f"{run_dir}: {number_of(counts.pending, 'rewrite was', 'rewrites were')} vetoed after the run; give the "
            "command of the run again, which takes these samples back to their original texts"
        )


def review_lines(counts: ReviewCounts) -> list[str]:
    """Return the counts of reviews in words: no line if nothing was reviewed, and a line of its own for open vetoes."""
    parts = {"accepted": counts.accepted, "vetoed": counts.vetoed, "with a comment": counts.commented}
    if not any((*parts.values(), counts.stale)):
        return []
    names = f" by {', '.join(counts.by)}" if counts.by else ""
    told = ", ".join(f"{count:,} {what}" for what, count in parts.items())
    lines = [f"{number_of(counts.accepted + counts.vetoed, 'rewrite')} reviewed{names}: {told}"]
    if counts.stale:
        lines.append(f"{number_of(counts.stale, 'review')} of texts that this run did not choose")
    if counts.pending:
        lines.append(
            f"{number_of(counts.pending, 'veto', 'vetoes')} since the run: give the command of the run again, which "
            "takes these samples back to their original texts"
        )
    return lines

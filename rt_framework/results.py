"""A finished run, opened for reading: samples with their scores and decisions, output records, cost and manifest.

Everything is read when it is asked for, one sample at a time, so that a run of any size can be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import cattrs
from attrs import field, frozen

from rt_framework.config import Config
from rt_framework.data import (
    Source,
    Unread,
    find_shape,
    readable,
    rows_of,
    to_dataset,
    to_pandas,
)
from rt_framework.errors import DataError
from rt_framework.events import ReviewCounts, Summary
from rt_framework.kit.proofs import Proof, read_proof
from rt_framework.ledger import Bill, Call, Cost, Ledger, Listed, Listing, SampleHistory, Wanted, is_row
from rt_framework.model import Record, Reply, Version, digest
from rt_framework.plugin import Host
from rt_framework.rundir import (
    LEDGER,
    MANIFEST,
    Review,
    Reviews,
    StageFacts,
    check_obeyed,
    count_reviews,
    endings,
    input_of,
    last_folder,
    look,
    read_config_of,
    read_manifest,
    read_reviews,
    stages_of,
    unread_reason,
)

__all__ = [
    "Bill",
    "Call",
    "Cost",
    "FinishedRun",
    "Listed",
    "Review",
    "SampleHistory",
    "StageFacts",
    "Wanted",
    "holds_run",
    "open_run",
]


def holds_run(path: Path) -> bool:
    """Return whether a path is a run directory, finished or not: it holds a ledger."""
    return (path / LEDGER).is_file()


@contextmanager
def open_run(run_dir: Path | str, host: Host | None = None, rows: Source | None = None) -> Iterator[FinishedRun]:
    """Open the run in a directory for reading; nothing in it is changed, and it is closed when the block ends.

    Args:
        run_dir: the run directory.
        host: finds the plugins that read the run's data; one that knows all installed plugins when left out.
        rows: the samples of a run over rows in memory.

    Raises:
        DataError: there is no ledger, or its version is another one.
        DiskError: the ledger is damaged.
    """
    path = Path(run_dir)
    with look(path) as ledger:
        yield FinishedRun(path, ledger, Host() if host is None else host, rows)


@frozen
class FinishedRun:
    """A run opened for reading. Iteration yields the history of each sample, by row; one is in memory at a time."""

    path: Path
    """The run directory."""
    _ledger: Ledger = field(repr=False)
    _host: Host = field(repr=False)
    _rows: Source | None = field(default=None, repr=False)
    """The samples of a run over rows in memory, in the program that ran it."""

    # --- the run ----------------------------------------------------------------------------

    @property
    def is_pilot(self) -> bool:
        """True if the last run was a pilot; the ledger then describes only the rows of the pilot."""
        return self._folder != self.path

    @property
    def _folder(self) -> Path:
        return last_folder(self.path)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest of the last run: versions, plugins, config, facts and summary.

        Raises:
            DataError: there is no manifest, so the run is not finished, or it cannot be read.
        """
        return read_manifest(self._folder)

    @cached_property
    def config(self) -> Config:
        """The config of the last run.

        Raises:
            DataError: as :attr:`manifest`.
        """
        return read_config_of(self._folder)

    @cached_property
    def summary(self) -> Summary:
        """The counts, reasons and mean scores of the last run.

        Raises:
            DataError: as :attr:`manifest`.
        """
        try:
            return cattrs.structure(self.manifest["summary"], Summary)
        except Exception as error:  # cattrs raises groups
            raise DataError(f"{self._folder / MANIFEST}: its summary cannot be read: {error}") from error

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Facts that may not change in the run directory: content of the data, teacher, student, scoring rules."""
        return self._ledger.meta("frozen") or {}

    @cached_property
    def identity(self) -> str:
        """Hash of what the last run was and of what became of each sample: its facts, outcomes and kept versions.

        A file about the run, such as a proof, holds it, so that it is not taken for one about another run.
        """
        ends = hashlib.sha256()
        for sample_id, outcome, kept, _ in self.outcomes():
            ends.update(f"{sample_id} {outcome} {kept}\n".encode())
        return digest([dict(self.facts), ends.hexdigest()])

    @cached_property
    def stages(self) -> Mapping[str, StageFacts]:
        """The stages of the last run by id, in the order of the pipeline; decisions and failures name these ids."""
        return stages_of(self._ledger)

    @property
    def efforts(self) -> Sequence[Mapping[str, Any]]:
        """The effort of each run but killed ones: ``ended``, ``seconds``, ``requests``, ``student_tokens``."""
        return self._ledger.meta("runs") or ()

    @cached_property
    def is_priced(self) -> bool:
        """False if a call had no known price, so that the sums of money are too low."""
        return not self._ledger.meta("unpriced")

    @cached_property
    def cost(self) -> Cost:
        """The money that the run directory has cost so far."""
        costs = self._ledger.costs
        return Cost(costs.spent(), self.is_priced, tuple(costs.bills()), len(self._ledger.calls.doubtful()))

    @cached_property
    def proof(self) -> Proof | None:
        """The proof that ``rt prove`` made of the run, ``proof.json``; ``None`` if there is none.

        Raises:
            DataError: it cannot be read, or is about another run: ``rt prove`` makes it anew.
        """
        return read_proof(self.path, self.identity)

    @cached_property
    def reviews(self) -> Reviews:
        """The word of people on rewrites of the run, as ``rt review`` has recorded it.

        Raises:
            DataError: the file cannot be read.
        """
        return read_reviews(self.path)

    @cached_property
    def review_counts(self) -> ReviewCounts:
        """The reviews in numbers; errors as :attr:`reviews`."""
        return count_reviews(self.reviews, self._ledger)

    # --- samples ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[SampleHistory]:
        return self._ledger.samples.histories()

    def outcomes(self) -> Iterator[tuple[str, str, str, str | None]]:
        """Yield id, outcome, kept version and reason of each sample, by row. No text is read."""
        return self._ledger.samples.outcomes()

    def listed(self, wanted: Wanted) -> Generator[Listed]:
        """Yield a line about each sample that is wanted, by row or by a score. Exhaust or close the iterator."""
        return Listing(self._ledger.database).of(wanted)

    def count(self, wanted: Wanted) -> int:
        """Return the number of samples that are wanted."""
        return Listing(self._ledger.database).count(wanted)

    def sample(self, which: int | str) -> SampleHistory:
        """Return one sample with its texts, scores, decisions and failures.

        Args:
            which: its row number (from 0), its id, or the beginning of its id. A text of digits alone is a row
                number, unless there are 16 or more of them: so many an id begins with.

        Raises:
            DataError: no sample, or more than one, matches.
        """
        # The text may hold lone surrogates, which stand for bytes that are no text.
        text = str(which).encode("utf-8", "replace").decode()
        ids = self._ledger.samples.find(text)
        if not ids and is_row(text):
            unread = unread_reason(self.path, int(text))
            other = f": it was left out, since it {unread}" if unread else ""
            raise DataError(f"{self.path}: row {text} (from 0) is not among the samples of the last run{other}")
        history = self._ledger.samples.history(ids[0]) if len(ids) == 1 else None
        if history is None:
            matches = f"{len(ids)} samples match" if ids else "no sample matches"
            raise DataError(f"{self.path}: {matches} '{which}'; give an id or a row number")
        return history

    def original_scores(self, sample_id: str) -> Mapping[str, float | None]:
        """Return the scores of a sample's original version, by metric; empty for an unknown sample."""
        return self._ledger.samples.original_scores(sample_id)

    def reply(self, version: Version) -> Reply | None:
        """Return the teacher's answer that a version was parsed from; ``None`` for an original."""
        return self._ledger.calls.reply(version.call) if version.call else None

    def calls(self, history: SampleHistory) -> list[Call]:
        """Return every question that was asked about a sample, with its attempts and its answer."""
        calls = self._ledger.calls
        pairs = (version.pair.hash for version in history.sample.versions)
        return list(calls.find(calls.keys_about(pairs)).values())

    # --- records ----------------------------------------------------------------------------

    @cached_property
    def source(self) -> Source:
        """The data of the run; iteration yields each sample as it came in, with its record.

        Raises:
            DataError: the data is not there, or the last run was a pilot.
        """
        if self.is_pilot:
            raise DataError(f"{self.path}: the last run was a pilot of some rows; 'rt run' goes on with all of them")
        if self._rows is not None:
            return self._rows
        return input_of(self.path, self.config, self.facts, self._host)

    def records(self, kept: bool = True) -> Iterator[Record]:
        """Yield the final records of the kept samples, or of all others, in the order of the input.

        The texts are those of the version that a sample ended with; the other columns come from the input.

        Raises:
            DataError: a sample is not in the ledger, not finished, or vetoed since the run; or as :attr:`source`.
        """
        return readable(self.ended(kept))

    def ended(self, kept: bool = True) -> Iterator[Record | Unread]:
        """Yield :meth:`records`, and with those that were not kept the rows that were left out as unreadable.

        Raises:
            DataError: as :meth:`records`.
        """
        check_obeyed(self.path, self.review_counts)
        return (record for was_kept, record in endings(self.source, self._ledger) if was_kept is kept)

    # --- tables -----------------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row per sample: id, row, outcome, reason, the texts of its last version, and that one's scores."""
        for history in self:
            sample, pair = history.sample, history.sample.current.pair
            scores = sample.scores.get(sample.current.name, {})
            yield {
                "id": sample.id,
                "row": sample.row,
                "outcome": history.outcome,
                "reason": history.reason,
                "version": sample.current.name,
                "instruction": pair.instruction,
                "input": pair.input,
                "response": pair.response,
                **{name: score.value for name, score in sorted(scores.items())},
            }

    def kept(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the kept samples, with the columns of the output.

        Raises:
            DataError: as :meth:`records`.
        """
        return self._as_written(kept=True)

    def dropped(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all other samples, with the columns of the output.

        Raises:
            DataError: as :meth:`records`.
        """
        return self._as_written(kept=False)

    def _as_written(self, kept: bool) -> Iterator[dict[str, Any]]:
        shape = find_shape(self.config.output.shape or self.source.shape).name
        columns = self.source.columns if shape == self.source.shape else {}
        return rows_of(shape, columns, self.ended(kept) if shape == self.source.shape else self.records(kept))

    def to_pandas(self) -> Any:
        """Return :meth:`rows` as a pandas ``DataFrame``.

        Raises:
            ConfigError: pandas is not installed.
        """
        return to_pandas(self.rows())

    def to_dataset(self) -> Any:
        """Return :meth:`kept` as a ``datasets.Dataset``, ready to train on.

        Raises:
            ConfigError: datasets is not installed.
        """
        return to_dataset(self.kept())

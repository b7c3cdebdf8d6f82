"""The events of a run, each a frozen object that reporters receive. Fields may be added, but never removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class RunStarted:
    """Event: the run is about to begin."""

    run_dir: str
    notes: tuple[str, ...]
    """Lines that a user should read first: the teacher, the student, the data format that was found."""
    total: int | None
    """Number of samples, where the format can tell it without reading all rows."""
    run_id: str = ""
    """Identifier of the run directory, which stays the same when the run is resumed or the directory is moved."""
    config: Mapping[str, Any] = field(factory=dict)
    """The requested configuration as plain values: ``config`` of the manifest."""
    facts: Mapping[str, Any] = field(factory=dict)
    """The facts of the run directory that may not change: ``frozen`` of the manifest."""


@frozen
class StageStarted:
    """Event: the first sample reached a stage. A stage that no sample reaches sends nothing."""

    stage: str


@frozen
class StageFinished:
    """Event: the last sample left a stage. Sent once, after its :class:`StageStarted`."""

    stage: str


@frozen
class StageProgress:
    """Outcomes of the samples that reached a stage."""

    stage: str
    """Number, kind and options of the stage: ``2. choose highest ifd``."""
    passed: int = 0
    """Samples that went on to the next stage."""
    dropped: int = 0
    failed: int = 0
    """Samples that ended here because the stage failed on them."""
    unusable: int = 0
    """Failures that a sample survived: it went on with the version that it had."""
    reused: int = 0
    """Answers that the stage got from the ledger instead of the teacher."""


@frozen
class Progress:
    """Event: counts so far. Sent at least once a second; a reporter may draw less often."""

    finished: int
    total: int | None
    calls: int
    """Teacher requests sent in this process."""
    retries: int
    """Calls that were not the first for their pair and reflection."""
    reused_calls: int
    """Answers taken from the ledger."""
    teacher_tokens: int
    nano_dollars: int
    forward_tokens: int
    """Tokens fed to the student in this process."""
    reused_losses: int
    outcomes: Mapping[str, int]
    seconds: float
    decisions: Mapping[str, int] = field(factory=dict)
    """Choices so far, by the version that won: the ``rewrite`` or the ``held`` one."""
    held: str = ""
    """The way in which the provider slows the calls down, in words; empty if it does not."""
    share: float = 0.0
    """Share of the stages that the samples have passed, of all that they have to pass, from 0 to 1."""
    spent: int = 0
    """Nano-dollars that all runs of the directory have paid or may have paid; ``nano_dollars`` covers this process
    only."""
    stages: tuple[StageProgress, ...] = ()
    """Counts of each stage, in the order of the pipeline."""
    under_way: int = 0
    """Teacher calls in flight; 0 for questions that a provider has in batches."""
    at_once: int = 0
    """Number of calls that may be in flight now; it moves between 1 and ``limits.concurrency``."""
    reserved: int = 0
    """Nano-dollars that the calls in flight can cost at most; not included in ``spent``."""
    budget: int | None = None
    """Nano-dollars that all runs of the directory together may spend."""
    projected: int | None = None
    """Nano-dollars that the whole job will have cost at the rate of this process; ``None`` while there is too little to
    estimate it from."""
    gains: Mapping[str, float] = field(factory=dict)
    """Mean of the kept version's value minus that of the version held before, where both are valid, by metric that a
    choice read."""
    still: float = 0.0
    """Seconds since something was last answered, computed or finished."""
    waiting: str = ""
    """The event that the run waits for, in words."""
    priced: bool = True
    """True if the teacher's price is known. If not, no amount of money in this event says what the calls cost."""


@frozen
class Stalled:
    """Event: nothing was answered, computed or finished for a while."""

    seconds: float
    why: str
    """The event that the run waits for, in words."""


@frozen
class RunStopping:
    """Event: the run ends early. Calls in flight are waited for, because they are paid for."""

    reason: str
    under_way: int
    """Number of calls in flight."""
    left: int = 0
    """Questions that stay with the provider in batches; the next run collects their answers."""


@frozen
class BatchChanged:
    """Event: questions were submitted to the provider in a batch, found there again, or came back answered."""

    name: str
    """The provider's name of the batch."""
    questions: int
    state: str
    """``submitted``, ``found`` (submitted by an earlier run) or ``collected``."""


@frozen
class SampleFailed:
    """Event: a sample met a failure. Unless *fatal*, the sample goes on with the version that it has."""

    sample_id: str
    row: int
    stage: str
    kind: str
    reason: str
    fatal: bool


@frozen
class SampleFinished:
    """Event: a sample is done and written to disk."""

    sample_id: str
    row: int
    outcome: str


@frozen
class Shift:
    """Mean of a metric before and after the run, over the samples where both values are known."""

    metric: str
    before: float
    after: float
    samples: int


@frozen
class Summary:
    """The outcome of a run in numbers."""

    total: int
    outcomes: Mapping[str, int]
    """Samples by outcome: ``rewritten``, ``original``, ``dropped``, ``failed``. Disjoint; they add up to *total*."""
    versions: Mapping[str, int]
    """Kept samples, by the version that was kept."""
    drops: Mapping[str, int]
    """Dropped samples by reason: the most common reasons, and all further ones as ``other reasons``."""
    failures: Mapping[str, int]
    """Failed teacher calls and samples, by kind."""
    errors: int
    """Samples that failed, or that have no rewrite because something did not work; the next run asks for these
    again."""
    shifts: tuple[Shift, ...]
    progress: Progress
    files: tuple[str, ...] = field(factory=tuple)
    waiting: int = 0
    """Samples that wait for a stage over the whole data set while the run goes on; not included in *total*."""


@frozen
class RunFailed:
    """Event: the run ended before its work was done; everything that was committed stays."""

    kind: str
    """Class of the error: ``Interrupted``, ``BudgetReached``, ``FatalTeacherError``, …"""
    reason: str
    """Cause in words, without the secrets of the environment."""


@frozen
class RunFinished:
    """Event: the run is over and everything is on disk."""

    summary: Summary

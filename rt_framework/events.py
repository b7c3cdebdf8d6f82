"""The events of a run, each a frozen object that reporters receive. Fields may be added, but never removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class Preparing:
    """Event: the job does something before it begins that may take a while, such as counting its data."""

    what: str
    """The work, in words: ``counting the samples``."""
    job: str = "run"


@frozen
class RunStarted:
    """Event: the run is about to begin."""

    run_dir: str
    """The run directory; the file that is written for the job ``score``."""
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
    job: str = "run"
    """The job that begins: ``run``, ``score`` or ``judge``."""


@frozen
class StageStarted:
    """Event: the first sample reached a stage. A stage that no sample reaches sends nothing."""

    stage: str
    """Id of the stage, as decisions and failures have it: ``choose-highest``."""
    name: str = ""
    """Place, kind and options of the stage: ``2. choose highest ifd``."""


@frozen
class StageFinished:
    """Event: the last sample left a stage. Sent once, after its :class:`StageStarted`."""

    stage: str
    name: str = ""


@frozen
class StageProgress:
    """Outcomes of the samples that reached a stage."""

    stage: str
    """Id of the stage."""
    passed: int = 0
    """Samples that were passed to the next stage."""
    dropped: int = 0
    failed: int = 0
    """Samples that ended here because the stage failed on them."""
    unusable: int = 0
    """Failures after which the sample continued with its current version."""
    reused: int = 0
    """Answers that the stage got from the ledger instead of the teacher."""
    name: str = ""
    """Place, kind and options of the stage: ``2. choose highest ifd``."""


@frozen
class SampleCounts:
    """Counts of samples and of the choices between their versions, in this process."""

    finished: int = 0
    total: int | None = None
    outcomes: Mapping[str, int] = field(factory=dict)
    """Finished samples by outcome."""
    share: float = 0.0
    """Share of the stages that the samples have passed, of all that they have to pass, from 0 to 1."""
    decisions: Mapping[str, int] = field(factory=dict)
    """Choices so far, by the version that won: the ``rewrite``, or the ``current`` one that the sample had before."""
    gains: Mapping[str, float] = field(factory=dict)
    """Mean of the chosen version's value minus that of the current one, where both are valid, by metric that a choice
    read."""


@frozen
class TeacherCounts:
    """Counts of teacher calls in this process."""

    calls: int = 0
    """Requests sent."""
    retries: int = 0
    """Requests that were not the first for their pair and reflection."""
    answered: int = 0
    """Answers received, usable or not."""
    reused: int = 0
    """Answers taken from the ledger."""
    tokens: int = 0
    """Tokens of the received answers."""
    reasoning_tokens: int = 0
    """Tokens of the received answers that are reasoning."""
    under_way: int = 0
    """Calls under way; 0 for questions that a provider has in batches."""
    at_once: int = 0
    """Number of calls that may be under way now; it moves between 1 and ``limits.concurrency``."""
    throttled: str = ""
    """The way in which provider or budget slow the calls down, in words; empty if they do not."""
    to_fallback: Mapping[str, int] = field(factory=dict)
    """Questions that went on to the fallback, by the kind of the teacher's final failure."""


@frozen
class Money:
    """Amounts in nano-dollars."""

    paid: int = 0
    """Cost of the answers that this process received."""
    spent: int = 0
    """Amount that all runs of the directory have paid or may have paid."""
    reserved: int = 0
    """Most that the calls under way can cost; not included in ``spent``."""
    budget: int | None = None
    """Most that all runs of the directory together may spend."""
    projected: int | None = None
    """Cost of the whole job at the rate of this process; ``None`` while there is too little to estimate it from."""
    priced: bool = True
    """True if the teacher's price is known. If not, no amount here says what the calls cost."""
    saved: int = 0
    """Amount by which the answers that this process received would be dearer without caches and batches. It is negative
    where writing to a cache costs more than reading from it saved."""


@frozen
class TeacherAccount:
    """The counts and the money of one of several teachers."""

    name: str
    """Name of the teacher in the config: ``teacher`` for the main one."""
    counts: TeacherCounts
    money: Money
    """Amounts of this teacher alone; ``budget`` is its own share, if it has one."""


@frozen
class StudentCounts:
    """Counts of the student's work in this process."""

    tokens: int = 0
    """Tokens fed to the student."""
    passes: int = 0
    """Forward passes."""
    reused: int = 0
    """Losses taken from the ledger."""


@frozen
class Progress:
    """Event: counts so far. Sent at least once a second; a reporter may draw less often."""

    samples: SampleCounts = SampleCounts()
    teacher: TeacherCounts = TeacherCounts()
    money: Money = Money()
    student: StudentCounts = StudentCounts()
    stages: tuple[StageProgress, ...] = ()
    """Counts of each stage, in the order of the pipeline."""
    teachers: tuple[TeacherAccount, ...] = ()
    """The account of each teacher, where the run asks more than one; *teacher* and *money* are their sums."""
    seconds: float = 0.0
    """Seconds since this process began the run."""
    still: float = 0.0
    """Seconds since something was last answered, computed or finished."""
    waiting: str = ""
    """The event that the run waits for, in words."""
    left: float | None = None
    """Seconds that the rest will take at the pace of this process; ``None`` while that cannot be told."""


@frozen
class Stalled:
    """Event: nothing was answered, computed or finished for a while."""

    seconds: float
    why: str
    """The event that the run waits for, in words."""


@frozen
class RunStopping:
    """Event: the run ends early. Calls under way are waited for, because they are paid for."""

    reason: str
    under_way: int
    """Number of calls under way."""
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
    """Event: a sample met a failure. Unless *fatal*, the sample continues with its current version."""

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
    """Name of the metric."""
    before: float
    """Mean of the original versions."""
    after: float
    """Mean of the kept versions."""
    samples: int
    """Number of samples with both."""


@frozen
class Handovers:
    """Questions that went from one teacher to its fallback after failures of one kind."""

    teacher: str
    """Name of the teacher in the config: ``teacher`` for the main one."""
    fallback: str
    """Name of the teacher that was asked next."""
    kind: str
    """Kind of the failure, a name in :data:`rt_framework.errors.KINDS`."""
    questions: int
    """Number of questions."""


@frozen
class ReviewCounts:
    """Rewrites of the run that people have reviewed."""

    accepted: int = 0
    """Chosen rewrites that a person accepted."""
    vetoed: int = 0
    """Vetoes of rewrites that the run chose, or would have chosen without them."""
    pending: int = 0
    """Vetoes, counted in *vetoed* too, that the next run obeys: they were given after this one."""
    stale: int = 0
    """Reviews of texts that the run did not choose, or no longer has; counted nowhere else."""
    commented: int = 0
    """Reviews with a comment."""
    by: tuple[str, ...] = ()
    """Names of the reviewers, as far as they were given."""


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
    """Failed teacher calls and samples, by kind; for the job ``score``, samples without a score by the status of the
    first one that is missing."""
    errors: int
    """Samples that failed, or that have no rewrite because something did not work; the next run asks for these
    again."""
    shifts: tuple[Shift, ...]
    progress: Progress
    files: tuple[str, ...] = field(factory=tuple)
    waiting: int = 0
    """Samples that wait for a stage over the whole data set during the run; not included in *total*."""
    unreadable: int = 0
    """Rows that were left out because they cannot be read. A run counts them as dropped samples; ``rt score`` counts
    them here alone."""
    handovers: tuple[Handovers, ...] = ()
    """Questions that went to a fallback in the last run, whether or not it had a better answer."""
    reviews: ReviewCounts = ReviewCounts()
    """Rewrites that people have reviewed."""
    failures_at: Mapping[str, Mapping[str, int]] = field(factory=dict)
    """The same as *failures* for each stage, by its id."""


@frozen
class RunFailed:
    """Event: the run ended before its work was done; everything that was committed stays."""

    kind: str
    """Class of the error: ``Interrupted``, ``BudgetReached``, ``FatalTeacherError``, …"""
    reason: str
    """Cause in words, without the secrets of the environment."""
    job: str = "run"


@frozen
class RunFinished:
    """Event: the run is over and everything is on disk."""

    summary: Summary
    job: str = "run"

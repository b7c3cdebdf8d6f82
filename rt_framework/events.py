"""What a reporter is told: one frozen object an event. Fields may be added, never taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class RunStarted:
    """The run is about to begin."""

    run_dir: str
    notes: tuple[str, ...]
    """Lines a user should read first: what answers, what scores, which format was found."""
    total: int | None
    """Number of samples, when the format can tell without reading all."""
    run_id: str = ""
    """Who the run directory is: the same each time it is gone on with, wherever it is moved to."""
    config: Mapping[str, Any] = field(factory=dict)
    """What was asked for, as plain values: ``config`` of the manifest."""
    facts: Mapping[str, Any] = field(factory=dict)
    """What the run directory stands on and may not change: ``frozen`` of the manifest."""


@frozen
class StageStarted:
    """The first sample reached a stage. A stage that no sample reaches sends nothing."""

    stage: str


@frozen
class StageFinished:
    """The last sample left a stage. Sent once, after its :class:`StageStarted`."""

    stage: str


@frozen
class StageProgress:
    """What became of the samples that reached a stage."""

    stage: str
    """Place and purpose: ``2. choose highest ifd``."""
    passed: int = 0
    """Samples that went on from it."""
    dropped: int = 0
    failed: int = 0
    """Samples that it failed on, which is their end."""
    unusable: int = 0
    """Failures that a sample survived: it went on with the version it had."""
    reused: int = 0
    """Answers that the ledger gave it."""


@frozen
class Progress:
    """Counts so far. Sent often, once a second at least; a reporter draws as often as it likes."""

    finished: int
    total: int | None
    calls: int
    """Teacher requests sent in this process."""
    retries: int
    """Those of the calls that were not the first for their pair and reflection."""
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
    """Choices so far, by whether the ``rewrite`` or the ``held`` version won."""
    held: str = ""
    """How the provider slows the calls, if it does."""
    share: float = 0.0
    """Stages that samples have passed, as a share of all they have to pass."""
    spent: int = 0
    """Nano-dollars paid, or perhaps paid, by all runs of the directory; ``nano_dollars`` is this process's answers."""
    stages: tuple[StageProgress, ...] = ()
    """The stages, in the order of the pipeline."""
    under_way: int = 0
    """Teacher calls in flight; 0 for questions that a provider has in batches."""
    at_once: int = 0
    """How many may be in flight now; it moves between 1 and ``limits.concurrency``."""
    reserved: int = 0
    """Nano-dollars that the calls in flight can cost at most; no part of ``spent``."""
    budget: int | None = None
    """Nano-dollars that all runs of the directory may spend."""
    projected: int | None = None
    """Nano-dollars that the whole job will have cost if it goes on as in this process; none while that is a guess."""
    gains: Mapping[str, float] = field(factory=dict)
    """By metric that a choice read: mean of the kept version's value less that of the one held, if both are valid."""
    still: float = 0.0
    """Seconds since something was last answered, computed or finished."""
    waiting: str = ""
    """What is being waited for, in words."""
    priced: bool = True
    """Whether the teacher's price is known. If not, no sum of money here says what the calls cost."""


@frozen
class Stalled:
    """Nothing was answered, computed or finished for a while."""

    seconds: float
    why: str
    """What is being waited for."""


@frozen
class RunStopping:
    """The run ends early. Calls under way are waited for, since they are paid for."""

    reason: str
    under_way: int
    """How many they are."""
    left: int = 0
    """Questions that stay with the provider in batches; the next run collects their answers."""


@frozen
class BatchChanged:
    """Questions went to the provider in a batch, were found again there, or came back."""

    name: str
    """The provider's name of the batch."""
    questions: int
    state: str
    """``submitted``, ``found`` (of an earlier run) or ``collected``."""


@frozen
class SampleFailed:
    """A sample met a failure. It goes on with the version it has, unless *fatal*."""

    sample_id: str
    row: int
    stage: str
    kind: str
    reason: str
    fatal: bool


@frozen
class SampleFinished:
    """A sample came to its end, and is on disk."""

    sample_id: str
    row: int
    outcome: str


@frozen
class Shift:
    """A metric before and after the run, over the samples where both are known."""

    metric: str
    before: float
    after: float
    samples: int


@frozen
class Summary:
    """How a run ended."""

    total: int
    outcomes: Mapping[str, int]
    """Disjoint; they add up to *total*: ``rewritten``, ``original``, ``dropped``, ``failed``."""
    versions: Mapping[str, int]
    """Kept samples by the version that was kept."""
    drops: Mapping[str, int]
    """Dropped samples by reason: the most common ones, and the others as ``other reasons``."""
    failures: Mapping[str, int]
    """Failed teacher calls and samples, by kind."""
    errors: int
    """Samples that failed, or that have no rewrite because something did not work; running again asks once more."""
    shifts: tuple[Shift, ...]
    progress: Progress
    files: tuple[str, ...] = field(factory=tuple)
    waiting: int = 0
    """Samples that wait for a stage over the data set, while a run goes on. They are no part of *total*."""


@frozen
class RunFailed:
    """The run ended before its work was done; what was committed stays."""

    kind: str
    """Class of the error: ``Interrupted``, ``BudgetReached``, ``FatalTeacherError``, …"""
    reason: str
    """In words, without the secrets of the environment."""


@frozen
class RunFinished:
    """The run is over; everything is on disk."""

    summary: Summary

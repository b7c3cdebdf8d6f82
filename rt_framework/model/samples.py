"""Samples on their way through the stages: versions, scores, decisions, failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from rt_framework.model.pairs import Pair


@frozen
class Version:
    """A text of a sample: the original, or a rewrite with its lineage."""

    name: str
    """``original``, or the reflections that led to this version, joined by dots: ``instruction``,
    ``instruction.response``, …"""
    pair: Pair
    """The texts of the version."""
    parent: str | None = None
    """Name of the version that this one was rewritten from."""
    reflection: str | None = None
    """Name of the reflection that made it; ``None`` for the original."""
    call: str | None = None
    """Ledger key of the teacher's answer that this version was parsed from."""


@frozen
class Range:
    """The sensible values of a metric, or those that pass a gate. A bound that is ``None`` does not limit."""

    below: float | None = None
    """Upper bound, which itself is outside."""
    at_most: float | None = None
    """Upper bound, which itself is inside."""
    above: float | None = None
    """Lower bound, which itself is outside."""
    at_least: float | None = None
    """Lower bound, which itself is inside."""

    def __contains__(self, value: float) -> bool:
        return (
            (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
        )

    def __str__(self) -> str:
        bounds = (("<", self.below), ("≤", self.at_most), (">", self.above), ("≥", self.at_least))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None) or "any"


@frozen
class Score:
    """The value of one metric for one version, or the reason for its absence."""

    value: float | None
    """The value; ``None`` where there is none."""
    status: str = "ok"
    """``ok``; ``out_of_range``: there is a value, but it cannot win a choice; any other status: there is no value."""
    reason: str | None = None
    """Explanation of a status other than ``ok``."""

    @property
    def eligible(self) -> bool:
        """Return whether a version may win a choice with this score."""
        return self.status == "ok" and self.value is not None


ORIGINAL = "original"


@frozen
class Failure:
    """A failed step of one sample; the sample continues with its current version."""

    stage: str
    """Id of the stage that failed."""
    kind: str
    """Kind of the failure: a name in :data:`rt_framework.errors.KINDS`."""
    reason: str
    """Explanation for the user."""
    call: str | None = None
    """Ledger key of the call that failed; ``None`` where no call did."""


@frozen
class Handover:
    """A question that a teacher could not answer, and that went to its fallback."""

    call: str
    """Ledger key of the call that failed for good."""
    teacher: str
    """Name of the teacher in the config: ``teacher`` for the main one."""
    fallback: str
    """Name of the teacher that was asked next."""
    kind: str
    """Kind of the failure: a name in :data:`rt_framework.errors.KINDS`."""
    reason: str
    """Explanation for the user."""


@frozen
class Decision:
    """The decision of a choice or a gate about one sample, and its reason."""

    stage: str
    """Stage that decided. A run writes its label for the stage here, the kind with its options: ``choose highest
    ifd``."""
    candidates: tuple[str, ...]
    """Names of the compared versions; the current version comes first."""
    kept: str
    """Name of the version that is kept."""
    reason: str
    """Explanation for the user, with the compared scores."""


@frozen
class Sample:
    """A sample on its way through the stages."""

    id: str
    """Content hash of the original, and a count of equal samples before it: ``CONTENT-OCCURRENCE``."""
    row: int
    """Row number in the input, from 0."""
    versions: tuple[Version, ...]
    """The original first, then every rewrite in the order in which it was made."""
    kept: str = ORIGINAL
    """Name of the version kept so far."""
    decisions: tuple[Decision, ...] = ()
    """Decisions about the sample, oldest first."""
    failures: tuple[Failure, ...] = ()
    """Failures of stages with the sample, oldest first."""
    scores: Mapping[str, Mapping[str, Score]] = field(factory=dict, eq=False)
    """All scores that a stage has read so far, by version and metric."""
    _extra: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(factory=dict, eq=False, repr=False)
    """Values of the columns that the run's stages read besides the pair, or a function that reads them."""

    @property
    def extra(self) -> Mapping[str, Any]:
        """Values of the columns that the run's stages declare in ``columns``, by name; read at each access."""
        return self._extra() if callable(self._extra) else self._extra

    _vector: Callable[[], Sequence[float] | None] | None = field(default=None, eq=False, repr=False)
    """A function that reads the vector of the current version, where the stage asks for vectors."""

    @property
    def vector(self) -> Sequence[float] | None:
        """Vector of the spans that a stage over the data set declares in ``embeds``, in float32; read at each access.

        ``None`` for a text without a vector, such as an empty one, and where the stage asks for none.
        """
        return None if self._vector is None else self._vector()

    def __attrs_post_init__(self) -> None:
        names = [version.name for version in self.versions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two versions of a sample are called '{twice}'; a stage must give a rewrite a new name")

    def version(self, name: str) -> Version:
        """Return the version called *name*.

        Raises:
            KeyError: there is no such version.
        """
        for version in self.versions:
            if version.name == name:
                return version
        raise KeyError(name)

    @property
    def current(self) -> Version:
        """The version kept so far."""
        return self.version(self.kept)

    @property
    def original(self) -> Version:
        """The version that was read from the input."""
        return self.versions[0]

    @property
    def rivals(self) -> tuple[Version, ...]:
        """Rewrites of the current version that no choice has judged yet."""
        judged = {name for decision in self.decisions for name in decision.candidates}
        return tuple(v for v in self.versions if v.parent == self.kept and v.name not in judged)

    def adding(self, version: Version) -> Sample:
        """Return the sample with one more version.

        Raises:
            ValueError: a version of that name is there already.
        """
        return evolve(self, versions=(*self.versions, version))

    def deciding(self, decision: Decision) -> Sample:
        """Return the sample after a decision, whose kept version is now the current one."""
        return evolve(self, kept=decision.kept, decisions=(*self.decisions, decision))

    def scoring(self, scores: Mapping[Version, Mapping[str, Score]]) -> Sample:
        """Return the sample with more scores of its versions; scores of versions of other samples are ignored."""
        mine = {v.name: {**self.scores.get(v.name, {}), **scores[v]} for v in self.versions if v in scores}
        return evolve(self, scores={**self.scores, **mine}) if mine else self

    def failing(self, failure: Failure) -> Sample:
        """Return the sample with one more failure noted; nothing else changes."""
        return evolve(self, failures=(*self.failures, failure))


@frozen
class Dropped:
    """The end of a sample that is not kept."""

    sample: Sample
    """The sample as the stage left it."""
    reason: str
    """Explanation for the user. Samples are counted by it, so it should be the same for all samples of one cause."""

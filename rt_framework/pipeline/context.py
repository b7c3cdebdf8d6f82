"""The contexts through which stages ask the teacher and read scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from attrs import frozen
from cattrs import unstructure

from rt_framework.errors import RtError
from rt_framework.model import Failure, Sample, Score, Version, digest
from rt_framework.protocols import Question, Reflection
from rt_framework.scoring import Scoring
from rt_framework.teacher import TeacherClient

T = TypeVar("T")

WAVE = 1024
"""Number of samples of a data-set stage that are scored or recorded together."""


@frozen
class Chains:
    """The teacher's and the student's side of a run, as far as its stages use them."""

    teacher: TeacherClient | None
    scoring: Scoring | None
    exhaustive: bool = False
    """True to reflect on every version and score it by every metric."""

    def require_teacher(self) -> TeacherClient:
        """Return the chain that asks the teacher.

        Raises:
            RtError: no teacher is configured.
        """
        if self.teacher is None:
            raise RtError("the pipeline reflects but no teacher is configured; add 'teacher:' to the config")
        return self.teacher

    def require_scoring(self) -> Scoring:
        """Return the chain that scores with the student.

        Raises:
            RtError: no student is configured.
        """
        if self.scoring is None:
            raise RtError("the pipeline reads scores but no student is configured; add 'student:' to the config")
        return self.scoring


class Context:
    """The :class:`rt_framework.protocols.StageContext` of one stage.

    Args:
        chains: the sides of the run.
        stage: id of the stage.
    """

    def __init__(self, chains: Chains, stage: str) -> None:
        self._chains = chains
        self._stage = stage
        self._scored: dict[Version, dict[str, Score]] = {}

    def noting(self, sample: Sample) -> Sample:
        """Return the sample with the scores of its versions that this stage has received."""
        return sample.scoring(self._scored)

    @property
    def exhaustive(self) -> bool:
        """True if every version is reflected on and scored by all metrics."""
        return self._chains.exhaustive

    async def reflect(self, name: str, reflection: Reflection, version: Version) -> Version | Failure:
        """Ask the teacher for a rewrite of *version*."""
        return await self._chains.require_teacher().reflect(name, reflection, version, self._stage)

    async def ask(self, question: Question[T], version: Version) -> T | Failure:
        """Ask the teacher a question about *version*."""
        return await self._chains.require_teacher().ask(question, version, self._stage)

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric, and remember them for :meth:`noting`."""
        if not metrics:
            return [{} for _ in versions]
        scores = await self._chains.require_scoring().score([version.pair for version in versions], metrics)
        for version, by_metric in zip(versions, scores, strict=True):
            self._scored.setdefault(version, {}).update(by_metric)
        return scores


class DatasetContext(Context):
    """The context of a data-set stage, which may ask for any number of scores.

    It computes them in waves and remembers them by the hash of the version, so that no text is kept in memory.
    """

    def __init__(self, chains: Chains, stage: str) -> None:
        super().__init__(chains, stage)
        self._known: dict[str, dict[str, Score]] = {}

    def noting(self, sample: Sample) -> Sample:
        """Return the sample with the scores of its versions that this stage has received."""
        keys = {version: _key(version) for version in sample.versions} if self._known else {}
        return sample.scoring({version: self._known[key] for version, key in keys.items() if key in self._known})

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric; computed in waves, to bound the memory that they need."""
        scores = []
        for first in range(0, len(versions), WAVE):
            scores += await super().score(list(versions[first : first + WAVE]), metrics)
            for version, by_metric in self._scored.items():
                self._known.setdefault(_key(version), {}).update(by_metric)
            self._scored.clear()
        return scores


def _key(version: Version) -> str:
    return digest(unstructure(version))

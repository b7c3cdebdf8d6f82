"""The contexts through which stages ask the teacher and read scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from attrs import field, frozen

from rt_framework.config import MAIN
from rt_framework.errors import RtError
from rt_framework.kit.bounds import fault
from rt_framework.model import Failure, Range, Sample, Score, Version, digest, keyed
from rt_framework.pipeline.columns import Columns
from rt_framework.pipeline.steps import Step
from rt_framework.protocols import Question, Reflection
from rt_framework.rundir import Reviews
from rt_framework.scoring import Scoring, Vectors
from rt_framework.spans import LASTING
from rt_framework.teacher import TeacherClient

T = TypeVar("T")

WAVE = 1024
"""Number of samples of a data-set stage that are scored or recorded together."""


@frozen
class Chains:
    """The teacher's and the student's side of a run, as far as its stages use them."""

    teachers: Mapping[str, TeacherClient]
    """The chain of each teacher, by name."""
    scoring: Scoring
    exhaustive: bool = False
    """True to reflect on every version and score it by every metric."""
    provided: Mapping[str, Range] = field(factory=dict)
    """Scores that stages give, by name, with the range of their valid values."""
    columns: Columns = field(factory=Columns)
    """Columns that stages read besides the pair."""
    vectors: Vectors | None = None
    """Vectors by the main student, if there is one."""
    reviews: Reviews = field(factory=Reviews)
    """Word of people on the rewrites of this run directory; their vetoes are obeyed."""

    def require_teacher(self, name: str | None) -> TeacherClient:
        """Return the chain that asks a teacher.

        Args:
            name: name of the teacher; the main teacher when left out.

        Raises:
            RtError: no such teacher is configured, or the stage has not declared that it asks this teacher.
        """
        client = self.teachers.get(name or MAIN)
        if client is None and not name:
            raise RtError("the pipeline reflects but no teacher is configured; add 'teacher:' to the config")
        if client is None:
            raise RtError(f"a stage asks the teacher '{name}' but does not name it among its 'teachers'")
        return client


class Context:
    """The :class:`rt_framework.protocols.StageContext` of one stage.

    Args:
        chains: the sides of the run.
        step: the stage.
        sample: the sample that the stage works on; left out for a stage over the whole data set.
    """

    def __init__(self, chains: Chains, step: Step, sample: Sample | None = None) -> None:
        self._chains = chains
        self._step = step
        self._sample = sample
        self._scored: dict[Version, dict[str, Score]] = {}

    def noting(self, sample: Sample) -> Sample:
        """Return the sample with the scores of its versions that this stage has received."""
        return sample.scoring(self._scored) if self._scored else sample

    def received(self, version: Version) -> Mapping[str, Score]:
        """Return the scores of a version that this stage has received so far."""
        return self._scored.get(version, {})

    @property
    def exhaustive(self) -> bool:
        """True if every version is reflected on and scored by all metrics."""
        return self._chains.exhaustive

    async def reflect(
        self, name: str, reflection: Reflection, version: Version, draw: int = 0, teacher: str | None = None
    ) -> Version | Failure:
        """Ask a teacher for a rewrite of *version*."""
        if name not in self._step.names:
            raise ValueError(f"the stage asks for a rewrite '{name}' that it does not name in 'reflections'")
        client = self._client(teacher)
        rewritten = await client.reflect(name, reflection, version, self._step.id, draw)
        if isinstance(rewritten, Failure):
            return rewritten
        if rewritten.scores:
            self._scored[rewritten.version] = {
                name: given(self._step, name, Score(value)) for name, value in rewritten.scores.items()
            }
        return rewritten.version

    async def ask(
        self, question: Question[T], version: Version, draw: int = 0, teacher: str | None = None
    ) -> T | Failure:
        """Ask a teacher a question about *version*."""
        return await self._client(teacher).ask(question, version, self._step.id, draw)

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric, and remember them for :meth:`noting`.

        Raises:
            ValueError: the stage does not name a metric in ``needs``.
        """
        undeclared = next((metric for metric in metrics if metric not in self._step.stage.needs), None)
        if undeclared is not None:
            raise ValueError(f"the stage asks for '{undeclared}' but does not name it in 'needs'")
        return await self.measure(versions, metrics)

    async def measure(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return scores as :meth:`score` does, also of metrics that other stages need."""
        computed = [metric for metric in metrics if metric not in self._chains.provided]
        scores = [self._of_earlier_stages(version, computed) for version in versions]
        new = [place for place, known in enumerate(scores) if len(known) < len(computed)]
        if new:
            found = await self._chains.scoring.score([versions[place].pair for place in new], computed)
            for place, by_metric in zip(new, found, strict=True):
                scores[place] = by_metric
        for place in new:
            self._scored.setdefault(versions[place], {}).update(scores[place])
        names = [metric for metric in metrics if metric in self._chains.provided]
        return [self._with_provided(version, own, names) for version, own in zip(versions, scores, strict=True)]

    def _client(self, teacher: str | None) -> TeacherClient:
        """Return the chain to a teacher; the run has frozen only what a stage says that it asks."""
        if (teacher or MAIN) not in self._step.teachers:
            whom = f"the teacher '{teacher}' but does not name it in 'teachers'" if teacher else "the main teacher"
            raise ValueError(f"the stage asks {whom}" + ("" if teacher else ", but declares no question to it"))
        return self._chains.require_teacher(teacher)

    def _of_earlier_stages(self, version: Version, metrics: Sequence[str]) -> dict[str, Score]:
        """Return the lasting scores of a version that an earlier stage of this run has computed."""
        if self._sample is None or not any(own is version for own in self._sample.versions):
            return {}
        known = self._sample.scores.get(version.name, {})
        scores = {metric: known[metric] for metric in metrics if metric in known}
        return {metric: score for metric, score in scores.items() if score.value is not None or score.status in LASTING}

    def _with_provided(self, version: Version, scores: dict[str, Score], names: Sequence[str]) -> dict[str, Score]:
        """Return the scores of a version with those that this stage or an earlier one has given it."""
        earlier = {} if self._sample is None else self._sample.scores.get(version.name, {})
        known = {**earlier, **self._scored.get(version, {})}
        return scores | {name: known.get(name, Score(None, "not_given", f"no stage gave it {name}")) for name in names}


def given(step: Step, name: str, score: Score) -> Score:
    """Return a score that a stage gives a version, marked if it is outside the range that the stage declares.

    Raises:
        ValueError: the stage has not declared the score, or its value is no finite number.
    """
    if name not in step.provides:
        raise ValueError(f"the stage gives a score '{name}' that it does not declare in 'provides'")
    if score.value is None:
        return score
    wrong = fault(score.value)
    if wrong:
        raise ValueError(f"the score '{name}' {wrong}")
    valid = step.provides[name]
    return score if score.value in valid else Score(score.value, "out_of_range", f"not {valid}")


class DatasetContext(Context):
    """The context of a data-set stage, which may ask for any number of scores.

    It computes them in waves and remembers them by the hash of the version, so that no text is kept in memory.
    """

    def __init__(self, chains: Chains, step: Step) -> None:
        super().__init__(chains, step)
        self._known: dict[str, dict[str, Score]] = {}

    def noting(self, sample: Sample) -> Sample:
        """Return the sample with the scores of its versions that this stage has received."""
        keys = {version: _key(version) for version in sample.versions} if self._known else {}
        return sample.scoring({version: self._known[key] for version, key in keys.items() if key in self._known})

    def received(self, version: Version) -> Mapping[str, Score]:
        """Return the scores of a version that this stage has received so far."""
        return self._known.get(_key(version), {})

    async def measure(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric; computed in waves, to bound the memory that they need."""
        scores = []
        for first in range(0, len(versions), WAVE):
            scores += await super().measure(list(versions[first : first + WAVE]), metrics)
            for version, by_metric in self._scored.items():
                self._known.setdefault(_key(version), {}).update(by_metric)
            self._scored.clear()
        return scores


def _key(version: Version) -> str:
    return digest(keyed(version))

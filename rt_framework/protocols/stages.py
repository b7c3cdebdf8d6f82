"""The protocols of stages, and of what a run offers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from rt_framework.model import Dropped, Failure, Sample, Score, Version
from rt_framework.protocols.reflections import Question, Reflection

T = TypeVar("T")


class Make(Protocol):
    """A function that builds a plugin by name: ``make("selectors", "highest", "ifd")``."""

    def __call__(self, kind: str, name: str, options: object = None) -> Any:
        """Build the plugin.

        Raises:
            PluginError: the plugin is unknown, ambiguous or broken.
            ConfigError: the options do not fit its settings.
        """


class StageContext(Protocol):
    """The services of the run for a stage. Every answer and score is paid for once and stored."""

    @property
    def exhaustive(self) -> bool:
        """True if every version is reflected on and scored by all metrics, as the published script does."""

    async def reflect(
        self, name: str, reflection: Reflection, version: Version, draw: int = 0, teacher: str | None = None
    ) -> Version | Failure:
        """Ask a teacher for a rewrite of *version*.

        Args:
            name: becomes part of the rewrite's name; no other rewrite of the version may have it.
            reflection: the question.
            version: the version that is rewritten.
            draw: number of the draw, from 0; each is an answer of its own.
            teacher: name of the teacher, one of :attr:`AskingStage.teachers`; the main teacher when left out.
        """

    async def ask(
        self, question: Question[T], version: Version, draw: int = 0, teacher: str | None = None
    ) -> T | Failure:
        """Ask a teacher a question about *version*, such as a judgement or a mark; see :meth:`reflect`."""

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric."""


class Stage(Protocol):
    """A step of a pipeline, for one sample at a time."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics that the stage reads."""

    @property
    def reflections(self) -> Mapping[str, Question[Any]]:
        """Questions that the stage asks: reflections by the name that their rewrites get, others by any name."""

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Take the sample one step further."""


@runtime_checkable
class AskingStage(Protocol):
    """A stage that asks teachers by name, or asks a question several times. The extension is optional.

    Without it a stage asks the main teacher for one answer to each of its questions about a version. All draws of one
    question, by all of these teachers, are about the same version.
    """

    @property
    def teachers(self) -> Sequence[str]:
        """Names of the teachers that are asked each of the questions; the empty name is the main teacher's."""

    @property
    def draws(self) -> int:
        """Most answers that one teacher is asked to one question about a version."""


@runtime_checkable
class DecidingStage(Protocol):
    """A stage that asks its questions one after the other and decides in between. The extension is optional.

    Each question is about the version that the sample holds by then. Without it a quote takes all questions of a stage
    to be about the version with which the sample reaches it.
    """

    decides_between: bool
    """True."""


def draw_names(name: str, draws: int) -> list[str]:
    """Return the name of the rewrite of each draw: *name* alone for one draw, else *name*.1, *name*.2 and so on."""
    return [f"{name}.{draw + 1}" for draw in range(draws)] if draws > 1 else [name]


@runtime_checkable
class DatasetStage(Protocol):
    """A step over the whole data set, which waits until every sample has reached it."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics that the stage reads. Every sample comes with these scores of its current version."""

    @property
    def reflections(self) -> Mapping[str, Question[Any]]:
        """Questions that the stage asks: reflections by the name that their rewrites get, others by any name."""

    async def run_all(self, samples: Sequence[Sample], ctx: StageContext) -> Iterable[Sample | Dropped]:
        """Take every sample one step further, in order.

        The items of *samples* are read from the disk at each access. A generator of outcomes keeps only one of them in
        memory at a time.
        """

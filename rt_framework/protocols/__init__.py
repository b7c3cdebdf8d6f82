"""Protocols of the plugin kinds: the members that core calls. They are structural types, so a plugin inherits nothing.

A target registered with a settings class is called with one settings object, otherwise without arguments. A stage gets
a further argument, :class:`Make`, to build the plugins that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from rt_framework.errors import TeacherError
from rt_framework.model import (
    Choice,
    Dropped,
    Failure,
    Pair,
    Pending,
    Range,
    Reply,
    Request,
    Sample,
    Score,
    Scored,
    Unparsed,
    Verdict,
    Version,
)
from rt_framework.protocols.formats import Format as Format
from rt_framework.protocols.formats import PreparingFormat as PreparingFormat
from rt_framework.protocols.formats import StreamedFormat as StreamedFormat
from rt_framework.protocols.formats import TypedFormat as TypedFormat
from rt_framework.protocols.formats import Write as Write
from rt_framework.spans import Context, EncodedSpan, Loss, Span, SpanLoss

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# --- teachers ---------------------------------------------------------------------------------


class Teacher(Protocol):
    """A source of answers. Each call is one attempt, without retry, cache or batching, because core does all three."""

    @property
    def identity(self) -> str:
        """Name of what is asked, without host or credentials: part of every call's key."""

    @property
    def structured(self) -> bool:
        """Return whether answers are held to the request's JSON schema; if not, prompts ask for markers."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            TeacherError: with the kind of failure.
        """


@runtime_checkable
class LocalTeacher(Protocol):
    """A local model that answers many requests at once, by ``complete_many`` instead of ``complete``."""

    @property
    def identity(self) -> str:
        """As for :class:`Teacher`."""

    @property
    def structured(self) -> bool:
        """As for :class:`Teacher`."""

    @property
    def batch_size(self) -> int:
        """Most requests of one batch."""

    def complete_many(self, requests: Sequence[Request]) -> Sequence[Reply]:
        """Answer a batch, in order. Called in a thread of its own."""


@runtime_checkable
class BatchApiTeacher(Protocol):
    """A teacher whose provider also takes requests by the thousand, answers within hours, and asks less for it.

    The members are optional and come besides ``complete``. They only talk to the provider: core gathers the requests,
    waits, finds batches that were submitted before a crash, and asks again for answers that did not come.
    """

    @property
    def batched(self) -> bool:
        """Return whether requests are sent in batches. If not, only batches submitted earlier are collected."""

    @property
    def most_requests(self) -> int:
        """Most requests of one batch."""

    @property
    def most_bytes(self) -> int:
        """Most bytes of the prompts of one batch, as :attr:`Request.most_prompt_tokens` counts them."""

    async def submit(self, requests: Mapping[str, Request], token: str) -> str:
        """Submit requests by key, marked with *token*, and return the provider's name of the batch.

        Raises:
            TeacherError: with the kind of failure; if that kind is sent again, core first looks for the token.
        """

    async def find(self, token: str) -> str | None:
        """Return the provider's name of the batch that was marked with *token*; ``None`` if there is none.

        Raises:
            TeacherError: the provider could not be asked.
        """

    async def collect(
        self, batch: str, requests: Mapping[str, Request]
    ) -> Pending | Mapping[str, Reply | TeacherError]:
        """Return the answer or the failure of each request, by key; or the progress of a batch that has not ended.

        Raises:
            TeacherError: the provider could not be asked.
        """


@runtime_checkable
class RereadingTeacher(Protocol):
    """A teacher that can read kept answers again, which an earlier release of the teacher could not read."""

    async def reread(self, request: Request, raw: bytes) -> Reply:
        """Read the body of an answer to *request* that :meth:`Teacher.complete` could not read. Sends nothing.

        Raises:
            TeacherError: it still cannot be read.
        """


@runtime_checkable
class PricedTeacher(Protocol):
    """A teacher that knows its prices, which a run with a budget needs."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the cost of so many tokens in nano-dollars, rounded up; ``None`` when the price is not known."""


# --- students ---------------------------------------------------------------------------------


class Student(Protocol):
    """The model to be tuned, used as a scorer."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights, tokenizer, dtype and encoding. Must not load the model."""

    def encode(self, spans: Sequence[Span]) -> Sequence[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result without a number that says why there are none."""

    def score(self, batch: Sequence[EncodedSpan]) -> Sequence[SpanLoss]:
        """Return the losses of a batch, in order. A loss must not depend on batch mates beyond float noise.

        Raises:
            OutOfMemory: the batch does not fit; core halves it.
        """


@runtime_checkable
class SelfDescribingStudent(Protocol):
    """A student that states which batches suit it. Asked at the first forward pass, so it may load the model."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch."""

    @property
    def packs(self) -> bool:
        """Return whether a batch runs as one row, shared prefixes once, laid out by :mod:`rt_framework.kit.packing`."""

    @property
    def path(self) -> str:
        """Description of the way losses are computed, for ``rt doctor`` and the manifest."""


class Executor(Protocol):
    """A place where the student's pure work runs: this process or another one."""

    @property
    def workers(self) -> int:
        """Number of pieces of work that run at the same time."""

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory of the student; it is called at the first work, on the worker."""

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* on the student and return what it returns. Work is pure and may be repeated."""

    def close(self) -> None:
        """Free the worker."""


# --- metrics ----------------------------------------------------------------------------------


class Frame(Protocol):
    """The way in which a preset and a template put a pair before the student.

    A run has one frame, so that a name always means the same losses. Each method returns one span for each turn of the
    conversation: one span for a single-turn pair. For a pair without a question or an answer each method raises
    ``Unscorable`` with the status ``empty``.
    """

    def response_given_instruction(self, pair: Pair) -> Sequence[Span]:
        """Return y after x: the conditional pass of IFD. Usual name ``y|x``."""

    def response_alone(self, pair: Pair) -> Sequence[Span]:
        """Return y without x: the direct pass of IFD. Usual name ``y``."""

    def instruction_given_response(self, pair: Pair) -> Sequence[Span]:
        """Return x after g(y): the conditional pass of r-IFD. Usual name ``x|y``."""

    def instruction_alone(self, pair: Pair) -> Sequence[Span]:
        """Return x without y: the direct pass of r-IFD. Usual name ``x``."""

    def response_length(self, pair: Pair) -> Sequence[Span]:
        """Return y to be counted only, without a forward pass. Usual name ``len(y)``."""


class MetricSpans(Protocol):
    """The members that every metric has."""

    direction: str
    """Better side of the values: ``higher`` or ``lower``; ``none`` for a measure without a better side."""
    valid: Range
    """Range of valid values; a value outside cannot win a choice."""

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans whose losses the metric needs, by name. Pure."""


class Metric(MetricSpans, Protocol):
    """A metric that is pure arithmetic on losses."""

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the value, from losses of the same names that all have a number. Pure."""


@runtime_checkable
class FittedMetric(MetricSpans, Protocol):
    """A metric with constants that come from the whole data set, such as a threshold or a mean.

    It has values only where all samples are at hand: in a stage over the data set, and in ``rt score``.
    """

    def fit(self, losses: Iterable[Mapping[str, Loss]]) -> Metric:
        """Return the metric with its constants, from the losses of every pair that has them, read one pair at a time.

        Pure, and independent of the order of the pairs.
        """


# --- selectors --------------------------------------------------------------------------------


class Selector(Protocol):
    """A plugin that chooses between the versions of one sample."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics that the selector reads."""

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Decide between the candidates. The current version comes first; there are at least two candidates."""


class DatasetSelector(Protocol):
    """A plugin that chooses between the samples of a data set."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics that the selector reads."""

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Decide on every sample, in the order given.

        The items of *rows* are made at each access: ids and scores are in memory, a version is read from the disk. The
        verdicts may be made at access as well, see :class:`rt_framework.kit.compact.LazySequence`.
        """


# --- reflections ------------------------------------------------------------------------------


class Question(Protocol[T_co]):
    """A question to the teacher and the strict parsing of its answer. Pure; never uses the network."""

    rewrites: Sequence[str]
    """Parts of the pair that the answer rewrites: ``instruction``, ``response``; none for a judgement."""

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request for the *index*-th answer. A later request must differ from an earlier one."""

    def parse(self, pair: Pair, request: Request, reply: Reply) -> T_co | Unparsed:
        """Return the complete content of the answer, or the reason why it cannot be used."""


class Reflection(Question[Pair], Protocol):
    """A question whose answer is a new pair."""


# --- templates --------------------------------------------------------------------------------


class Template(Protocol):
    """The text, or the messages, around a pair in a prompt."""

    def prompt(self, pair: Pair) -> Context:
        """Return everything before the response.

        Raises:
            Unscorable: the template has no form for this pair.
        """

    def reverse(self, pair: Pair) -> Context:
        """Return g(y): a prompt that shows the response and asks for its instruction."""

    def header(self) -> Context:
        """Return the text before a response with the instruction taken out."""


# --- stages and reporters ---------------------------------------------------------------------


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

    async def reflect(self, name: str, reflection: Reflection, version: Version) -> Version | Failure:
        """Ask the teacher for a rewrite of *version*; *name* becomes part of the rewrite's name."""

    async def ask(self, question: Question[T], version: Version) -> T | Failure:
        """Ask the teacher a question about *version*, such as a judgement or a mark."""

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

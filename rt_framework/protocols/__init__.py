"""What each kind of plugin promises. Structural types: a plugin inherits nothing.

A target registered with a settings class is called with one settings object, otherwise with
nothing. A stage gets one argument more, :class:`Make`, to build the plugins that it is made of.
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
from rt_framework.protocols.formats import TypedFormat as TypedFormat
from rt_framework.protocols.formats import Write as Write
from rt_framework.spans import Context, EncodedSpan, Loss, Span, SpanLoss

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# --- teachers ---------------------------------------------------------------------------------


class Teacher(Protocol):
    """A source of answers. One attempt a call: no retry, no cache, no batching; core does all three."""

    @property
    def identity(self) -> str:
        """What is asked, without host or credentials: part of every call's key."""

    @property
    def structured(self) -> bool:
        """Whether answers are held to the request's JSON schema; if not, prompts ask for markers."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            TeacherError: with the kind of failure.
        """


@runtime_checkable
class LocalTeacher(Protocol):
    """A local model that answers many requests at once. It offers this instead of ``complete``."""

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
        """Answer a batch, in order. Runs in a thread of its own."""


@runtime_checkable
class BatchApiTeacher(Protocol):
    """A teacher whose provider also takes requests by the thousand, answers within hours, and asks less for it.

    It offers this besides ``complete``, and only talks to the provider: core gathers, waits, finds again what
    was submitted before a crash, and asks anew what got no answer.
    """

    @property
    def batched(self) -> bool:
        """Whether requests are to go this way. If not, only what was submitted earlier is collected."""

    @property
    def most_requests(self) -> int:
        """Most requests of one batch."""

    @property
    def most_bytes(self) -> int:
        """Most bytes of the prompts of one batch, as :attr:`Request.most_prompt_tokens` counts them."""

    async def submit(self, requests: Mapping[str, Request], token: str) -> str:
        """Submit requests by key, marked with *token*; returns the provider's name of the batch.

        Raises:
            TeacherError: with the kind of failure; after one that is sent again core looks for the token.
        """

    async def find(self, token: str) -> str | None:
        """The provider's name of the batch that was marked with *token*, if there is one.

        Raises:
            TeacherError: the provider could not be asked.
        """

    async def collect(
        self, batch: str, requests: Mapping[str, Request]
    ) -> Pending | Mapping[str, Reply | TeacherError]:
        """The answers to the requests, by key, or how each of them failed; or how far the batch has come.

        Raises:
            TeacherError: the provider could not be asked.
        """


@runtime_checkable
class RereadingTeacher(Protocol):
    """A teacher whose unreadable answers are kept, and may be read by a later release of it."""

    async def reread(self, request: Request, raw: bytes) -> Reply:
        """Read the body of an answer to *request* that :meth:`Teacher.complete` could not read. Sends nothing.

        Raises:
            TeacherError: it still cannot be read.
        """


@runtime_checkable
class PricedTeacher(Protocol):
    """A teacher that knows what it costs; a run with a budget needs one."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """What so many tokens cost, in nano-dollars, rounded up; ``None`` when the price is not known."""


# --- students ---------------------------------------------------------------------------------


class Student(Protocol):
    """The model to be tuned, as a scorer."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights, tokenizer, dtype and encoding. Must not load the model."""

    def encode(self, spans: Sequence[Span]) -> Sequence[EncodedSpan | SpanLoss]:
        """Token ids of each span, or a loss without a number that says why there are none."""

    def score(self, batch: Sequence[EncodedSpan]) -> Sequence[SpanLoss]:
        """Losses of a batch, in order. Must not depend on batch mates beyond float noise.

        Raises:
            OutOfMemory: the batch does not fit; core halves it.
        """


@runtime_checkable
class SelfDescribingStudent(Protocol):
    """A student that says how it is best fed. Asked at the first forward pass, so it may load the model."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch."""

    @property
    def packs(self) -> bool:
        """Whether it feeds a batch as one row, shared prefixes once, as :mod:`rt_framework.kit.packing` lays it out."""

    @property
    def path(self) -> str:
        """How it computes losses, in words, for ``rt doctor`` and the manifest."""


class Executor(Protocol):
    """Where the student's pure work runs: in this process, or elsewhere."""

    @property
    def workers(self) -> int:
        """How many pieces of work run at the same time."""

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory of the student; it is called at the first work, on the worker."""

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* on the student and return what it returns. Work is pure and may be repeated."""

    def close(self) -> None:
        """Free the worker."""


# --- metrics ----------------------------------------------------------------------------------


class Frame(Protocol):
    """The preset's and template's way to put a pair before the student. One a run, so names never collide.

    Each method returns one span a turn of the conversation: one for a single-turn pair. For a pair without a question
    or an answer each raises ``Unscorable`` with the status ``empty``.
    """

    def response_given_instruction(self, pair: Pair) -> Sequence[Span]:
        """Y after x: the conditional pass of IFD. Usual name ``y|x``."""

    def response_alone(self, pair: Pair) -> Sequence[Span]:
        """Y without x: the direct pass of IFD. Usual name ``y``."""

    def instruction_given_response(self, pair: Pair) -> Sequence[Span]:
        """X after g(y): the conditional pass of r-IFD. Usual name ``x|y``."""

    def instruction_alone(self, pair: Pair) -> Sequence[Span]:
        """X without y: the direct pass of r-IFD. Usual name ``x``."""

    def response_length(self, pair: Pair) -> Sequence[Span]:
        """Y to be counted only, without a forward pass. Usual name ``len(y)``."""


class MetricSpans(Protocol):
    """What every metric says."""

    direction: str
    """``higher`` or ``lower``: which is better; ``none`` for a measure without a better side."""
    valid: Range
    """Values outside cannot win a choice."""

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """The losses to compute, by name. Pure."""


class Metric(MetricSpans, Protocol):
    """Pure arithmetic on losses."""

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The value, from losses of the same names that all have a number. Pure."""


@runtime_checkable
class FittedMetric(MetricSpans, Protocol):
    """A metric with constants that come from the whole data set: a threshold, a mean.

    It has numbers only where all samples are at hand: in a stage over the data set, and in ``rt score``.
    """

    def fit(self, losses: Iterable[Mapping[str, Loss]]) -> Metric:
        """The metric with its constants, from the losses of every pair that has them, read one pair at a time.

        Pure, and independent of the order.
        """


# --- selectors --------------------------------------------------------------------------------


class Selector(Protocol):
    """Chooses between the versions of one sample."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics it reads."""

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Decide. The version held so far is first; there are at least two."""


class DatasetSelector(Protocol):
    """Chooses between the samples of a data set."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics it reads."""

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Decide on every sample, in the order given.

        *rows* are made when they are taken: ids and scores are at hand, a version is read from the disk. The
        verdicts may be as late, see :class:`rt_framework.kit.compact.LazySequence`.
        """


# --- reflections ------------------------------------------------------------------------------


class Question(Protocol[T_co]):
    """A question to the teacher and the strict reading of its answer. Pure; never touches the network."""

    rewrites: Sequence[str]
    """Parts of the pair that it rewrites: ``instruction``, ``response``; none for a judgement."""

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """The request for the *index*-th answer. A later one must differ from an earlier one."""

    def parse(self, pair: Pair, request: Request, reply: Reply) -> T_co | Unparsed:
        """What the answer says, whole, or why it cannot be used."""


class Reflection(Question[Pair], Protocol):
    """A question whose answer is a new pair."""


# --- templates --------------------------------------------------------------------------------


class Template(Protocol):
    """Prompt text for a pair."""

    def prompt(self, pair: Pair) -> Context:
        """Everything before the response.

        Raises:
            Unscorable: the template has no form for this pair.
        """

    def reverse(self, pair: Pair) -> Context:
        """g(y): a prompt that shows the response and asks for its instruction."""

    def header(self) -> Context:
        """What stands before a response with the instruction taken out."""


# --- stages and reporters ---------------------------------------------------------------------


class Make(Protocol):
    """Builds a plugin by name: ``make("selectors", "highest", "ifd")``."""

    def __call__(self, kind: str, name: str, options: object = None) -> Any:
        """Build it.

        Raises:
            PluginError: unknown, ambiguous or broken.
            ConfigError: the options do not fit its settings.
        """


class StageContext(Protocol):
    """What a stage may ask of the run. Every answer and score is paid for once and remembered."""

    @property
    def exhaustive(self) -> bool:
        """Reflect on every version and score all metrics, as the published script does."""

    async def reflect(self, name: str, reflection: Reflection, version: Version) -> Version | Failure:
        """Ask the teacher for a rewrite of *version*; *name* becomes part of the rewrite's name."""

    async def ask(self, question: Question[T], version: Version) -> T | Failure:
        """Ask the teacher about *version*: a judgement, a mark."""

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Scores of each version, by metric."""


class Stage(Protocol):
    """One step of a pipeline, for one sample at a time."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics it reads."""

    @property
    def reflections(self) -> Mapping[str, Question[Any]]:
        """The questions it asks: reflections by the name that their rewrites get, others by any name."""

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Take the sample one step further."""


@runtime_checkable
class DatasetStage(Protocol):
    """A step over the whole data set: a barrier."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics it reads. Every sample comes with the scores of its kept version by these."""

    @property
    def reflections(self) -> Mapping[str, Question[Any]]:
        """The questions it asks: reflections by the name that their rewrites get, others by any name."""

    async def run_all(self, samples: Sequence[Sample], ctx: StageContext) -> Iterable[Sample | Dropped]:
        """Take every sample one step further, in order.

        *samples* are read from the disk, each when it is taken. A generator of outcomes lets each go again.
        """

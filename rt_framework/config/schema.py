"""The configuration of a run, as frozen objects that check their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import floor
from typing import Any, Literal

from attrs import Attribute, evolve, field, frozen

from rt_framework.config.fallbacks import chain, check_fallbacks
from rt_framework.config.pipelines import pipeline as named_pipeline
from rt_framework.config.shards import Shard
from rt_framework.errors import ConfigError
from rt_framework.kit.bounds import fault, within
from rt_framework.kit.parts import Spec
from rt_framework.plugin import named

_MOST_A_MINUTE = 10**12
_MOST_AT_ONCE = 1_000_000
"""Largest number of samples or calls at once: each is a task with memory of its own."""

_MOST_DOLLARS = 1e9
"""Largest budget in dollars: in nano-dollars it has to stay a number that the ledger can hold."""


def _check_shard(_: object, __: object, value: str | None) -> None:
    if value is not None:
        Shard.parse(value)


@frozen
class TurnRules:
    """The turns of a conversation that are trained, and so scored, rewritten and packed as targets."""

    trained: Literal["last", "all", "marked"] = "last"
    """``last``: the last assistant turn. ``all``: every assistant turn. ``marked``: every assistant turn whose message
    has none of ``train``, ``weight``, ``loss_weight``, ``loss_mask``, ``trainable`` and ``training`` at 0 or false."""
    unroll: bool = False
    """True for a sample of each trained turn, with the turns before it."""

    def __str__(self) -> str:
        counts = {"last": "the last assistant turn counts", "all": "every assistant turn counts"}
        which = counts.get(self.trained, "every assistant turn counts that is not marked as untrained")
        samples = "; each of them is a sample, with the turns before it" if self.unroll else ""
        return f"of a conversation {which} (trained: {self.trained}){samples}"

    def facts(self) -> dict[str, Any]:
        """Return the rules that are not the default: with these a run directory is what it always was."""
        return {} if self == TurnRules() else {"trained": self.trained, "unroll": self.unroll}


@frozen
class Data:
    """The data set to read."""

    path: str
    """A file, a folder of files, or a data set of the hub: ``hf://datasets/ORG/NAME``."""
    format: str | None = None
    """Name of a format; found by itself when left out."""
    shape: str | None = None
    """``alpaca``, ``messages``, ``sharegpt`` or ``prompt-completion``; found by itself when left out."""
    columns: dict[str, str] = field(factory=dict)
    """Our field to your column: ``{instruction: question, output: answer}``."""
    shard: str | None = field(default=None, validator=_check_shard)
    """``i/n``: only the i-th of n parts of the samples, with an n-th of the budget."""
    revision: str | None = None
    """Of a data set of the hub: branch, tag or commit; the main branch when left out. A run stays with one commit."""
    config: str | None = None
    """Of a data set of the hub: its configuration; the default or only one when left out."""
    split: str | None = None
    """Of a data set of the hub: its split; the only one when left out."""
    trained: Literal["last", "all", "marked"] = "last"
    """Turns of a conversation that are trained, and so scored: see :class:`TurnRules`."""
    unroll: bool = False
    """Make a sample of each trained turn of a conversation, with the turns before it."""
    unreadable: Literal["refuse", "drop"] = "refuse"
    """``refuse``: stop with a list of all faults if a row cannot be read. ``drop``: leave such rows out of the samples,
    and put them into ``dropped``."""

    def __attrs_post_init__(self) -> None:
        given = next((key for key in ("revision", "config", "split") if getattr(self, key) is not None), None)
        if given is not None and not self.is_on_hub:
            raise ConfigError(f"data.{given} is for data sets of the hub, and '{self.path}' is none; take it out")

    @property
    def turns(self) -> TurnRules:
        """The rules about the turns of a conversation."""
        return TurnRules(self.trained, self.unroll)

    @property
    def is_on_hub(self) -> bool:
        """True if the path names a data set of the hub."""
        return self.path.startswith("hf://")


@frozen
class ScoringConfig:
    """Rules by which pairs are presented to the student. A key given here overrides the preset's."""

    preset: str = "chat"
    template: Spec | None = None
    max_tokens: int | None = field(default=None, validator=within(least=2))
    """Longest sequence in tokens."""
    batch_tokens: int | None = field(default=None, validator=within(least=1))
    """Most tokens of one padded batch, halved when memory runs out; the student's own choice when left out."""
    executor: Spec = Spec("local")


KEEPING = frozenset({"gate", "measure", "select", "unimproved"})
"""Built-in stages that never change a sample's version. A stage of another package may; built-in names are reserved."""


@frozen
class Pipeline:
    """The stages of a run, by the name of a pipeline or one by one."""

    use: str | None = None
    stages: tuple[Spec, ...] = ()
    exhaustive: bool = False
    """Reflect on every version and score every metric, as the published script does. Decisions are the same."""

    @classmethod
    def shorthand(cls, value: object) -> object:
        """Expand the short form: a name alone is ``use``, a list alone is ``stages``."""
        if isinstance(value, str):
            return {"use": value}
        return {"stages": value} if isinstance(value, list) else value

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The stages to run.

        Raises:
            ConfigError: neither or both of a name and stages are given, or the name is unknown.
        """
        if (self.use is None) == (not self.stages):
            raise ConfigError("pipeline: give either the name of a pipeline, or a list of stages")
        return tuple(Spec.parse(stage) for stage in named_pipeline(self.use)) if self.use else self.stages

    @property
    def unchosen(self) -> str | None:
        """A sentence for the user if rewrites are paid for that no sample takes; ``None`` otherwise."""
        for name in reversed([spec.name for spec in self.specs]):
            if name == "reflect":
                return (
                    "no stage after the last 'reflect' chooses between the versions: every sample keeps the one it "
                    "has. Add 'choose: newest' to take each rewrite, or another selector"
                )
            if name not in KEEPING:
                return None
        return None


@frozen
class Output:
    """Format and shape of the outputs that are written besides the ledger."""

    format: str | None = None
    """Format of ``kept`` and ``dropped``; as the input when left out."""
    shape: str | None = None


def _check_fail_on_error(_: object, __: object, value: bool | float) -> None:
    if type(value) is float and not 0 < value < 1:
        raise ConfigError(
            f"fail_on_error as a share must lie between 0 and 1, not {value:g}; a count is a whole number"
        )
    wrong = None if isinstance(value, bool) else fault(value, least=0)
    if wrong:
        raise ConfigError(f"fail_on_error {wrong}")


@frozen
class Limits:
    """Limits on how much runs at once, and on the whole run. They may change between two runs of one directory."""

    concurrency: int = field(default=32, validator=within(least=1, most=_MOST_AT_ONCE))
    """Teacher calls under way at most. The run begins with fewer and finds out how many the provider takes."""
    requests_per_minute: int | None = field(default=None, validator=within(least=1, most=_MOST_A_MINUTE))
    """Requests a minute that the provider takes; left out, what its answers state, else what it turns out to take."""
    tokens_per_minute: int | None = field(default=None, validator=within(least=1, most=_MOST_A_MINUTE))
    """Tokens a minute that the provider takes, answers included; left out, as ``requests_per_minute``."""
    in_flight: int | None = field(default=None, validator=within(least=1, most=_MOST_AT_ONCE))
    """Samples under way at once; left out, 256, or 50,000 where the teacher's questions go in batches."""
    timeout: float = field(default=120.0, validator=within(above=0, most=86_400))
    """Seconds for one attempt in all, from connecting to the last byte."""
    attempts: int = field(default=5, validator=within(least=1, most=1000))
    """Times that one request is sent when the provider or the connection fails."""
    answers: int = field(default=2, validator=within(least=1, most=1000))
    """Answers asked for one rewrite when they are unusable; each later request is a changed one."""
    budget_usd: float | None = field(default=None, validator=within(least=0, most=_MOST_DOLLARS))
    """Dollars; nothing is sent that could exceed it. With 0 only what costs nothing is sent."""
    on_ambiguous: Literal["retry", "hold"] = "retry"
    """Calls that a killed run may have paid for without an answer: ask again, or hold back until ``rt retry``."""
    samples: int | None = field(default=None, validator=within(least=1))
    """Read only so many rows."""
    fail_on_error: bool | int | float = field(default=True, validator=_check_fail_on_error)
    """Samples with errors that end the command with exit code 1: any, none, or more than a share or a count."""

    def at_once(self, batched: bool) -> int:
        """Return how many samples are under way at once: many if *batched*, since only these can fill a batch."""
        return self.in_flight or (50_000 if batched else 256)

    def too_many(self, errors: int, total: int) -> bool:
        """Return whether more samples have errors than ``fail_on_error`` allows."""
        if isinstance(self.fail_on_error, bool):
            return self.fail_on_error and errors > 0
        allowed = self.fail_on_error * total if isinstance(self.fail_on_error, float) else self.fail_on_error
        return errors > allowed


MAIN = ""
"""Name of the teacher and of the student that ``teacher:`` and ``student:`` name."""

MAIN_TEACHER = "teacher"
"""Name of the main teacher where a config or an account has to name it: the key that it stands under."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@frozen
class NamedTeacher:
    """A teacher with a share of the limits: the main one, or one that stages ask by its name."""

    part: Spec
    """The plugin that is asked."""
    fallback: str | None = None
    """Name of the teacher that gets a question after this one's final failure; ``teacher`` is the main teacher."""
    budget_usd: float | None = field(default=None, validator=within(least=0, most=_MOST_DOLLARS))
    """Dollars that this teacher may cost at most; ``limits.budget_usd`` holds for all teachers together."""
    concurrency: int | None = field(default=None, validator=within(least=1, most=_MOST_AT_ONCE))
    """Calls of this teacher under way at most; ``limits.concurrency`` when left out."""
    requests_per_minute: int | None = field(default=None, validator=within(least=1, most=_MOST_A_MINUTE))
    """Requests a minute that its provider takes; ``limits.requests_per_minute`` when left out."""
    tokens_per_minute: int | None = field(default=None, validator=within(least=1, most=_MOST_A_MINUTE))
    """Tokens a minute that its provider takes; ``limits.tokens_per_minute`` when left out."""

    @classmethod
    def shorthand(cls, value: object) -> object:
        """Expand the short form: a teacher alone is ``part``."""
        return value if isinstance(value, Mapping) and "part" in value else {"part": Spec.parse(value)}


def _as_teacher(value: NamedTeacher | Spec | None) -> NamedTeacher | None:
    """Return the main teacher, which a Python program may give as a part alone."""
    return NamedTeacher(value) if isinstance(value, Spec) else value


def _check_names(_: object, attribute: Attribute[Any], value: Mapping[str, object]) -> None:
    for name in value:
        own = attribute.name.removesuffix("s")
        if not _NAME.fullmatch(name) or name == own:
            raise ConfigError(
                f"{attribute.name}: '{name}' cannot name a {own}: use letters, digits, '_', '.', '-', and not '{own}'"
            )


@frozen
class Config:
    """Configuration of a whole run."""

    data: Data
    pipeline: Pipeline
    teacher: NamedTeacher | None = field(default=None, converter=_as_teacher)
    """The teacher that is asked where a stage names none."""
    teachers: dict[str, NamedTeacher] = field(factory=dict, validator=_check_names)
    """Further teachers by name, which stages ask with ``teacher: NAME``."""
    student: Spec | None = None
    """The model to be tuned, whose losses decide."""
    students: dict[str, Spec] = field(factory=dict, validator=_check_names)
    """Further students by name: the metric ``ifd@NAME`` reads the losses of one."""
    metrics: dict[str, Spec] = field(factory=dict, validator=_check_names)
    """Metrics with options, by the name under which stages read them."""
    answers: tuple[str, ...] = ()
    """Other run directories: answers that they have paid for are copied and not asked for again."""
    scoring: ScoringConfig = ScoringConfig()
    output: Output = Output()
    limits: Limits = Limits()

    def __attrs_post_init__(self) -> None:
        check_fallbacks(self._fallbacks)

    @property
    def _fallbacks(self) -> dict[str, str | None]:
        """The fallback of each teacher, by the names that the config uses."""
        main = {} if self.teacher is None else {MAIN_TEACHER: self.teacher}
        return {name: one.fallback for name, one in (main | self.teachers).items()}

    @property
    def has_fallbacks(self) -> bool:
        """True if a teacher has a fallback."""
        return any(name is not None for name in self._fallbacks.values())

    def asked(self, names: Iterable[str]) -> dict[str, NamedTeacher]:
        """Return the main teacher, if there is one, and those of the named ones that stages ask, by name.

        The fallbacks of all of them come with them. Each has its budget, or this config's shard's share of it, and the
        name of its fallback is the one by which the result has it.

        Raises:
            ConfigError: there is no teacher of such a name.
        """
        teachers = {} if self.teacher is None else {MAIN: self.teacher}
        wanted = [name for name in dict.fromkeys(names) if name != MAIN]
        teachers |= {name: named("teacher", name, self.teachers) for name in wanted}
        for first in list(teachers):
            for name in chain(first or MAIN_TEACHER, self._fallbacks)[1:]:
                teachers |= {} if name == MAIN_TEACHER else {name: self.teachers[name]}
        return {
            name: evolve(
                one,
                budget_usd=self.share_of(one.budget_usd),
                fallback=MAIN if one.fallback == MAIN_TEACHER else one.fallback,
            )
            for name, one in teachers.items()
        }

    def share_of(self, dollars: float | None) -> float | None:
        """Return what a shard may spend of a budget, in dollars: all shards together never exceed it.

        Without a shard it is the whole budget. ``None`` is no budget.
        """
        if dollars is None or self.data.shard is None:
            return dollars
        return Shard.parse(self.data.shard).share(floor(Fraction(str(dollars)) * 10**9)) / 1e9

    def scored(self, names: Iterable[str]) -> dict[str, Spec]:
        """Return the main student, if there is one, and those of the named ones whose losses are read, by name.

        Raises:
            ConfigError: there is no student of such a name.
        """
        students = {} if self.student is None else {MAIN: self.student}
        wanted = [name for name in dict.fromkeys(names) if name != MAIN]
        return students | {name: named("student", name, self.students) for name in wanted}

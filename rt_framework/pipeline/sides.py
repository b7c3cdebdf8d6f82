"""The two sides of a run: the teachers with their chains of answers, the student with its chain of scores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any

from attrs import evolve, fields, frozen

from rt_framework.config import MAIN, Builder, Limits, NamedTeacher, ScoringConfig
from rt_framework.errors import ConfigError
from rt_framework.events import StudentCounts
from rt_framework.kit.parts import Given, Spec
from rt_framework.kit.places import PlacedTeacher, cleaned
from rt_framework.ledger import Ledger
from rt_framework.pipeline.student_teachers import use
from rt_framework.protocols import BatchApiTeacher, Executor, Student, StudentTeacher, Teacher, is_served
from rt_framework.rundir import Session
from rt_framework.scoring import Losses, PresetSpans, Scoring, ScoringRules
from rt_framework.teacher import (
    Accounts,
    Answers,
    AskedTeacher,
    HandoverLog,
    Purse,
    Sending,
    TeacherClient,
    budget_of,
    clients_of,
    is_priced,
)


@frozen
class StudentSide:
    """One student of a run, its executor and its losses."""

    student: Student
    executor: Executor
    losses: Losses

    async def close(self) -> None:
        """Stop the computation of losses and release the executor's workers."""
        await self.losses.close()
        self.executor.close()


@frozen
class ScoringSide:
    """The students of one run, by name, and the chain that scores by their losses."""

    by_name: Mapping[str, StudentSide]
    scoring: Scoring

    @property
    def main(self) -> StudentSide:
        """The main student's side."""
        return self.by_name[MAIN]

    def facts(self) -> dict[str, str]:
        """Return the fingerprint of each student, which may not change in a run directory."""
        return student_facts({name: side.student for name, side in self.by_name.items()})

    def busy(self) -> bool:
        """Return whether losses are being computed, after which samples will go on."""
        return any(side.losses.busy() for side in self.by_name.values())

    def counts(self) -> StudentCounts:
        """Return the sums of the students' counts."""
        counts = [side.losses.counts() for side in self.by_name.values()]
        names = [field.name for field in fields(StudentCounts)]
        return StudentCounts(**{name: sum(getattr(one, name) for one in counts) for name in names})

    def outstanding(self) -> int:
        """Return the characters of the texts whose losses are asked for and not known yet."""
        return sum(side.losses.outstanding() for side in self.by_name.values())

    def loading(self) -> bool:
        """Return whether a student is being loaded."""
        return any(side.losses.loading() for side in self.by_name.values())

    def why(self) -> str:
        """Return a description of what is being waited for; empty if no student has anything to do."""
        return "; ".join(filter(None, (side.losses.why() for side in self.by_name.values())))

    async def close(self) -> None:
        """Stop the chain and release the workers of all executors."""
        await asyncio.gather(*(side.close() for side in self.by_name.values()))


def student_facts(students: Mapping[str, Student]) -> dict[str, str]:
    """Return the fingerprint of each student, by the name of its fact."""
    return {f"student {name}".rstrip(): student.fingerprint for name, student in students.items()}


def students_of(make: Builder, named: Mapping[str, Spec]) -> dict[str, Student]:
    """Build students by name.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, or two names are one student.
        ModelError: a model cannot be found.
    """
    students: dict[str, Student] = {name: make.spec("students", spec) for name, spec in named.items()}
    if len(students) > 1:
        _check_apart("students", {name: student.fingerprint for name, student in students.items()}, "")
    return students


def scoring_side(
    make: Builder,
    named: Mapping[str, Spec],
    config: ScoringConfig,
    ledger: Ledger,
    metrics: Mapping[str, Spec] = MappingProxyType({}),
) -> ScoringSide:
    """Build the students and the chain that scores by their losses.

    Args:
        make: builds plugins.
        named: the students, by name.
        config: rules of scoring.
        ledger: where losses are kept.
        metrics: metrics with options, by the name under which they are asked for.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, two names are one student, or several students have one executor.
        ModelError: a model cannot be found.
    """
    rules = ScoringRules.of(config)
    if len(named) > 1 and isinstance(config.executor.options, Given):
        # It would run the work of all students on the student that it was started with last.
        raise ConfigError("scoring.executor: an object runs the work of one student; with several, name an executor")
    sides: dict[str, StudentSide] = {}
    for name, student in students_of(make, named).items():
        # A student behind a server only encodes texts here, for which there is one worker.
        where = Spec("local") if is_served(student) else config.executor
        executor: Executor = make.spec("executors", where)
        executor.start(partial(_given, student))
        sides[name] = StudentSide(student, executor, Losses(student, executor, ledger, config.batch_tokens))
    scoring = Scoring(
        metrics=cache(lambda name: make.spec("metrics", metrics.get(name, Spec(name)))),
        frame=PresetSpans(rules.preset, make.spec("templates", rules.template), rules.max_tokens),
        losses={name: side.losses for name, side in sides.items()},
        range_binds=rules.preset.range_binds,
    )
    return ScoringSide(sides, scoring)


def _given(student: Student) -> Student:
    """Return the student: the factory that an executor calls.

    It is a module-level function so that it can be pickled by name for other processes. The student has not loaded its
    model yet.
    """
    return student


@frozen
class TeacherSide:
    """One teacher of a run and the chain that sends it questions."""

    teacher: Teacher
    answers: Answers
    client: TeacherClient


@frozen
class TeacherSides:
    """The teachers of one run, by name."""

    by_name: Mapping[str, TeacherSide]

    @property
    def clients(self) -> dict[str, TeacherClient]:
        """The chain of each teacher, by name."""
        return {name: side.client for name, side in self.by_name.items()}

    @property
    def main(self) -> TeacherSide:
        """The main teacher's side."""
        return self.by_name[MAIN]

    @property
    def batched(self) -> bool:
        """True if the questions of a teacher are sent through its provider's batch API."""
        return any(goes_in_batches(side.teacher) for side in self.by_name.values())

    def facts(self) -> dict[str, str]:
        """Return the facts of all teachers, which may not change in a run directory; see :func:`teacher_facts`."""
        return teacher_facts({name: side.teacher for name, side in self.by_name.items()})

    async def remember_prices(self, ledger: Ledger) -> None:
        """Record in the ledger that a teacher without a known price is asked.

        From then on the costs that the ledger adds up are not the whole cost.
        """
        if not all(is_priced(side.teacher) for side in self.by_name.values()):
            await ledger.set_meta("unpriced", True)

    async def close(self) -> None:
        """Wait for the calls under way, since they may already be billed, and send nothing more."""
        await asyncio.gather(*(side.answers.close() for side in self.by_name.values()))


def goes_in_batches(teacher: object) -> bool:
    """Return whether a teacher's questions are sent through the provider's batch API."""
    return isinstance(teacher, BatchApiTeacher) and teacher.batched


def teachers_of(
    make: Builder, named: Mapping[str, NamedTeacher], students: Mapping[str, Spec] | Mapping[str, StudentSide]
) -> dict[str, Teacher]:
    """Build teachers by name.

    Args:
        make: builds plugins.
        named: the teachers, by name.
        students: the students that teachers may ask, by name; without their sides nothing will be asked.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, two names are one teacher, or a student cannot answer.
        ModelError: the model of a student that is asked cannot be found.
    """
    teachers: dict[str, Any] = {name: make.spec("teachers", one.part) for name, one in named.items()}
    for name, teacher in teachers.items():
        if isinstance(teacher, StudentTeacher):
            asked = students.get(teacher.student)
            if isinstance(asked, StudentSide):
                teachers[name] = use(name, teacher, asked.student, asked.executor, asked.losses.ready)
            else:
                teachers[name] = use(name, teacher, None if asked is None else make.spec("students", asked))
    # An answer belongs to the teacher's identity, so two chains for one identity would pay for a question twice.
    _check_apart(
        "teachers", {name: one.identity for name, one in teachers.items()}, ", and 'draws' for several answers"
    )
    return teachers


def _check_apart(key: str, identities: Mapping[str, str], more: str) -> None:
    """Check that no two names stand for one teacher or one student.

    Raises:
        ConfigError: two names do.
    """
    names: dict[str, str] = {}
    for name, identity in identities.items():
        other = names.setdefault(identity, name)
        if other != name:
            first = f"'{other}'" if other else f"the main {key.removesuffix('s')}"
            raise ConfigError(f"{key}: '{name}' and {first} are both {identity}; use one name for both{more}")


def teacher_facts(teachers: Mapping[str, Teacher]) -> dict[str, str]:
    """Return the identity of each teacher and its address, if it has one, which may not change in a run directory.

    Raises:
        ConfigError: a teacher's address is not valid.
    """
    facts = {}
    for name, teacher in teachers.items():
        behind = f" {name}" if name else ""
        facts[f"teacher{behind}"] = teacher.identity
        place = cleaned(str(teacher.place)) if isinstance(teacher, PlacedTeacher) else ""
        if place:
            facts[f"place{behind}"] = place
    return facts


def teacher_sides(
    make: Builder,
    named: Mapping[str, NamedTeacher],
    limits: Limits,
    session: Session,
    ask: bool = True,
    busy: Callable[[], bool] = lambda: False,
    elsewhere: Sequence[Ledger] = (),
    students: Mapping[str, StudentSide] = MappingProxyType({}),
) -> TeacherSides:
    """Build the teachers and the chains that send them questions, and let the session's meter read their counters.

    Args:
        make: builds plugins.
        named: the teachers, by name.
        limits: limits of the calls of all teachers.
        session: the session that asks.
        ask: True if requests may be sent; if False, only answers from the ledger are given.
        busy: returns whether the run may soon ask more questions without a further answer of a teacher.
        elsewhere: ledgers of other run directories, whose answers are used too.
        students: the students that teachers may ask, by name.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, two names are one teacher, a student cannot answer, or a budget needs a price
            that is not known.
    """
    ledger = session.ledger
    # A single teacher's budget is the run's, unless it has one of its own beside it.
    several = len(named) > 1 or any(one.budget_usd is not None for one in named.values())
    joint = Purse(limits.budget_usd, ledger.costs.spent()) if several else None
    built = teachers_of(make, named, students)
    answers: dict[str, Answers] = {}

    def others_busy(name: str) -> bool:
        # Live answers of another teacher come soon, and with them perhaps more questions for a batch of this one.
        return busy() or any(one.sending.calling for other, one in answers.items() if other != name)

    for name, teacher in built.items():
        shares = {
            key: getattr(named[name], key) or getattr(limits, key)
            for key in ("concurrency", "requests_per_minute", "tokens_per_minute")
        }
        own = evolve(limits, **shares)
        dollars = limits.budget_usd if joint is None else named[name].budget_usd
        budget = budget_of(teacher, ledger, dollars, joint, name)
        told = (session.meter.reporters, session.stop, partial(others_busy, name))
        answers[name] = Answers(
            *(teacher, ledger, Sending(teacher, ledger, own, budget, *told), ask),
            holds=limits.on_ambiguous == "hold",
            elsewhere=elsewhere,
            goes_on=named[name].fallback is not None,
        )
    sendings = {name: one.sending for name, one in answers.items()}
    session.meter.teacher = Accounts(sendings, joint) if joint is not None else next(iter(sendings.values()), None)
    clients = clients_of(
        {name: AskedTeacher(answers[name], one.structured, named[name].fallback) for name, one in built.items()},
        limits.answers,
        lambda name, fallback: HandoverLog(name, fallback, ledger, answers[name].sending.counter).note,
    )
    return TeacherSides({name: TeacherSide(built[name], answers[name], clients[name]) for name in built})

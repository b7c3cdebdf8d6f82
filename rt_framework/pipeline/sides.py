"""The two sides of a run: the teacher with its chain of answers, the student with its chain of scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from attrs import frozen

from rt_framework.config import Builder, Limits, ScoringConfig
from rt_framework.kit.parts import Spec
from rt_framework.kit.places import PlacedTeacher, cleaned
from rt_framework.ledger import Ledger
from rt_framework.protocols import BatchApiTeacher, Executor, Student, Teacher
from rt_framework.rundir import Session
from rt_framework.scoring import Losses, PresetSpans, Scoring, ScoringRules
from rt_framework.teacher import Answers, Sending, TeacherClient, is_priced


@frozen
class StudentSide:
    """The student of one run and the chain that scores with it."""

    student: Student
    executor: Executor
    losses: Losses
    scoring: Scoring

    async def close(self) -> None:
        """Stop the chain and release the executor's workers."""
        await self.losses.close()
        self.executor.close()


def student_side(make: Builder, spec: Spec, config: ScoringConfig, ledger: Ledger) -> StudentSide:
    """Build the student and the chain that scores with it.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit.
        ModelError: the model cannot be found.
    """
    framing = ScoringRules.of(config)
    student: Student = make.spec("students", spec)
    executor: Executor = make.spec("executors", config.executor)
    executor.start(partial(_given, student))
    losses = Losses(student.fingerprint, executor, ledger, config.batch_tokens)
    scoring = Scoring(
        metrics=cache(lambda name: make("metrics", name)),
        frame=PresetSpans(framing.preset, make.spec("templates", framing.template), framing.max_tokens),
        losses=losses,
        range_binds=framing.preset.range_binds,
    )
    return StudentSide(student, executor, losses, scoring)


def _given(student: Student) -> Student:
    """Return the student: the factory that an executor calls.

    It is a module-level function so that it can be pickled by name for other processes. The student has not loaded its
    model yet.
    """
    return student


@frozen
class TeacherSide:
    """The teacher of one run and the chain that sends it questions."""

    teacher: Teacher
    answers: Answers
    client: TeacherClient


def teacher_facts(teacher: Teacher) -> dict[str, str]:
    """Return the identity of the teacher and its address, if it has one, which may not change in a run directory.

    Raises:
        ConfigError: the teacher's address is not valid.
    """
    place = cleaned(str(teacher.place)) if isinstance(teacher, PlacedTeacher) else ""
    return {"teacher": teacher.identity} | ({"place": place} if place else {})


async def remember_prices(ledger: Ledger, teacher: Teacher) -> None:
    """Record in the ledger that a teacher without a known price is asked.

    From then on the costs that the ledger adds up are not the whole cost.
    """
    if not is_priced(teacher):
        await ledger.set_meta("unpriced", True)


def goes_in_batches(teacher: object) -> bool:
    """Return whether a teacher's questions are sent through the provider's batch API."""
    return isinstance(teacher, BatchApiTeacher) and teacher.batched


def teacher_side(
    make: Builder,
    spec: Spec,
    limits: Limits,
    session: Session,
    ask: bool = True,
    busy: Callable[[], bool] = lambda: False,
) -> TeacherSide:
    """Build the teacher and the chain that sends it questions, and let the session's meter read its counters.

    Args:
        make: builds plugins.
        spec: the teacher.
        limits: limits of the calls.
        session: the session that asks.
        ask: True if requests may be sent; if False, only answers from the ledger are given.
        busy: returns whether the run may soon ask more questions without a further answer of the teacher.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, or a budget needs a price that is not known.
    """
    teacher: Teacher = make.spec("teachers", spec)
    sending = Sending(teacher, session.ledger, limits, session.meter.reporters, session.stop, busy)
    session.meter.teacher = sending
    answers = Answers(teacher, session.ledger, sending, ask, holds=limits.on_ambiguous == "hold")
    return TeacherSide(teacher, answers, TeacherClient(answers, teacher.structured, limits.answers))

"""The two sides of a run: the teachers with their chains of answers, the student with its chain of scores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache, partial

from attrs import evolve, frozen

from rt_framework.config import MAIN, Builder, Limits, NamedTeacher, ScoringConfig
from rt_framework.errors import ConfigError
from rt_framework.kit.parts import Spec
from rt_framework.kit.places import PlacedTeacher, cleaned
from rt_framework.ledger import Ledger
from rt_framework.protocols import BatchApiTeacher, Executor, Student, Teacher
from rt_framework.rundir import Session
from rt_framework.scoring import Losses, PresetSpans, Scoring, ScoringRules
from rt_framework.teacher import Accounts, Answers, Purse, Sending, TeacherClient, budget_of, is_priced


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


def teachers_of(make: Builder, named: Mapping[str, NamedTeacher]) -> dict[str, Teacher]:
    """Build teachers by name.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, or two names are one teacher.
    """
    teachers: dict[str, Teacher] = {name: make.spec("teachers", one.part) for name, one in named.items()}
    names: dict[str, str] = {}
    for name, teacher in teachers.items():
        other = names.setdefault(teacher.identity, name)
        # An answer belongs to the teacher's identity, so two chains for one identity would pay for a question twice.
        if other != name:
            first = f"'{other}'" if other else "the main teacher"
            raise ConfigError(
                f"teachers: '{name}' and {first} are both {teacher.identity}; "
                "use one name for both, and 'draws' for several answers"
            )
    return teachers


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
) -> TeacherSides:
    """Build the teachers and the chains that send them questions, and let the session's meter read their counters.

    Args:
        make: builds plugins.
        named: the teachers, by name.
        limits: limits of the calls of all teachers.
        session: the session that asks.
        ask: True if requests may be sent; if False, only answers from the ledger are given.
        busy: returns whether the run may soon ask more questions without a further answer of a teacher.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, two names are one teacher, or a budget needs a price that is not known.
    """
    ledger = session.ledger
    joint = Purse(limits.budget_usd, ledger.costs.spent()) if len(named) > 1 else None
    sides: dict[str, TeacherSide] = {}

    def others_busy(name: str) -> bool:
        # Live answers of another teacher come soon, and with them perhaps more questions for a batch of this one.
        return busy() or any(side.answers.sending.calling for other, side in sides.items() if other != name)

    for name, teacher in teachers_of(make, named).items():
        one = named[name]
        own = evolve(limits, concurrency=one.concurrency or limits.concurrency)
        budget = budget_of(teacher, ledger, limits.budget_usd if joint is None else one.budget_usd, joint, name)
        sending = Sending(
            teacher, ledger, own, budget, session.meter.reporters, session.stop, partial(others_busy, name)
        )
        answers = Answers(teacher, ledger, sending, ask, holds=limits.on_ambiguous == "hold")
        sides[name] = TeacherSide(teacher, answers, TeacherClient(answers, teacher.structured, limits.answers))
    sendings = {name: side.answers.sending for name, side in sides.items()}
    session.meter.teacher = Accounts(sendings, joint) if joint is not None else next(iter(sendings.values()), None)
    return TeacherSides(sides)

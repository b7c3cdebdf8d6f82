"""Reasoning before the answers: the tokens that it may take, and answers whose tokens it took up."""

from __future__ import annotations

from rt_framework.errors import FatalTeacherError
from rt_framework.model import Reply, Request, Unparsed
from rt_framework.protocols import ReasoningTeacher
from rt_framework.teacher.counts import TeacherCounter

_NOTICED = 4
"""Number of answers without text that stop a run, if they are at least half of all: each was paid for in full."""

_MORE = 1.25
"""Factor by which more tokens have to be allowed, before a question whose answer was all reasoning is asked again."""


def reasoning_tokens_of(teacher: object) -> int:
    """Return the most tokens of reasoning that a teacher is allowed beside each answer."""
    return getattr(teacher, "reasoning_tokens", 0)


def most_answer_tokens(teacher: object, request: Request) -> int:
    """Return the most tokens that an answer can be billed for, its reasoning included."""
    return request.sampling.max_tokens + reasoning_tokens_of(teacher)


def has_more_room(teacher: object, request: Request, reply: Reply) -> bool:
    """Return whether a question is asked again: reasoning took up its answer, and now it may have more tokens."""
    if not reply.all_reasoning:
        return False
    return most_answer_tokens(teacher, request) >= _MORE * reply.usage.completion_tokens > 0


def unfinished(reply: Reply) -> Unparsed:
    """Return the reason why an answer without text cannot be used."""
    used = f"all {reply.usage.completion_tokens} tokens" if reply.usage.completion_tokens else "all tokens"
    return Unparsed(
        "all_reasoning", f"{used} of the answer went into reasoning; allow more, or let the model think less"
    )


def check_answers_come(counter: TeacherCounter, teacher: object) -> None:
    """Check that the answers of a teacher have text, before the money of a run goes into reasoning.

    Raises:
        FatalTeacherError: several answers, and at least half of all so far, have none.
    """
    empty, answered = counter.all_reasoning, counter.answered
    if empty < _NOTICED or 2 * empty < answered:
        return
    if isinstance(teacher, ReasoningTeacher):
        mend = (
            f"allow more with reasoning_tokens in the teacher's settings ({teacher.reasoning_tokens} now), and give "
            "the same command again; or let the model think less, with extra: {reasoning_effort: low} in a new run "
            "directory"
        )
    else:
        mend = "allow more with max_tokens in the reflection's settings"
    raise FatalTeacherError(
        f"teacher: {empty} of {answered} answers have no text, because the model spent all tokens of the answer on "
        f"reasoning; {mend}"
    )

"""The teacher's chain: a reflection renders a question, the answer is paid for once, the reflection reads it.

Nothing is read before it is committed, so a better parser costs no call.
"""

from __future__ import annotations

from rt_framework.calls import Answer, Calls
from rt_framework.errors import KINDS, Retry
from rt_framework.model import Failure, Pair, Request, Unparsed, Version
from rt_framework.protocols import Reflection


class Teaching:
    """Rewrites by one teacher.

    Args:
        calls: answers questions.
        structured: whether answers are held to a JSON schema.
        answers: most answers asked for one rewrite when they are unusable.
    """

    def __init__(self, calls: Calls, structured: bool, answers: int) -> None:
        self._calls = calls
        self._structured = structured
        self._answers = answers

    async def reflect(self, name: str, reflection: Reflection, version: Version, stage: str) -> Version | Failure:
        """A rewrite of *version*, or why there is none after every attempt that is allowed.

        Raises:
            FatalTeacherError: no further call can succeed.
            BudgetReached: the budget allows no further call.
        """
        failure = Failure(stage, "format", "no answer was asked for")
        for index in range(self._answers):
            request = reflection.render(version.pair, index, self._structured)
            answer = await self._calls.answer(request, first=index == 0)
            outcome = _read(reflection, version.pair, request, answer)
            if isinstance(outcome, Pair):
                return Version(_lineage(version.name, name), outcome, version.name, name, answer.key)
            failure = Failure(stage, outcome.kind, outcome.reason, answer.key)
            if KINDS[outcome.kind].retry is not Retry.CHANGE:
                break
        return failure


def _read(reflection: Reflection, pair: Pair, request: Request, answer: Answer) -> Pair | Unparsed:
    if answer.reply is None:
        error = answer.error
        return Unparsed(error.kind.name, error.message) if error else Unparsed("connection", "no answer")
    return reflection.parse(pair, request, answer.reply)


def _lineage(parent: str, reflection: str) -> str:
    return reflection if parent == "original" else f"{parent}.{reflection}"

"""The chain of a rewrite: a reflection renders a request, the answer is paid for once, the reflection parses it.

An answer is parsed only after it is committed to the ledger, so a better parser costs no new call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from attrs import evolve, frozen

from rt_framework.errors import FALLBACK_KINDS, KINDS, Retry
from rt_framework.model import Failure, Pair, Request, Rewrite, Turn, Unparsed, Version
from rt_framework.protocols import Question, Reflection
from rt_framework.teacher.asking import followed, parsed, rendered
from rt_framework.teacher.sending import Answer

T = TypeVar("T")


class AnswerSource(Protocol):
    """A source of answers: the ledger and paid calls to the teacher, or the ledger alone."""

    async def answer(self, request: Request, first: bool, stage: str = "") -> Answer:
        """Return the answer to *request*; see :meth:`rt_framework.teacher.Answers.answer`."""


@frozen
class Rewritten:
    """A rewrite, and the scores that the teacher gave it in the same answer."""

    version: Version
    scores: Mapping[str, float]


@frozen
class Fallback:
    """The teacher that gets a question after the final failure of another one."""

    client: TeacherClient
    note: Callable[[str, Unparsed], Awaitable[None]]
    """Notes the call that failed for good and its failure, before the question is asked here."""


class TeacherClient:
    """A client that obtains rewrites from one teacher, and after its final failure from its fallback.

    Args:
        source: gives the answers.
        structured: True if answers have to follow a JSON schema.
        answers: most answers that are asked for one rewrite, as long as they are unusable.
        fallback: the teacher that is asked next.
    """

    def __init__(self, source: AnswerSource, structured: bool, answers: int, fallback: Fallback | None = None) -> None:
        self._source = source
        self._structured = structured
        self._answers = answers
        self._fallback = fallback

    async def reflect(
        self, name: str, reflection: Reflection, version: Version, stage: str, draw: int = 0
    ) -> Rewritten | Failure:
        """Return a rewrite of *version* and the scores that came with it, or the failure.

        It fails after every answer that is allowed was unusable, the fallbacks' too.

        Raises:
            FatalTeacherError: no further call can succeed.
            BudgetReached: the budget allows no further call.
            ValueError: the reflection changes a call of a tool or its result.
        """
        said, key = await self._said(reflection, version.pair, stage, draw)
        if isinstance(said, Unparsed):
            return Failure(stage, said.kind, said.reason, key)
        rewrite = said if isinstance(said, Rewrite) else Rewrite(said, {})
        pair = consistent(version.pair, rewrite.pair)
        return Rewritten(Version(lineage(version.name, name), pair, version.name, name, key), rewrite.scores)

    async def ask(self, question: Question[T], version: Version, stage: str, draw: int = 0) -> T | Failure:
        """Return the teacher's parsed answer to *question* about *version*, or the failure if none was usable.

        Raises:
            FatalTeacherError, BudgetReached: as in :meth:`reflect`.
        """
        said, key = await self._said(question, version.pair, stage, draw)
        return Failure(stage, said.kind, said.reason, key) if isinstance(said, Unparsed) else said

    async def _said(self, question: Question[T], pair: Pair, stage: str, draw: int) -> tuple[T | Unparsed, str | None]:
        """Return the first usable answer of the teacher or of its fallbacks, or the last failure; with the call's key.

        A fallback gets the whole question, rendered for it: it has answered none of the conversation's requests, and it
        may want another form of answer.
        """
        said, key = await self._own(question, pair, stage, draw)
        fallback = self._fallback
        if fallback is None or key is None or not isinstance(said, Unparsed) or said.kind not in FALLBACK_KINDS:
            return said, key
        await fallback.note(key, said)
        return await fallback.client._said(question, pair, stage, draw)

    async def _own(self, question: Question[T], pair: Pair, stage: str, draw: int) -> tuple[T | Unparsed, str | None]:
        """Return the teacher's first usable answer, or why its last one is unusable, with the key of its call.

        Another answer is paid for only if the failure says that a changed request may help (``Retry.CHANGE``).
        """
        said: T | Unparsed = Unparsed("format", "the number of answers to ask for is 0")
        key = None
        # The index is part of the key of a call, so the ledger does not give an unusable answer a second time.
        for index in range(self._answers):
            request, answer = await self._conversation(question, pair, index, stage, draw)
            said, key = _read(question, pair, request, answer), answer.key
            if not isinstance(said, Unparsed):
                break
            if said.kind not in KINDS:
                raise ValueError(f"'{said.kind}' is no kind of failure; parse must give one of {', '.join(KINDS)}")
            if KINDS[said.kind].retry is not Retry.CHANGE:
                break
        return said, key

    async def _conversation(
        self, question: Question[Any], pair: Pair, index: int, stage: str, draw: int
    ) -> tuple[Request, Answer]:
        """Return the last request of a conversation with its answer: the first request, unless the question goes on.

        The further requests follow from the answers alone. So a run that was stopped finds the answers of the steps
        that were paid for in the ledger, and asks for the next one.
        """
        first = request = rendered(question, pair, index, self._structured, draw)
        while True:
            answer = await self._source.answer(request, index == 0, stage)
            further = None if answer.reply is None else followed(question, pair, first, request, answer.reply)
            if further is None:
                return request, answer
            request = further


def _read(question: Question[T], pair: Pair, request: Request, answer: Answer) -> T | Unparsed:
    if answer.reply is None:
        error = answer.error
        return Unparsed(error.kind.name, error.message) if error else Unparsed("connection", "no answer")
    return parsed(question, pair, request, answer.reply)


def consistent(old: Pair, new: Pair) -> Pair:
    """Return a rewrite without the reasoning of the text that it replaces.

    Raises:
        ValueError: the rewrite changes a turn that calls a tool, or a result of a tool: these are facts, and not style.
    """
    if new.tool_calls != old.tool_calls or (old.tool_calls and new.response != old.response):
        raise ValueError("a rewrite changes a turn that calls tools, which has to stay as it is")
    for part in ("history", "since", "after"):
        before, after = ([turn for turn in getattr(pair, part) if _is_tool_turn(turn)] for pair in (old, new))
        if before != after:
            raise ValueError("a rewrite changes a call of a tool or its result, which have to stay as they are")
    stale = new.response != old.response and new.reasoning == old.reasoning
    return evolve(new, reasoning=None) if stale and new.reasoning is not None else new


def _is_tool_turn(turn: Turn) -> bool:
    return turn.role == "tool" or bool(turn.tool_calls)


def lineage(parent: str, reflection: str) -> str:
    """Return the name of a rewrite: the reflection's name, after the parent's name if that is itself a rewrite."""
    return reflection if parent == "original" else f"{parent}.{reflection}"

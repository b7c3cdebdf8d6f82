"""The contract of students behind a server."""

from __future__ import annotations

import asyncio
import atexit
import math
from collections.abc import Sequence
from functools import cache
from typing import Any
from unittest import SkipTest

from rt_framework.errors import StudentError
from rt_framework.protocols import is_served
from rt_framework.spans import EncodedSpan, Span, SpanLoss
from rt_framework.testing.contracts.base import outcome
from rt_framework.testing.contracts.loop import run
from rt_framework.testing.contracts.student import StudentContract
from rt_framework.testing.loss_server import LossFault, LossServer

_FAILURES = {
    "bad_request": "bad_request",
    "rate_limited": "rate_limited",
    "overloaded": "overloaded",
    "auth": "auth",
    "half_json": "unreadable",
    "dropped": "connection",
}
"""The kind of failure that a fault of the server is."""

_STATUSES = {
    "short_list": "no_prompt_logprobs",
    "missing_id": "no_prompt_logprobs",
    "other_ids": "no_prompt_logprobs",
    "no_list": "no_prompt_logprobs",
    "minus_9999": "nonfinite",
    "too_long": "server_no_room",
}
"""The status of a loss that a fault of the server gives, in the place of a number."""

_TEXT = "The Rhine flows through Switzerland, Germany and the Netherlands."
_LONG_S = 60.0
"""Seconds for an answer, also on a busy machine."""
_SLOW_S = 0.5
"""Seconds after which a request to a server that does not answer is cancelled."""


class ServedStudentContract(StudentContract):
    """Contract of a student behind a server: each fault is told as what it is, and none becomes a number.

    It asks the kit's server, which speaks as vLLM and SGLang do: override :meth:`options_for`.
    """

    def options_for(self, url: str) -> Any:  # noqa: ARG002 - for those that override it
        """Return options with which the student asks the kit's server at *url*; ``None`` if it speaks otherwise."""
        return None

    @property
    def options(self) -> Any:
        """Options that ask the kit's server without faults, which all checks of this process share."""
        return self.options_for(_sound().url)

    # --- checks -----------------------------------------------------------------------------

    def test_it_is_asked_at_once(self) -> None:
        """It has the members of a student behind a server, and takes at least one request at once."""
        student = self.student()
        assert is_served(student), "expected the members fingerprint, at_once, noise, path, encode, loss and aclose"
        assert student.at_once >= 1 and student.noise >= 0, f"found at_once {student.at_once}, noise {student.noise}"

    def test_no_fault_becomes_a_number(self) -> None:
        """An answer without the loss of each target token gives a status that says so."""
        for fault, status in _STATUSES.items():
            found = self._under(fault)
            assert isinstance(found, SpanLoss) and found.nll is None and found.status == status, (
                f"under the fault '{fault}' expected status {status} and no number, found {found!r:.300}"
            )

    def test_failures_have_their_kind(self) -> None:
        """A failed attempt raises ``StudentError`` with the kind of failure, and with the pause that was asked for."""
        for fault, kind in _FAILURES.items():
            found = self._under(fault)
            assert isinstance(found, StudentError) and found.kind.name == kind, (
                f"under the fault '{fault}' expected a StudentError of kind {kind}, found {found!r:.300}"
            )
            assert fault != "rate_limited" or found.retry_after == 7, (
                f"the server asked for a pause of 7 s, found {found.retry_after!r}"
            )

    def test_a_slow_server_can_be_left(self) -> None:
        """A request that the server does not answer can be cancelled."""
        found = self._under("slow")
        assert isinstance(found, TimeoutError), f"expected a request that waits, found {found!r:.300}"

    def test_a_server_that_is_gone_is_told(self) -> None:
        """Without a server the attempt fails with the kind ``connection``, and its return is enough to go on."""
        self._asks()
        server = LossServer()
        server.start()
        student = self.make(self.options_for(server.url))
        (span,) = self._plain_span(student)
        before = run(_outcome(student, span))
        server.stop()
        gone = run(_outcome(student, span))
        server.start()
        after = run(_outcome(student, span))
        run(student.aclose())
        server.stop()
        assert isinstance(gone, StudentError) and gone.kind.name == "connection", (
            f"expected a StudentError of kind connection, found {gone!r:.300}"
        )
        assert before == after, f"before the server went the loss was {before!r:.200}, after its return {after!r:.200}"

    def test_one_attempt_is_one_request(self) -> None:
        """A failed attempt is not repeated by the student, since core decides on a further one."""
        self._asks()
        with LossServer(lambda _n, _i: LossFault("overloaded")) as server:
            student = self.make(self.options_for(server.url))
            run(_outcome(student, self._plain_span(student)[0]))
            run(student.aclose())
            assert server.asked == 1, f"one attempt sent {server.asked} requests; repeat nothing"

    def _under(self, fault: str) -> Any:
        """Return what an attempt gives or raises under a fault of the server."""
        self._asks()
        with LossServer(lambda _n, _i: LossFault(fault, "7" if fault == "rate_limited" else None)) as server:
            student = self.make(self.options_for(server.url))
            (span,) = self._plain_span(student)
            found = run(_outcome(student, span, _SLOW_S if fault == "slow" else _LONG_S))
            run(student.aclose())
        number = getattr(found, "nll", None)
        assert number is None or not math.isfinite(number), f"under the fault '{fault}' found the number {number}"
        return found

    def _asks(self) -> None:
        if self.options_for("") is None:
            raise SkipTest("it does not speak as the kit's server does; where it does, say how with options_for(url)")

    def _plain_span(self, student: Any) -> Sequence[EncodedSpan]:
        encoded: Any = outcome(student.encode, [Span("", _TEXT, "ids")])
        if not isinstance(encoded, list | tuple) or not isinstance(encoded[0], EncodedSpan):
            raise SkipTest(f"a plain text is not encoded: {encoded!r:.200}")
        return encoded


async def _outcome(student: Any, span: EncodedSpan, seconds: float = _LONG_S) -> Any:
    """Return what one attempt gives within *seconds*, or the exception that it raises."""
    try:
        async with asyncio.timeout(seconds):
            return await student.loss(span)
    except Exception as error:
        return error


@cache
def _sound() -> LossServer:
    """Return the server without faults, which all checks of this process share."""
    server = LossServer(answer=lambda body: '{"floats": "yes"}' if "response_format" in body else "Yes.")
    server.start()
    atexit.register(server.stop)
    return server

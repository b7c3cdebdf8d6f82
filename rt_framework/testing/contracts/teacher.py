"""The contract of teachers."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from unittest import SkipTest

from attrs import evolve

from rt_framework.errors import TeacherError
from rt_framework.model import Reply, Request, Sampling, Turn, Usage
from rt_framework.protocols import LocalTeacher, StudentTeacher
from rt_framework.testing.blocking import blocking_calls
from rt_framework.testing.contracts.base import PluginContract
from rt_framework.testing.fakes import FakeStudent
from rt_framework.testing.server import FAULTS, Fault, FaultServer

_CANARY = "rt-canary-7f3a9c1e5b2d8046"
_VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "RT_CANARY_API_KEY")
_ENDINGS = ("_API_KEY", "_TOKEN")
_SCHEMA = {"type": "object", "properties": {"response": {"type": "string"}}, "required": ["response"]}
_TEXT = json.dumps({"response": "The Rhine is a river in Europe."})
_ODD = ("empty", "null", "no_choices", "length", "content_filter")
"""Faults after which there is still an answer, though perhaps a useless one."""
_PATIENCE = 3.0
"""Seconds in which the second of two questions has to arrive while the first is still unanswered."""
_REPEATING = ("auth", "forbidden")
"""Refusals whose message repeats the caller's key."""
_UNANSWERED = tuple(name for name in FAULTS if name not in (*_ODD, "hang"))
"""Faults after which there is no answer, without ``hang``: the run limits the time of an attempt, not the teacher."""


class TeacherContract(PluginContract):
    """Contract of a teacher: one attempt per call, no retry, no cache. A fault server stands in for a real one."""

    kind = "teachers"
    free: bool = False
    """True if answers cost nothing (a local model, a file): the teacher is then asked without the fault server."""

    def options_for(self, url: str) -> Any:  # noqa: ARG002 - for those that override it
        """Return options to make the teacher ask the OpenAI-compatible server at *url*; ``None`` if it asks none."""
        return None

    def request(self) -> Request:
        """Return a question that the teacher can answer. Override this if it can answer only some questions."""
        turn = Turn("user", "Give a better answer to: name a river.")
        schema = _SCHEMA if self.teacher().structured else None
        return Request("response", "0" * 32, 0, (turn,), Sampling(max_tokens=16), schema)

    def teacher(self, url: str | None = None) -> Any:
        """Return a new teacher, which asks the server at *url* if it asks any server, or else the kit's student."""
        options = self.options_for(url or "http://127.0.0.1:9/v1")
        teacher = self.make() if options is None else self.make(options)
        return teacher.use(FakeStudent(), _Here(), _at_once) if isinstance(teacher, StudentTeacher) else teacher

    # --- checks -----------------------------------------------------------------------------

    def test_it_says_who_it_is(self) -> None:
        """``identity`` is a text, and the same for two instances; ``structured`` is true or false."""
        teacher, other = self.teacher(), self.teacher()
        assert isinstance(teacher.identity, str) and teacher.identity.strip(), (
            f"expected a text, found {teacher.identity!r}"
        )
        assert teacher.identity == other.identity, (
            f"two instances have the identities {teacher.identity!r} and {other.identity!r}: "
            "a resumed run would pay again"
        )
        assert isinstance(teacher.structured, bool), (
            f"expected structured to be true or false, found {teacher.structured!r}"
        )

    def test_it_answers(self) -> None:
        """A question gets a ``Reply`` with its text and its usage; the text of a server is passed on unchanged.

        If the reply has the parts of its cost, they add up to it.
        """
        if not self._may_be_asked():
            raise SkipTest("it is not asked, since that may cost money: override options_for(url), or set free = True")
        with self._server() as server:
            reply = _asked(self.teacher(server.url), self.request())
        assert isinstance(reply, Reply), f"expected a Reply, found {reply!r:.300}"
        assert isinstance(reply.text, str), f"expected the answer as text, found {reply.text!r}"
        assert reply.text == _TEXT or not server.received, (
            f"the server said {_TEXT!r}, the reply says {reply.text!r:.200}"
        )
        used = isinstance(reply.usage, Usage) and reply.usage.prompt_tokens >= 0 and reply.usage.completion_tokens >= 0
        assert used and reply.nano_dollars >= 0, (
            f"expected tokens and cost from 0, found {reply.usage}, {reply.nano_dollars}"
        )
        assert reply.charge is None or reply.charge.total == reply.nano_dollars, (
            f"the parts of the cost add up to {reply.charge}, and nano_dollars are {reply.nano_dollars}"
        )

    def test_a_batch_is_answered_in_order(self) -> None:
        """A local teacher gives one reply for each request of a batch, in the order of the requests."""
        teacher = self.teacher()
        if not isinstance(teacher, LocalTeacher) or teacher.batch_size < 2 or not self.free:
            raise SkipTest("it answers one at a time, or free is not set")
        request = self.request()
        requests = [request, evolve(request, messages=(Turn("user", "Name a mountain."),), pair_hash="1" * 32)]
        batches = (requests, requests[::-1])
        texts, turned = ([reply.text for reply in asyncio.run(_together(teacher, batch))] for batch in batches)
        assert len(texts) == len(turned) == 2, f"two requests were given {len(texts)} replies"
        assert texts == turned[::-1], f"two requests are answered {texts}, in reverse {turned}; keep replies in order"

    def test_the_identity_holds_no_address(self) -> None:
        """The same model at another address is the same teacher: its answers are not paid for again."""
        self._needs_server()
        identity, again, there = (self.teacher(f"http://127.0.0.1:{port}/v1").identity for port in (9, 9, 10))
        if identity != again:
            raise SkipTest("it has another identity each time")
        assert identity == there, f"with another address {identity!r} becomes {there!r}; leave the host out of identity"

    def test_one_attempt_is_one_request(self) -> None:
        """One call sends one request, whatever goes wrong: the framework makes and pays for retries."""
        for name, _, count in self._each(None, *_UNANSWERED, *_ODD):
            assert count == 1, (
                f"{name or 'a plain answer'}: one attempt was {count} requests; switch its client's retries off"
            )

    def test_nothing_is_remembered(self) -> None:
        """A repeated question is sent again: only the ledger stores answers."""
        self._needs_server()
        with self._server() as server:
            _gathered(self.teacher(server.url), self.request(), self.request(), together=False)
            count = len(server.received)
        # No request at all has another cause than a cache.
        assert count in (0, 2), f"the same question, asked twice, was {count} requests; keep no answers"

    def test_calls_do_not_wait_for_each_other(self) -> None:
        """Several calls can wait for answers at the same time: a call that blocks would delay the whole run."""
        self._needs_server()
        if isinstance(self.teacher(), LocalTeacher):
            raise SkipTest("it answers in batches, on a thread of the framework's")
        meeting = threading.Barrier(2)
        with _secrets(), FaultServer(lambda _: _met(meeting)) as server:
            first = self.request()
            _gathered(self.teacher(server.url), first, evolve(first, index=1), together=True)
            apart = len(server.received) > 1 and meeting.broken
        assert not apart, (
            "of two questions the second was sent when the first was answered; await an asynchronous client, "
            "or asyncio.to_thread for one that blocks"
        )

    def test_it_never_blocks(self) -> None:
        """Other calls go on while one is awaited: ``complete`` calls no ``time.sleep`` and no blocking client."""
        if self._asks_a_server():
            raise SkipTest("it asks a server; the check of calls that wait for each other covers it")
        if not self.free or isinstance(self.teacher(), LocalTeacher):
            raise SkipTest("free is not set, or it answers on a thread of the framework's")
        with blocking_calls() as places:
            _asked(self.teacher(), self.request())
        assert not places, (
            f"the event loop is blocked by {places[0]}: await an asynchronous client, or asyncio.to_thread"
        )

    def test_failures_are_teacher_errors(self) -> None:
        """Every failure raises a ``TeacherError`` of a known kind; the teacher never invents a reply."""
        for name, outcome, _ in self._each(*_UNANSWERED, *_ODD):
            good = isinstance(outcome, TeacherError) or (name in _ODD and not isinstance(outcome, Exception))
            assert good, f"{name}: expected a TeacherError, found {outcome!r:.300}; map every failure to a kind"

    def test_no_secret_is_told(self) -> None:
        """A key of the environment appears in no identity, answer, error or representation."""
        for fault in (None, *_REPEATING) if self._asks_a_server() else (None,):
            with self._server(fault) as server:
                teacher = self.teacher(server.url)
                outcome = _asked(teacher, self.request()) if self._may_be_asked() else None
                texts = (teacher.identity, repr(teacher), str(outcome), repr(outcome))
            for text in texts:
                assert _CANARY not in text, f"a key appears in {text!r:.200}; a provider may repeat it: take it out"

    def _asks_a_server(self) -> bool:
        return self.options_for("") is not None

    def _may_be_asked(self) -> bool:
        """Return whether asking is safe: the author's options may name a real provider, unless ``free`` is set."""
        return self.free or self._asks_a_server()

    def _needs_server(self) -> None:
        if not self._asks_a_server():
            raise SkipTest("it asks no server; where it does, say how with options_for(url)")

    def _each(self, *names: str | None) -> Iterator[tuple[str | None, Any, int]]:
        """Yield each fault, the result or exception of an attempt under it, and the attempt's number of requests."""
        self._needs_server()
        now: list[str | None] = [None]
        with _secrets(), FaultServer(_answer, lambda *_: Fault(now[0]) if now[0] else None) as server:
            for name in names:
                now[0], before = name, len(server.received)
                outcome = _asked(self.teacher(server.url), self.request())
                yield name, outcome, len(server.received) - before

    @contextmanager
    def _server(self, fault: str | None = None) -> Iterator[FaultServer]:
        with _secrets(), FaultServer(_answer, lambda *_: Fault(fault) if fault else None) as server:
            yield server


def _answer(_body: dict[str, Any]) -> str:
    return _TEXT


def _met(meeting: threading.Barrier) -> str:
    """Answer once both requests have arrived, or once the wait for the second is over."""
    with suppress(threading.BrokenBarrierError):
        meeting.wait(_PATIENCE)
    return _TEXT


def _asked(teacher: Any, request: Request) -> Any:
    """Return the result or the exception of one attempt."""
    (outcome,) = _gathered(teacher, request, together=True)
    return outcome


def _gathered(teacher: Any, *requests: Request, together: bool) -> list[Any]:
    """Return the result or exception of an attempt for each request, all at once or one after the other."""

    async def attempts() -> list[Any]:
        try:
            if together:
                return await asyncio.gather(*(_attempt(teacher, request) for request in requests))
            return [await _attempt(teacher, request) for request in requests]
        finally:
            close = getattr(teacher, "aclose", None)
            if close is not None:
                await close()

    return asyncio.run(attempts())


async def _at_once() -> None:
    """Return at once, since nothing has to be waited for."""


class _Here:
    """The executor of the kit's student: this thread."""

    workers = 1

    def __init__(self) -> None:
        self._student = FakeStudent()

    def start(self, student: Callable[[], Any]) -> None:
        """Keep the kit's student."""

    async def run(self, work: Callable[[Any], Any]) -> Any:
        """Run *work* on the student."""
        return work(self._student)

    def close(self) -> None:
        """Free nothing."""


async def _together(teacher: LocalTeacher, requests: Sequence[Request]) -> Sequence[Reply]:
    """Return the replies of a local teacher to a batch."""
    replies = teacher.complete_many(requests)
    return await replies if inspect.isawaitable(replies) else replies


async def _attempt(teacher: Any, request: Request) -> Any:
    try:
        if isinstance(teacher, LocalTeacher):
            (reply,) = await _together(teacher, [request])
            return reply
        return await asyncio.wait_for(teacher.complete(request), 60)
    except Exception as error:
        return error


@contextmanager
def _secrets() -> Iterator[None]:
    """Set usual key variables, and all keys in the environment, to a text that is easy to find; restore them after."""
    before = dict.fromkeys(_VARIABLES) | {name: key for name, key in os.environ.items() if name.endswith(_ENDINGS)}
    os.environ.update(dict.fromkeys(before, _CANARY))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

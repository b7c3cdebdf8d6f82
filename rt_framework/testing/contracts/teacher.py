"""The contract of teachers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import SkipTest

from rt_framework.errors import KINDS, TeacherError
from rt_framework.model import Reply, Request, Sampling, Turn, Usage
from rt_framework.protocols import BatchTeacher
from rt_framework.testing.contracts.base import PluginContract, outcome
from rt_framework.testing.server import Fault, FaultServer

_CANARY = "rt-canary-7f3a9c1e5b2d8046"
_VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "RT_CANARY_API_KEY")
_SCHEMA = {"type": "object", "properties": {"response": {"type": "string"}}, "required": ["response"]}
_FAULTS = ("server_error", "rate_limit", "auth", "reset", "truncated", "empty", "no_choices")


class TeacherContract(PluginContract):
    """One attempt a call: no retry, no cache. A teacher that asks a server is asked with ours in its place."""

    kind = "teachers"

    def options_for(self, url: str) -> Any:  # noqa: ARG002 - for those that override it
        """Options that make it ask the OpenAI-compatible server at *url*; ``None`` if it asks no server."""
        return None

    def request(self) -> Request:
        """A question that it can answer. Override it where only some can be answered."""
        turn = Turn("user", "Give a better answer to: name a river.")
        schema = _SCHEMA if self.teacher().structured else None
        return Request("response", "0" * 32, 0, (turn,), Sampling(max_tokens=16), schema)

    def teacher(self, url: str | None = None) -> Any:
        """A new one, that asks the server at *url* if it asks any."""
        options = self.options_for(url or "http://127.0.0.1:9/v1")
        return self.make() if options is None else self.make(options)

    # --- checks -----------------------------------------------------------------------------

    def test_it_says_who_it_is(self) -> None:
        """``identity`` is a text, and the same for two instances; ``structured`` is true or false."""
        one, other = self.teacher(), self.teacher()
        assert isinstance(one.identity, str) and one.identity.strip(), f"expected a text, found {one.identity!r}"
        assert one.identity == other.identity, (
            f"two instances are {one.identity!r} and {other.identity!r}: a resumed run would pay again"
        )
        assert isinstance(one.structured, bool), f"expected structured to be true or false, found {one.structured!r}"

    def test_it_answers(self) -> None:
        """A question gets a ``Reply`` with its text and what it used."""
        with self._server() as server:
            found = _asked(self.teacher(server.url), self.request())
        assert isinstance(found, Reply), f"expected a Reply, found {found!r:.300}"
        assert isinstance(found.text, str), f"expected the answer as text, found {found.text!r}"
        used = isinstance(found.usage, Usage) and found.usage.prompt_tokens >= 0 and found.usage.completion_tokens >= 0
        assert used and found.nano_dollars >= 0, (
            f"expected tokens and cost from 0, found {found.usage}, {found.nano_dollars}"
        )

    def test_one_attempt_is_one_request(self) -> None:
        """Whatever goes wrong, one call of it is one request: retries belong to the framework, which pays."""
        self._needs_server()
        for name in (None, *_FAULTS):
            with self._server(name) as server:
                outcome(_asked, self.teacher(server.url), self.request())
                count = len(server.received)
            assert count == 1, (
                f"{name or 'a plain answer'}: one attempt was {count} requests; switch its client's retries off"
            )

    def test_failures_are_teacher_errors(self) -> None:
        """What fails is a ``TeacherError`` of a known kind; nothing else is raised."""
        self._needs_server()
        for name in _FAULTS:
            with self._server(name) as server:
                found = _asked(self.teacher(server.url), self.request())
            good = isinstance(found, Reply) or (isinstance(found, TeacherError) and found.kind.name in KINDS)
            assert good, f"{name}: expected a TeacherError, found {found!r:.300}; map every failure to a kind"

    def test_no_secret_is_told(self) -> None:
        """A key of the environment stands in no identity, no answer, no error and no representation."""
        with _secrets():
            with self._server("auth" if self.options_for("") is not None else None) as server:
                teacher = self.teacher(server.url)
                found = _asked(teacher, self.request())
            told = (teacher.identity, repr(teacher), str(found), repr(found))
        for text in told:
            assert _CANARY not in text, f"a key is told in {text!r:.200}; a provider may repeat it: take it out"

    def _needs_server(self) -> None:
        if self.options_for("") is None:
            raise SkipTest("it asks no server; where it does, say how with options_for(url)")

    @contextmanager
    def _server(self, fault: str | None = None) -> Iterator[FaultServer]:
        with _secrets(), FaultServer(_answer, lambda *_: Fault(fault) if fault else None) as server:
            yield server


def _answer(_body: dict[str, Any]) -> str:
    return json.dumps({"response": "The Rhine is a river in Europe."})


def _asked(teacher: Any, request: Request) -> Any:
    """What one attempt gives or raises."""

    async def attempt() -> Any:
        try:
            if isinstance(teacher, BatchTeacher):
                (reply,) = teacher.complete_many([request])
                return reply
            return await asyncio.wait_for(teacher.complete(request), 60)
        except Exception as error:
            return error
        finally:
            close = getattr(teacher, "aclose", None)
            if close is not None:
                await close()

    return asyncio.run(attempt())


@contextmanager
def _secrets() -> Iterator[None]:
    """The environment with keys that are easy to find again."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, _CANARY))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""A plugin for tests: ``rt -p tests.fakes_plugin``, or ``Host(modules=["tests.fakes_plugin"])``.

In the process of a test, what ``held`` builds is the object in :data:`HELD`. Across processes everything
comes from settings and the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve, frozen

from rt_framework import Dropped, Range, Verdict, hookimpl
from rt_framework.builtin.teachers.replay import ReplayTeacher
from rt_framework.builtin.teachers.settings import ReplaySettings
from rt_framework.errors import TeacherError
from rt_framework.model import Pair, Reply, Request, Sampling, Turn, Unparsed, Usage
from rt_framework.spans import SpanLoss
from rt_framework.testing.fakes import FakeStudent
from tests.step_helpers import RoundsSettings

HELD: dict[str, Any] = {}
"""The objects that ``held`` builds, by kind; a test fills it."""

_HERE = "tests.fakes_plugin"


@frozen
class Name:
    """The name of an object in ``HELD``."""

    name: str


def held(settings: Name) -> Any:
    """The object that a test has put there."""
    return HELD[settings.name]


def _note(line: str) -> None:
    log = os.environ.get("RT_TEST_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write(line)


class SlowReplay(ReplayTeacher):
    """Recorded answers, each after ``RT_TEST_DELAY`` seconds, and none after the first ``RT_TEST_HANG``.

    What is asked is noted in ``RT_TEST_LOG``.
    """

    asked = 0

    async def complete(self, request: Request) -> Any:
        """Note the request, wait, answer."""
        _note(f"{request.reflection} {request.pair_hash} {request.index}\n")
        self.asked += 1
        if self.asked > int(os.environ.get("RT_TEST_HANG", "1000000")):
            await asyncio.Event().wait()
        await asyncio.sleep(float(os.environ.get("RT_TEST_DELAY", "0")))
        return await super().complete(request)


@frozen
class Address:
    """The address of a server."""

    url: str


class HttpTeacher:
    """Asks a server as litellm does, without litellm's weight: one connection a request."""

    identity = "http"
    structured = True

    def __init__(self, settings: Address) -> None:
        self._url = urlsplit(settings.url)

    async def complete(self, request: Request) -> Reply:
        """One POST; whatever goes wrong is a broken connection."""
        schema = {"json_schema": {"name": request.reflection, "schema": request.schema}}
        messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        body = json.dumps({"model": "fake", "messages": messages, "response_format": schema}).encode()
        head = f"POST {self._url.path}/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        try:
            reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
            writer.close()
            used = Usage(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
            cost = self.cost(used.prompt_tokens, used.completion_tokens)
            return Reply(answer["choices"][0]["message"]["content"], usage=used, nano_dollars=cost)
        except (OSError, ValueError, LookupError) as error:
            raise TeacherError("connection", str(error)) from error

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """A nano-dollar a token."""
        return prompt_tokens + completion_tokens


class Plain:
    """A reflection whose answers are JSON; with ``RT_TEST_LENIENT`` it takes plain text too."""

    rewrites = ("response",)

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """The response alone."""
        turn = Turn("user", f"Better: {pair.instruction}")
        return Request("plain", pair.hash, index, (turn,), Sampling(temperature=index / 2))

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:
        """Without ``RT_TEST_LENIENT`` refuse every answer; with it, take the text after the first colon."""
        if "RT_TEST_LENIENT" not in os.environ:
            return Unparsed("format", "not JSON")
        return evolve(pair, response=reply.text.partition(": ")[2])


class SlowStudent(FakeStudent):
    """Its forward pass takes ``RT_TEST_FORWARD`` seconds, and cannot be stopped."""

    def score(self, batch: Sequence[Any]) -> list[SpanLoss]:
        """Noted in ``RT_TEST_LOG`` when it begins."""
        _note("forward\n")
        time.sleep(float(os.environ["RT_TEST_FORWARD"]))
        return super().score(batch)


class Words:
    """A metric of a third party: words of the response."""

    direction = "higher"
    valid = Range(at_least=2)

    def spans(self, pair: Any, frame: Any) -> Any:
        """The response, counted only."""
        return {"len(y)": frame.response_length(pair)}

    def reduce(self, losses: Any) -> float:
        """The count."""
        return float(losses["len(y)"].tokens)


class Odd:
    """A stage that misbehaves as its setting says, for samples whose instruction holds ``BAD``."""

    needs = ()
    reflections = MappingProxyType({})

    def __init__(self, settings: Name, make: Any) -> None:
        self._how = settings.name

    async def run(self, sample: Any, ctx: Any) -> Any:
        """Raise, keep a version that does not exist, drop, or note the order of arrival."""
        if "BAD" not in sample.original.pair.instruction:
            return sample
        if self._how == "raise":
            raise RuntimeError("the stage broke")
        if self._how == "drop":
            return Dropped(sample, "too bad")
        return evolve(sample, kept="nowhere")


class OddSet:
    """A data-set stage that misbehaves as its setting says."""

    needs: Any = ()
    reflections = MappingProxyType({})

    def __init__(self, settings: Name, make: Any) -> None:
        self._how = settings.name
        self.needs = ("ifd",) if self._how == "score" else ()

    async def run_all(self, samples: Any, ctx: Any) -> Any:
        """Raise, score them all at once, break after the third, lose a sample, or turn their order round."""
        if self._how == "raise":
            raise RuntimeError("the barrier broke")
        if self._how == "score":
            await ctx.score([sample.current for sample in samples], ["ifd"])
            return samples
        if self._how == "late":
            return self._some(samples)
        return samples[1:] if self._how == "lose" else samples[::-1]

    def _some(self, samples: Any) -> Any:
        """Drop every second sample; while ``RT_TEST_BREAK`` is set, break at the fourth."""
        for sample in samples:
            if sample.row == 3 and os.environ.get("RT_TEST_BREAK"):
                raise RuntimeError("the barrier broke")
            yield Dropped(sample, "odd row") if sample.row % 2 else sample


class FirstHalf:
    """A selector of a third party: the earlier rows."""

    needs = ()

    def select(self, rows: Any) -> list[Verdict]:
        """Keep the first half."""
        return [Verdict(place < len(rows) / 2, "first half") for place in range(len(rows))]


@hookimpl
def rt_register_teachers(register: Any) -> None:
    register("held", f"{_HERE}:held", settings=Name)
    register("http", f"{_HERE}:HttpTeacher", settings=Address)
    register("slow-replay", f"{_HERE}:SlowReplay", settings=ReplaySettings)


@hookimpl
def rt_register_students(register: Any) -> None:
    register("held", f"{_HERE}:held", settings=Name)
    register("fake", "rt_framework.testing.fakes:FakeStudent")
    register("slow", f"{_HERE}:SlowStudent")


@hookimpl
def rt_register_reflections(register: Any) -> None:
    register("plain", f"{_HERE}:Plain")
    register("rounds", "tests.step_helpers:Rounds", settings=RoundsSettings)


@hookimpl
def rt_register_metrics(register: Any) -> None:
    register("words", f"{_HERE}:Words")


@hookimpl
def rt_register_selectors(register: Any) -> None:
    register("first-half", f"{_HERE}:FirstHalf")


@hookimpl
def rt_register_stages(register: Any) -> None:
    register("odd", f"{_HERE}:Odd", settings=Name)
    register("odd-set", f"{_HERE}:OddSet", settings=Name)

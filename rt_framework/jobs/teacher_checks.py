"""Checks of the teachers of a config for ``rt doctor --ask``, by a few short questions, which a provider bills."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.config import MAIN_TEACHER, read_config
from rt_framework.errors import RtError, TeacherError, described
from rt_framework.model import Finding, Pair, Reply, Request, Sampling, Turn
from rt_framework.pipeline import Asking, open_job, teachers_of
from rt_framework.plugin import Host
from rt_framework.protocols import LocalTeacher, Teacher
from rt_framework.teacher import reasoning_tokens_of, rendered

_DEADLINE = 300.0
"""Seconds that one question may take; a server on a slow machine reads a long prompt for minutes."""

_AT_ONCE = (1, 2, 4, 8, 16, 32)
"""Numbers of questions that are put at once, to find out how many a server works on."""

_GAIN = 1.15
"""Least factor by which twice as many questions at once have to raise the speed of a server to be worth it."""

_SPARSE = 10
"""Bytes of a prompt for each token that a server says it has read, above which it has probably cut the prompt."""

_ROOM = 4096
"""Tokens of reasoning that are recommended for a model that thinks."""

_SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string"}, "letters": {"type": "integer"}},
    "required": ["colour", "letters"],
    "additionalProperties": False,
}


@frozen
class Asked:
    """A question that was put, with its answer or failure."""

    request: Request
    seconds: float
    reply: Reply | None = None
    why: str = ""
    kind: str = ""


def check_teachers(host: Host, path: Path) -> Iterator[Finding]:
    """Ask every teacher of a config: whether it answers, thinks, follows a schema, reads the longest question of the
    data, and how many questions at once it works on. Nothing is written; the answers are paid for, and are not kept.
    """
    try:
        job = open_job(host, read_config(path))
        teachers = teachers_of(job.make, job.teachers, job.students)
        asks = [asking for step in job.steps for asking in step.asks]
        pair = max((record.pair for _, record in job.source), key=_length, default=None)
    except RtError as error:
        yield Finding("teachers", str(error), good=False)
        return
    for name, teacher in teachers.items():
        called = name or MAIN_TEACHER
        if isinstance(teacher, LocalTeacher) or getattr(teacher, "complete", None) is None:
            yield Finding(called, "answers on this machine; it is not asked")
            continue
        own = [asking for asking in asks if asking.teacher == name]
        yield from asyncio.run(_all(called, teacher, _longest(teacher, own, pair)))


async def _all(name: str, teacher: Teacher, longest: Request | None) -> list[Finding]:
    try:
        return [finding async for finding in _checked(name, teacher, longest)]
    finally:
        close = getattr(teacher, "aclose", None)
        if close is not None:
            await close()


async def _checked(name: str, teacher: Teacher, longest: Request | None) -> AsyncIterator[Finding]:
    first = await _ask(teacher, _request("Answer with the one word: yes"))
    yield _answers(name, first)
    if first.reply is None:
        return
    yield _thinks(name, teacher, first.reply)
    yield _follows(name, teacher, await _ask(teacher, _request("Name a colour.", _SCHEMA)))
    if longest is not None:
        yield _reads(name, await _ask(teacher, evolve(longest, sampling=Sampling(max_tokens=1))))
    if "://" in str(getattr(teacher, "place", "")):  # a server of one's own: a provider states its quotas instead
        yield await _speed(name, teacher)


def _request(text: str, schema: dict[str, Any] | None = None) -> Request:
    return Request("doctor", "", 0, (Turn("user", text),), Sampling(max_tokens=64), schema)


async def _ask(teacher: Teacher, request: Request) -> Asked:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_DEADLINE):
            reply = await teacher.complete(request)
    except TeacherError as error:
        return Asked(request, time.perf_counter() - began, None, f"{error.kind.name}: {error.message}", error.kind.name)
    except TimeoutError:
        return Asked(request, _DEADLINE, None, f"no answer within {_DEADLINE:g} s", "timeout")
    except RtError as error:
        return Asked(request, time.perf_counter() - began, None, str(error))
    except Exception as error:
        return Asked(request, time.perf_counter() - began, None, f"the teacher raises {described(error)}")
    return Asked(request, time.perf_counter() - began, reply)


def _answers(name: str, asked: Asked) -> Finding:
    if asked.reply is None:
        return Finding(name, asked.why, good=False)
    used = asked.reply.usage
    tokens = f"{used.prompt_tokens} + {used.completion_tokens} tokens"
    note = f"; not believed: {asked.reply.note}" if asked.reply.note else ""
    model = asked.reply.model or "a model without a name"
    return Finding(name, f"{model} answers in {asked.seconds:.1f} s, {tokens}{note}", sure=not note)


def _thinks(name: str, teacher: Teacher, reply: Reply) -> Finding:
    what, room = f"{name}: reasoning", reasoning_tokens_of(teacher)
    thought = reply.usage.reasoning_tokens or (reply.reasoning is not None)
    if not thought:
        return Finding(what, "it does not think before it answers")
    if room:
        return Finding(what, f"it thinks, and has {room} tokens for that beside each answer")
    return Finding(what, f"it thinks, within the tokens of the answer: set reasoning_tokens: {_ROOM}", sure=False)


def _follows(name: str, teacher: Teacher, asked: Asked) -> Finding:
    what = f"{name}: schema"
    if asked.reply is None:
        good = not teacher.structured
        return Finding(what, f"a JSON schema is refused ({asked.why}): set structured: false", good, sure=False)
    if _is_held(asked.reply.text) == teacher.structured:
        return Finding(what, "it follows a JSON schema" if teacher.structured else "it follows no JSON schema")
    if teacher.structured:
        said = asked.reply.text[:40]
        return Finding(what, f"it does not follow a JSON schema (it said {said!r}): set structured: false", good=False)
    return Finding(what, "it follows a JSON schema: set structured: true, for fewer unusable answers", sure=False)


def _is_held(text: str) -> bool:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and isinstance(said.get("colour"), str) and isinstance(said.get("letters"), int)


def _reads(name: str, asked: Asked) -> Finding:
    size = sum(len(turn.content.encode()) for turn in asked.request.messages)
    what, longest = f"{name}: length", f"the longest question of the data, {size} bytes,"
    if asked.reply is None:
        why = "is longer than the model reads" if asked.kind == "too_long" else "gets no answer"
        return Finding(what, f"{longest} {why} ({asked.why})", good=False)
    read = asked.reply.usage.prompt_tokens
    if size > _SPARSE * read:
        cut = f"{longest} counts as {read} tokens only: the server may cut long prompts without a word"
        return Finding(what, f"{cut}; give it a longer context", sure=False)
    return Finding(what, f"{longest} is read as {read} tokens")


async def _speed(name: str, teacher: Teacher) -> Finding:
    """Find the number of questions at once beyond which the server gives no more tokens a second."""
    best, speeds = 1, list[float]()
    for number in _AT_ONCE:
        began = time.perf_counter()
        # Different questions, since a server may remember the answer to one.
        questions = [_request(f"Count upwards from {number * 100 + one}, a number a line.") for one in range(number)]
        ends = await asyncio.gather(*(_ask(teacher, question) for question in questions))
        replies = [end.reply for end in ends if end.reply is not None]
        if len(replies) < number:
            break
        speeds.append(sum(reply.usage.completion_tokens for reply in replies) / (time.perf_counter() - began))
        if len(speeds) > 1 and speeds[-1] < _GAIN * speeds[-2]:
            break
        best = number
    if not speeds:
        return Finding(f"{name}: pace", "questions about numbers get no answer", sure=False)
    pace = f"{speeds[_AT_ONCE.index(best)]:.0f} tokens a second with {best} questions at once"
    more = "more at once give little more" if len(speeds) > _AT_ONCE.index(best) + 1 else "more were not tried"
    return Finding(f"{name}: pace", f"{pace}, {more}: set concurrency: {best}")


def _length(pair: Pair) -> int:
    return sum(len(turn.content) for turn in (*pair.before, *pair.after)) + len(pair.response)


def _longest(teacher: Teacher, asks: Iterable[Asking], pair: Pair | None) -> Request | None:
    """Return the longest first question about a sample; ``None`` if nothing is asked about it."""
    if pair is None:
        return None
    made = (rendered(asking.question, pair, 0, teacher.structured) for asking in asks if asking.about(pair))
    return max(made, key=lambda request: request.most_prompt_tokens, default=None)

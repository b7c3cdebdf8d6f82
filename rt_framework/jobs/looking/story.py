"""The story of one sample: its versions, their scores, the decisions, the failures, and what was asked about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from attrs import frozen

from rt_framework.errors import DataError, ErrorList
from rt_framework.ledger import is_row
from rt_framework.model import Failure, Handover, Pair, Sample, Score, Turn
from rt_framework.results import Call, FinishedRun, Listed, Review, SampleHistory, Wanted
from rt_framework.rundir import label_of

_CHOICES = 10
"""Most samples that an error lists to choose from."""

_ID, _TEXT = 10, 55
"""Characters of an id and of an instruction by which it tells them apart."""


@frozen
class ToldVersion:
    """A version of a sample."""

    name: str
    """``original``, or the reflections that led to it, joined by dots."""
    parent: str | None
    """Name of the version that it was rewritten from."""
    reflection: str | None
    """Name of the reflection that made it."""
    pair: Pair
    """Its texts."""
    scores: Mapping[str, Score]
    """Its scores, by metric."""
    handovers: tuple[Handover, ...]
    """Failures of other teachers that led to the answer of a fallback, from which it was made."""
    review: Review | None
    """What a person has said about it."""


@frozen
class ToldDecision:
    """A decision about a sample."""

    stage: str
    """Id of the stage that decided."""
    label: str
    """The stage with its options, for people."""
    candidates: tuple[str, ...]
    """Names of the compared versions, the current one first."""
    kept: str
    """Name of the version that was kept."""
    reason: str
    """The reason, for people."""


@frozen
class ToldFailure:
    """A step of a sample that failed."""

    stage: str
    """Id of the stage at which it happened."""
    label: str
    """The stage with its options, for people."""
    kind: str
    """A kind of the [list](errors.md#kinds-of-failure)."""
    reason: str
    """The reason, for people."""
    call: str | None
    """Key of the call that failed."""


@frozen
class ToldAttempt:
    """A request that was sent, or an answer that was copied from another run directory."""

    state: str
    """``answered``, ``failed``, ``intent``, ``released`` or ``unknown``, as in the [ledger](files.md#attempts)."""
    kind: str | None
    """Kind of its failure, or ``copied``."""
    message: str | None
    """What went wrong."""


@frozen
class ToldCall:
    """A question to a teacher about a sample."""

    key: str
    """Key of the call in the ledger."""
    teacher: str
    """Identity of the teacher."""
    reflection: str
    """Name of the question."""
    index: int
    """Number of unusable answers before it."""
    draw: int
    """Number of the draw, from 0."""
    step: int
    """Number of answers of this conversation before it."""
    attempts: tuple[ToldAttempt, ...]
    """The requests that were sent, in order."""
    prompt_tokens: int
    """Tokens of the prompt."""
    answer_tokens: int
    """Tokens of the answer, its reasoning included."""
    reasoning_tokens: int
    """Tokens of the answer that are reasoning."""
    cost_usd: float | None
    """Dollars that the attempts have cost or may have cost; null where the teacher has no price."""
    became: str
    """What became of the answer, for people."""
    version: str | None
    """Name of the version that was made of the answer."""
    model: str | None
    """Name of the model that answered."""
    finish_reason: str | None
    """``stop``, ``length`` or ``content_filter``; null without an answer."""
    messages: tuple[Turn, ...] | None
    """The prompt, as ``role`` and ``content``; only with ``--prompts``."""
    answer: str | None
    """The raw answer; only with ``--prompts``."""
    reasoning: str | None
    """The reasoning before the answer; only with ``--prompts``."""


@frozen
class Story:
    """Everything that happened to a sample."""

    row: int
    """Row number in the input, from 0."""
    id: str
    """Id of the sample."""
    outcome: str
    """``rewritten``, ``original``, ``dropped``, ``failed`` or ``waiting``."""
    version: str
    """Name of the version that the sample ended with."""
    reason: str | None
    """Reason of a drop or failure."""
    versions: tuple[ToldVersion, ...]
    """The original first, then every rewrite in the order in which it was made."""
    decisions: tuple[ToldDecision, ...]
    """The decisions, in order."""
    failures: tuple[ToldFailure, ...]
    """The failures, in order."""
    calls: tuple[ToldCall, ...]
    """The questions that were asked about the versions."""
    cost_usd: float | None
    """Dollars that all the calls have cost or may have cost; null where a teacher has no price."""


def story_of(run: FinishedRun, history: SampleHistory, prompts: bool = False) -> Story:
    """Return the story of a sample of a run; with *prompts* also what was asked and answered, word for word."""
    sample, calls = history.sample, run.calls(history)
    versions = [
        ToldVersion(
            one.name,
            one.parent,
            one.reflection,
            one.pair,
            sample.scores.get(one.name, {}),
            history.handovers.get(one.name, ()),
            run.reviews.of(sample.id, one),
        )
        for one in sample.versions
    ]
    decisions = [
        ToldDecision(d.stage, label_of(run.stages, d.stage), d.candidates, d.kept, d.reason) for d in sample.decisions
    ]
    failures = [ToldFailure(f.stage, label_of(run.stages, f.stage), f.kind, f.reason, f.call) for f in sample.failures]
    return Story(
        row=sample.row,
        id=sample.id,
        outcome=history.outcome,
        version=sample.kept,
        reason=history.reason,
        versions=tuple(versions),
        decisions=tuple(decisions),
        failures=tuple(failures),
        calls=tuple(_call(call, sample, calls, run.is_priced, prompts) for call in calls),
        cost_usd=sum(call.nano_dollars for call in calls) / 1e9 if run.is_priced else None,
    )


def _call(call: Call, sample: Sample, calls: Sequence[Call], priced: bool, prompts: bool) -> ToldCall:
    request, reply = call.request, call.reply
    version = next((one.name for one in sample.versions if one.call == call.key), None)
    return ToldCall(
        key=call.key,
        teacher=call.teacher,
        reflection=request.reflection,
        index=request.index,
        draw=request.draw,
        step=request.step,
        attempts=tuple(ToldAttempt(*attempt) for attempt in call.attempts),
        prompt_tokens=reply.usage.prompt_tokens if reply else 0,
        answer_tokens=reply.usage.completion_tokens if reply else 0,
        reasoning_tokens=reply.usage.reasoning_tokens if reply else 0,
        cost_usd=call.nano_dollars / 1e9 if priced else None,
        became=f"made version {version}" if version else _became(call, sample.failures, calls),
        version=version,
        model=reply.model if reply else None,
        finish_reason=reply.finish_reason if reply else None,
        messages=request.messages if prompts else None,
        answer=reply.text if reply and prompts else None,
        reasoning=reply.reasoning if reply and prompts else None,
    )


def _became(call: Call, failures: Sequence[Failure], calls: Sequence[Call]) -> str:
    """Return what became of a call that made no version."""
    asked, fault = call.request, next((failure for failure in failures if failure.call == call.key), None)
    if fault:
        return f"not used: {fault.kind}: {fault.reason}"
    if call.handover is not None:
        handover = call.handover
        return f"not used: {handover.kind}: {handover.reason}; the question went to the fallback {handover.fallback}"
    same = [one.request for one in calls if (one.teacher, _topic(one)) == (call.teacher, _topic(call))]
    said = (*asked.messages, Turn("assistant", call.reply.text)) if call.reply else ()
    if said and any(one.messages[: len(said)] == said for one in same if one.step == asked.step + 1):
        return "the conversation went on with a further request"
    if any(one.index == asked.index + 1 for one in same):
        return "not used: the answer was unusable, and another one was asked for"
    return "read by the stage, which made no version from it" if call.reply else "no answer"


def _topic(call: Call) -> tuple[str, str, int]:
    return call.request.reflection, call.request.pair_hash, call.request.draw


# --- which sample -----------------------------------------------------------------------------


def find_sample(run: FinishedRun, which: str | None, search: str | None) -> SampleHistory:
    """Return the sample that a user names.

    Args:
        run: the run.
        which: its row number, its id, or the beginning of its id.
        search: or a text that one of its versions holds, in capital or small letters.

    Raises:
        DataError: no sample matches.
        ErrorList: several samples match; the message lists the first of them.
    """
    if search is not None:
        found, count = _first(run.listed(Wanted(search=search)))
        if not found:
            raise DataError(f"{run.path}: no sample holds the text '{search}'")
        if count > 1:
            raise _several(run, f"hold the text '{search}'", found, count)
        return run.sample(found[0].id)
    which = which or ""
    if not is_row(which):
        found, count = _first(run.listed(Wanted(beginning=which)))
        if count > 1 and which not in {one.id for one in found}:
            raise _several(run, f"match '{which}'", found, count)
    return run.sample(which)


def _first(listed: Iterable[Listed]) -> tuple[list[Listed], int]:
    """Return the first few samples of a list, and the number of all."""
    rest = iter(listed)
    found = list(islice(rest, _CHOICES))
    return found, len(found) + sum(1 for _ in rest)


def _several(run: FinishedRun, what: str, found: Sequence[Listed], count: int) -> ErrorList:
    first = f", the first {len(found)} of them:" if count > len(found) else ":"
    head = f"{run.path}: {count} samples {what}; choose one by its row{first}"
    return ErrorList(head, [f"row {one.row}, {one.id[:_ID]}…: {_beginning(one.instruction)}" for one in found])


def _beginning(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _TEXT else f"{words[: _TEXT - 1]}…"

"""Display of one sample's whole history, from prompt to decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.rule import Rule

from rt_framework.kit.fences import turn_text
from rt_framework.model import Handover, Pair, Sample, Turn, Version
from rt_framework.results import Call, FinishedRun, SampleHistory, StageFacts
from rt_framework.rundir import label_of
from rt_framework.terminal.printing import line, safe, stdout, table


def tell(run: FinishedRun, history: SampleHistory) -> None:
    """Print the history of a sample of a run."""
    console = stdout()
    sample = history.sample
    kept = f", kept: {sample.kept}" if history.is_kept else ""
    console.print(line(f"sample {sample.id}, row {sample.row}: {history.outcome}{kept}"))
    if history.reason:
        console.print(line(f"reason: {history.reason}"))
    for version in sample.versions:
        _version(console, version, history.handovers.get(version.name, ()))
    calls = run.calls(history)
    for call in calls:
        _call(console, call, sample, _after(call, calls))
    _judgement(console, history, run.stages)
    for version in sample.versions:
        review = run.reviews.of(sample.id, version)
        if review is not None:
            console.print(line(f"version {version.name} {review.words} ({review.time})"))


def _version(console: Console, version: Version, handovers: Sequence[Handover]) -> None:
    origin = f", rewritten from {version.parent}" if version.parent else ""
    console.print(Rule(line(f"version {version.name}{origin}"), align="left"))
    for one in handovers:
        console.print(line(f"by the fallback {one.fallback}, since {one.teacher} failed: {one.kind}: {one.reason}"))
    _pair(console, version.pair)


def _pair(console: Console, pair: Pair) -> None:
    for name, text in texts_of(pair):
        console.print(safe(f"{name}: {text}"))


def texts_of(pair: Pair) -> list[tuple[str, str]]:
    """Return name and text of each part of a pair that has one, and of the response, in their order."""
    parts = (
        *(("tool offered", tool) for tool in pair.tools),
        ("system", pair.system),
        *(_told("earlier ", turn) for turn in pair.history),
        ("instruction", pair.instruction),
        ("input", pair.input),
        *(_told("", turn) for turn in pair.since),
        ("reasoning", pair.reasoning),
        ("response", turn_text(pair.last)),
        *(_told("later ", turn) for turn in pair.after),
    )
    return [(name, text or "") for name, text in parts if text or name == "response"]


def _told(when: str, turn: Turn) -> tuple[str, str]:
    """Return the name of a turn around the pair, with a mark if a student is trained on it, and its text."""
    return f"{when}{turn.role}{', trained' if turn.trained else ''}", turn_text(turn)


def _after(call: Call, calls: Sequence[Call]) -> str:
    """Return what came after a call about the same pair; empty if nothing was asked after it."""
    asked = call.request
    if call.handover is not None:
        handover = call.handover
        return f"not used: {handover.kind}: {handover.reason}; the question went to the fallback {handover.fallback}"
    same = [one.request for one in calls if (one.teacher, _topic(one)) == (call.teacher, _topic(call))]
    said = (*asked.messages, Turn("assistant", call.reply.text)) if call.reply else ()
    if said and any(one.messages[: len(said)] == said for one in same if one.step == asked.step + 1):
        return "the conversation went on with a further request"
    if any(one.index == asked.index + 1 for one in same):
        return "not used: the answer was unusable, and another one was asked for"
    return ""


def _topic(call: Call) -> tuple[str, str, int]:
    return call.request.reflection, call.request.pair_hash, call.request.draw


def _call(console: Console, call: Call, sample: Sample, after: str) -> None:
    request = call.request
    step = f", step {request.step}" if request.step else ""
    asked = f"reflection {request.reflection}, answer {request.index}{step}"
    console.print(Rule(line(f"call {call.key} of {call.teacher}: {asked}"), align="left"))
    for turn in request.messages:
        console.print(safe(f"{turn.role}: {turn.content}"))
    for state, kind, message in call.attempts:
        console.print(line(f"attempt: {state}" + (f" ({kind}) {message or ''}" if kind else "")))
    if call.reply is not None:
        reply = call.reply
        used = reply.usage
        thought = f", {used.reasoning_tokens} of them reasoning" if used.reasoning_tokens else ""
        usage = f"{used.prompt_tokens} + {used.completion_tokens} tokens{thought}"
        if reply.reasoning is not None:
            console.print(line("reasoning:"))
            console.print(safe(reply.reasoning))
        console.print(line(f"raw answer of {reply.model or call.teacher}, {reply.finish_reason}, {usage}:"))
        console.print(safe(reply.text))
    read = next((version.name for version in sample.versions if version.call == call.key), None)
    fault = next((failure for failure in sample.failures if failure.call == call.key), None)
    if read:
        console.print(line(f"parsed: version {read}"))
    elif fault:
        console.print(line(f"not used: {fault.kind}: {fault.reason}"))
    elif after:
        console.print(line(after))
    elif call.reply is not None:
        console.print(line("read by the stage, which made no version from it"))


def _judgement(console: Console, history: SampleHistory, stages: Mapping[str, StageFacts]) -> None:
    sample = history.sample
    rows = [
        (version, metric, "–" if score.value is None else f"{score.value:.4f}", score.status, score.reason or "")
        for version, scores in sample.scores.items()
        for metric, score in scores.items()
    ]
    if rows:
        console.print(table("Scores", ("version", "metric", "value", "status", "why"), rows, (2,)))
    decisions = [(label_of(stages, d.stage), " / ".join(d.candidates), d.kept, d.reason) for d in sample.decisions]
    if decisions:
        console.print(table("Decisions", ("stage", "between", "kept", "why"), decisions))
    for failure in sample.failures:
        console.print(line(f"failed in {label_of(stages, failure.stage)}: {failure.kind}: {failure.reason}"))

"""Display of the story of one sample: texts, scores, decisions, failures, costs; and what was asked, if wanted."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from rt_framework.jobs.looking.story import Story, ToldCall, ToldVersion
from rt_framework.kit.fences import turn_text
from rt_framework.model import Pair, Score, Turn
from rt_framework.terminal.printing import dollars, line, money, safe, stdout, table
from rt_framework.text import number_of

_Part = tuple[str, str]
"""Name and text of a part of a pair."""


def tell(story: Story, again: str, prompts: bool) -> None:
    """Print the story of a sample.

    Args:
        story: the story.
        again: the command that shows it.
        prompts: whether to print what was asked and answered, word for word.
    """
    console = stdout()
    kept = f", kept: {story.version}" if story.outcome in ("rewritten", "original") else ""
    console.print(line(f"sample {story.id}, row {story.row}: {story.outcome}{kept}"))
    if story.reason:
        console.print(line(f"reason: {story.reason}"))
    earlier: dict[str, list[_Part]] = {}
    for version in story.versions:
        earlier[version.name] = _version(console, version, earlier.get(version.parent or "", []))
    _judgement(console, story)
    if not story.calls:
        return
    console.print(_questions(story.calls))
    for call in story.calls if prompts else ():
        _call(console, call)
    spent = sum(call.cost_usd or 0 for call in story.calls)
    cost = money(round(1e9 * spent), priced=story.cost_usd is not None)
    told = "" if prompts else f"; '{again} --prompts' shows what was asked and answered"
    console.print(line(f"cost of the sample: {cost}{told}"))


def _version(console: Console, version: ToldVersion, before: list[_Part]) -> list[_Part]:
    """Print a version: of a rewrite the parts that differ from the version that it was made from; return all parts."""
    origin = f", rewritten from {version.parent}" if version.parent else ""
    console.print(Rule(line(f"version {version.name}{origin}"), align="left"))
    for one in version.handovers:
        console.print(line(f"by the fallback {one.fallback}, since {one.teacher} failed: {one.kind}: {one.reason}"))
    parts = texts_of(version.pair)
    for name, text in parts:
        if (name, text) not in before:
            console.print(safe(f"{name}: {text}"))
    same = [name for name, text in parts if (name, text) in before]
    if same:
        console.print(line(f"as in {version.parent}: {', '.join(dict.fromkeys(same))}"), style="dim")
    return parts


def texts_of(pair: Pair) -> list[_Part]:
    """Return name and text of each part of a pair that has a text, and of the response, in their order."""
    parts = (
        *(("tool offered", tool) for tool in pair.tools),
        ("system", pair.system or ""),
        *(_turn("earlier ", turn) for turn in pair.history),
        ("instruction", pair.instruction),
        ("input", pair.input),
        *(_turn("", turn) for turn in pair.since),
        ("reasoning", pair.reasoning or ""),
        ("response", turn_text(pair.last)),
        *(_turn("later ", turn) for turn in pair.after),
    )
    return [(name, text) for name, text in parts if text or name == "response"]


def _turn(when: str, turn: Turn) -> _Part:
    """Return the name of a turn around the pair, with a mark if a student is trained on it, and its text."""
    return f"{when}{turn.role}{', trained' if turn.trained else ''}", turn_text(turn)


def _judgement(console: Console, story: Story) -> None:
    """Print scores, decisions and failures."""
    metrics = sorted({metric for version in story.versions for metric in version.scores})
    if metrics:
        rows = [(one.name, *(_value(one.scores.get(metric)) for metric in metrics)) for one in story.versions]
        numbers = range(1, len(metrics) + 1)
        console.print(table("Scores", ("version", *metrics), rows, numbers))
    for version in story.versions:
        for metric, score in version.scores.items():
            if score.reason:
                console.print(line(f"{metric} of {version.name}: {score.status}: {score.reason}"))
    decisions = [(one.label, " / ".join(one.candidates), one.kept, one.reason) for one in story.decisions]
    if decisions:
        console.print(table("Decisions", ("stage", "between", "kept", "why"), decisions))
    for version in story.versions:
        if version.review is not None:
            console.print(line(f"version {version.name} {version.review.words} ({version.review.time})"))
    for failure in story.failures:
        console.print(line(f"failed in {failure.label}: {failure.kind}: {failure.reason}"))


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    number = "–" if score.value is None else f"{score.value:.4f}"
    return number if score.status == "ok" else f"{number} {score.status}"


def _questions(calls: Sequence[ToldCall]) -> Table:
    teachers = {call.teacher for call in calls}
    title = f"{number_of(len(calls), 'question')} to {teachers.pop() if len(teachers) == 1 else 'teachers'}"
    columns = {
        "question": [_asked(call) for call in calls],
        "teacher": [call.teacher for call in calls],
        "tokens": [_tokens(call) for call in calls],
        "cost": ["unknown" if call.cost_usd is None else dollars(round(1e9 * call.cost_usd)) for call in calls],
        "what became of the answer": [call.became for call in calls],
    }
    if not teachers:  # the title names the only one
        del columns["teacher"]
    numbers = [list(columns).index(name) for name in ("tokens", "cost")]
    return table(title, list(columns), zip(*columns.values(), strict=True), numbers)


def _asked(call: ToldCall) -> str:
    numbers = (("answer", call.index), ("draw", call.draw), ("step", call.step))
    return ", ".join([call.reflection, *(f"{name} {number}" for name, number in numbers if number)])


def _tokens(call: ToldCall) -> str:
    return f"{call.prompt_tokens:,} + {call.answer_tokens:,}" if call.finish_reason is not None else ""


def _call(console: Console, call: ToldCall) -> None:
    """Print a question and its answer, word for word."""
    console.print(Rule(line(f"call {call.key} of {call.teacher}: {_asked(call)}"), align="left"))
    for turn in call.messages or ():
        console.print(safe(f"{turn.role}: {turn.content}"))
    for attempt in call.attempts:
        fault = f" ({attempt.kind}) {attempt.message or ''}" if attempt.kind else ""
        console.print(line(f"attempt: {attempt.state}{fault}"))
    if call.answer is not None:
        if call.reasoning is not None:
            console.print(line("reasoning:"))
            console.print(safe(call.reasoning))
        thought = f", {call.reasoning_tokens} of them reasoning" if call.reasoning_tokens else ""
        told = f"{call.finish_reason}, {_tokens(call)} tokens{thought}"
        console.print(line(f"raw answer of {call.model or call.teacher}, {told}:"))
        console.print(safe(call.answer))
    console.print(line(call.became))

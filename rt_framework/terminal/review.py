"""Display of one rewrite for the person who reviews it: before, after, critique, scores, and why it was chosen."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from rt_framework.jobs.reviewing import Rewrite
from rt_framework.kit.remarks import remarks
from rt_framework.model import Score
from rt_framework.results import FinishedRun
from rt_framework.rundir import label_of, line_of
from rt_framework.terminal.differences import marked
from rt_framework.terminal.explain import texts_of
from rt_framework.terminal.printing import line, safe, stdout, table

_REWRITTEN = ("instruction", "input", "response")
"""Parts that a rewrite may change, of which a pair has one each: they are compared word by word."""


def show_rewrite(run: FinishedRun, rewrite: Rewrite, place: int, total: int) -> None:
    """Print a rewrite.

    Args:
        run: the run.
        rewrite: the rewrite.
        place: its place among those that are shown, from 0.
        total: number of those.
    """
    console, sample, version = stdout(), rewrite.history.sample, rewrite.version
    before, after = texts_of(sample.original.pair), texts_of(version.pair)
    console.print(Rule(line(f"{place + 1} of {total}: row {sample.row}, sample {sample.id}"), characters="═"))
    both = {
        name: marked(dict(before)[name], dict(after)[name])
        for name in _REWRITTEN
        if {name} <= dict(before).keys() & dict(after).keys()
    }
    _texts(console, "before: original", before, {name: old for name, (old, _) in both.items()})
    rewritten = [text for text in after if text not in before]
    _texts(console, f"after: {version.name}", rewritten, {name: new for name, (_, new) in both.items()})
    _critique(console, run, rewrite)
    _scores(console, rewrite)
    for decision in sample.decisions:
        console.print(line(f"{label_of(run.stages, decision.stage)}: kept {decision.kept}: {decision.reason}"))
    if rewrite.said is not None:
        console.print(line(f"so far {rewrite.said.words}"))


def _texts(console: Console, title: str, texts: list[tuple[str, str]], marks: Mapping[str, Text]) -> None:
    console.print(Rule(line(title), align="left"))
    for name, text in texts:
        console.print(safe(f"{name}: ").append_text(marks[name] if name in marks else safe(text)))


def _critique(console: Console, run: FinishedRun, rewrite: Rewrite) -> None:
    """Print what the teacher said beside each rewrite that led to this one, the first one first."""
    taken = evolve(rewrite.history.sample, kept=rewrite.version.name)
    for version in reversed(list(line_of(taken))):
        reply = run.reply(version)
        for name, text in remarks(reply.text, version.pair) if reply is not None else ():
            console.print(Rule(line(f"{name} before {version.name}"), align="left"))
            console.print(safe(text))


def _scores(console: Console, rewrite: Rewrite) -> None:
    scores = rewrite.history.sample.scores
    old, new = (scores.get(name, {}) for name in (rewrite.history.sample.original.name, rewrite.version.name))
    rows = [(metric, _value(old.get(metric)), _value(new.get(metric))) for metric in dict.fromkeys((*old, *new))]
    if rows:
        console.print(table("Scores", ("metric", "before", "after"), rows, (1, 2)))


def _value(score: Score | None) -> str:
    if score is None:
        return "–"
    return score.status if score.value is None else f"{score.value:.4f}"

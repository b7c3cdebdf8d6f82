"""Output of ``rt compare``: tables, and notes on their limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from shlex import quote

from rich.console import Console

from rt_compare import languages, neighbours
from rt_compare.judging import Judgements
from rt_compare.samples import Comparison
from rt_compare.sides import Side
from rt_framework import RtError
from rt_framework.events import Progress
from rt_framework.jobs.quoting import Quote
from rt_framework.kit.parts import Spec
from rt_framework.kit.spread import Spread
from rt_framework.results import open_run
from rt_framework.terminal.printing import line, money, table

_LANGUAGES = 5
"""Number of languages that are shown one by one."""


def show_comparison(console: Console, found: Comparison, a: Side, b: Side) -> None:
    """Print both sides beside each other."""
    for name, facts, side in (("A", found.a, a), ("B", found.b, b)):
        kind = "samples that the run kept" if side.is_run else "samples"
        scores = f", with the scores that {side.lender} has of them" if side.lender is not None else ""
        console.print(line(f"{name}: {side.path}: {facts.samples} {kind}{scores}"))
    console.print(line(_common(found)))
    console.print(table("Lengths in characters", _SPREAD, list(_lengths(found)), (2, 3, 4, 5)))
    if found.metrics:
        console.print(table("Scores", ("metric", *_SPREAD[1:], "with a number"), list(_scores(found)), (2, 3, 4, 5, 6)))
    if any(metric.paired for metric in found.metrics):
        console.print(table("Scores of samples that are in both", _SHIFT, list(_shifts(found)), (1, 2, 3, 4)))
    for told in _unscored(a, b, found):
        console.print(line(told))
    console.print(table("Samples and responses", ("", "A", "", "B", ""), list(_counts(found)), (1, 2, 3, 4)))
    console.print(table("Languages of the responses", ("", "A", "", "B", ""), list(_spoken(found)), (1, 2, 3, 4)))
    for told in (*_how(), "Limits of this comparison:", *(f"- {one}" for one in found.cannot_say)):
        console.print(line(told))


_SPREAD = ("", "side", "mean", "first quartile", "median", "third quartile")
_SHIFT = ("metric", "mean of B − A", "95 % from", "to", "samples")


def _common(found: Comparison) -> str:
    both = found.by_id + found.by_prompt
    if not both:
        return "in both: no sample"
    return (
        f"in both: {both} samples, {found.by_id} by the id of the original and {found.by_prompt} by the same question; "
        f"{found.equal} of them are equal, in {found.longer} the response of B is longer, in {found.shorter} shorter"
    )


def _lengths(found: Comparison) -> Iterator[tuple[object, ...]]:
    for what in ("instruction", "response"):
        for name, side in (("A", found.a), ("B", found.b)):
            spread: Spread = getattr(side, what)
            yield (what if name == "A" else "", name, *_shown(spread, 0))


def _scores(found: Comparison) -> Iterator[tuple[object, ...]]:
    for metric in found.metrics:
        for name, spread, side in (("A", metric.a, found.a), ("B", metric.b, found.b)):
            numbers = ("–",) * 4 if spread is None else _shown(spread, 4)
            counted = f"{spread.count if spread else 0} of {side.samples}"
            yield (metric.name if name == "A" else "", name, *numbers, counted)


def _shifts(found: Comparison) -> Iterator[tuple[object, ...]]:
    for metric in found.metrics:
        shift = metric.shift
        numbers = ["–"] * 3 if shift is None else [f"{one:+.4f}" for one in (shift.value, shift.low, shift.high)]
        yield (metric.name, *numbers, metric.paired)


def _shown(spread: Spread, digits: int) -> tuple[str, ...]:
    return tuple(f"{one:.{digits}f}" for one in (spread.mean, spread.low, spread.median, spread.high))


def _counts(found: Comparison) -> Iterator[tuple[object, ...]]:
    rows = (
        ("equal to an earlier sample", "exact"),
        ("same question as an earlier sample", "same_prompt"),
        ("near-duplicates of an earlier sample", "near"),
        ("responses that begin as a refusal", "refusals"),
    )
    for words, name in rows:
        yield (words, *_both(getattr(found.a, name), getattr(found.b, name), found))
    yield ("near-duplicates of a sample of A", "", "", found.near, _share(found.near, found.b.samples))


def _spoken(found: Comparison) -> Iterator[tuple[object, ...]]:
    a, b = found.a.languages, found.b.languages
    every = sorted({*a, *b} - {languages.UNSURE}, key=lambda code: (-a.get(code, 0) - b.get(code, 0), code))
    for code in every[:_LANGUAGES]:
        yield (code, *_both(a.get(code, 0), b.get(code, 0), found))
    if every[_LANGUAGES:]:
        rest_a, rest_b = (sum(side.get(code, 0) for code in every[_LANGUAGES:]) for side in (a, b))
        yield ("others", *_both(rest_a, rest_b, found))
    yield (languages.UNSURE, *_both(a.get(languages.UNSURE, 0), b.get(languages.UNSURE, 0), found))


def _both(a: int, b: int, found: Comparison) -> tuple[object, ...]:
    return a, _share(a, found.a.samples), b, _share(b, found.b.samples)


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def _how() -> Iterator[str]:
    yield (
        f"near-duplicates: an estimated Jaccard similarity of {neighbours.THRESHOLD:g} or more between the texts "
        f"of two samples, in shingles of {neighbours.WORDS} words (MinHash of datasketch "
        f"{metadata.version('datasketch')}, {neighbours.PERMUTATIONS} permutations); refusals: English words only"
    )
    yield (
        f"languages: a guess of py3langid {metadata.version('py3langid')} from the first {languages.READ} characters; "
        f"{languages.UNSURE}: fewer than {languages.LEAST_LETTERS} letters, or below {languages.SURE:g}"
    )


# --- scores that are not there ----------------------------------------------------------------


def _unscored(a: Side, b: Side, found: Comparison) -> Iterator[str]:
    """Yield, for a side without scores, lines that say how to get them."""
    for name, side, other in (("a", a, b), ("b", b, a)):
        has = any((metric.a if name == "a" else metric.b) is not None for metric in found.metrics)
        if has:
            continue
        if side.is_run:
            yield f"no scores of {name.upper()}: the run has none; end its pipeline with 'measure: [ifd, r-ifd]'"
        elif not side.scored:
            yield f"no scores of {name.upper()}; to make them: {_score_command(side, other, found)}"
            yield f"and then: rt compare … --scores-{name} {quote(_scores_file(side.path))}"


def _score_command(side: Side, other: Side, found: Comparison) -> str:
    """Return the command that scores a file as the other side was scored, as far as that is known."""
    student, rules = "NAME:MODEL", ""
    if other.is_run:
        config = None
        with suppress(RtError), open_run(other.path) as run:
            config = run.config
        if config is not None and config.student is not None:
            student = _as_typed(config.student)
            template = config.scoring.template
            rules = f" --preset {config.scoring.preset}"
            rules += f" --template {quote(_as_typed(template))}" if template is not None else ""
    metrics = "".join(f" --metric {metric.name}" for metric in found.metrics)
    out = quote(_scores_file(side.path))
    return f"rt score {quote(str(side.path))} --student {quote(student)}{rules}{metrics} --out {out}"


def _as_typed(spec: Spec) -> str:
    """Return a plugin with its options, as a command line takes it."""
    if spec.options is None:
        return spec.name
    plain = isinstance(spec.options, str)
    return f"{spec.name}:{spec.options}" if plain else json.dumps({spec.name: spec.options})


def _scores_file(path: Path) -> str:
    return f"{path.stem}.scores.jsonl"


# --- the judge --------------------------------------------------------------------------------


def show_judgements(console: Console, found: Judgements) -> None:
    """Print how the judge decided."""
    verdicts = found.verdicts
    named = (("A better", verdicts.wins), ("tie", verdicts.ties), ("B better", verdicts.losses))
    rows = [(name, count, _share(count, verdicts.count) if verdicts.count else "") for name, count in named]
    title = f"{verdicts.count} pairs of answers, each judged in both orders"
    console.print(table(title, ("", "pairs", "share"), rows, (1, 2)))
    for told in _judged(found):
        console.print(line(told))
    console.print(line(effort(found.progress)))


def effort(progress: Progress) -> str:
    """Return a line on the calls of a judge, what they cost and how long they took."""
    teacher, amounts = progress.teacher, progress.money
    cost = money(amounts.paid, amounts.priced or not teacher.calls)
    return (
        f"{teacher.calls} teacher calls sent, {teacher.retries} of them retries, {teacher.reused} answers from the "
        f"ledger, {cost}; {progress.seconds:.1f} s"
    )


def unjudged(found: Judgements) -> Iterator[str]:
    """Yield lines on the pairs of answers without marks in both orders."""
    if found.excluded:
        kinds = ", ".join(f"{kind} {count}" for kind, count in found.excluded.items())
        yield f"excluded, because an order has no usable answer: {sum(found.excluded.values())} pairs ({kinds})"
    if found.errors:
        yield f"{found.errors} of them met errors; run again to ask again for the missing answers"


def _judged(found: Judgements) -> Iterator[str]:
    verdicts, score = found.verdicts, found.verdicts.score
    yield f"judge: {found.judge}"
    if score is not None:
        yield (
            f"win score of A: {score.value:.4f}, 95 % from {score.low:.4f} to {score.high:.4f} (Tango's score "
            f"interval; from 0 to 2, above 1 means that A is better); of B: {2 - score.value:.4f}"
        )
        share = _share(verdicts.conflicts, verdicts.count)
        yield f"order: in {verdicts.conflicts} pairs ({share}) the two orders named different winners; these are ties"
    if verdicts.unequal:
        share = _share(verdicts.longer, verdicts.unequal)
        yield (
            f"length: the longer answer won {verdicts.longer} of {verdicts.unequal} decisions ({share}). These "
            "numbers cannot tell a judge that prefers length from longer answers that are better"
        )
    yield from unjudged(found)
    left = found.shared - found.same - found.drawn
    yield f"questions in both: {found.shared}, of which {found.same} have equal answers and {left} were not drawn"


def show_quote(console: Console, quote: Quote) -> None:
    """Print what a judge would still be asked, and what that can cost."""
    named = (("calls", quote.sends), ("prompt tokens", quote.prompt_tokens), ("answer tokens", quote.answer_tokens))
    rows: list[tuple[object, ...]] = [(name, bounds.low, bounds.high) for name, bounds in named]
    cost = quote.cost
    rows.append(("cost", *(("unknown",) * 2 if cost is None else (money(cost.low, True), money(cost.high, True)))))
    title = f"{quote.samples} pairs of answers, each judged in both orders: still to be paid"
    console.print(table(title, ("", "low", "high"), rows, (1, 2)))
    console.print(line(f"{quote.answered} of {quote.unique} calls are answered in the run directory"))
    console.print(line("nothing was sent or written"))

"""Display of a run's cost before it is paid for: the quote of a dry run, the forecast of a pilot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from rt_framework.config import Config
from rt_framework.jobs.looking.forecasts import ToldForecast
from rt_framework.jobs.quoting import Bounds, Quote, TeacherQuote
from rt_framework.kit.estimates import Estimate
from rt_framework.model import Request
from rt_framework.terminal.printing import dollars, line, safe, stdout, table
from rt_framework.text import number_of


def show_quote(quote: Quote, config: Config) -> None:
    """Print a quote, the first prompts whole, and whether the budget covers it."""
    console = stdout()
    show_prompts(quote.prompts)
    rows = [
        ("calls", quote.calls),
        ("unique calls", quote.unique),
        ("answered in the run directory", quote.answered),
        ("to send", quote.unique - quote.answered),
    ]
    console.print(table(number_of(quote.samples, "sample"), ("teacher calls", "count"), rows, (1,)))
    console.print(table("Still to be paid", ("", "low", "high"), _still(quote), (1, 2)))
    for teacher in quote.teachers:
        console.print(table(f"Of that for teacher {teacher.name}", ("", "low", "high"), _still(teacher), (1, 2)))
    for note in _notes(quote, config):
        console.print(line(note))
    console.print(line("nothing was sent or written"))


def show_prompts(prompts: Iterable[tuple[int, Request]]) -> None:
    """Print requests whole, each with the number of its row."""
    console = stdout()
    for number, (row, request) in enumerate(prompts, 1):
        console.print(line(f"--- prompt {number}: row {row}, reflection {request.reflection}"))
        for text in _sent(request):
            console.print(safe(text))


def show_preview(prompts: Iterable[tuple[int, Request]], teacher: object, further: int = 0) -> None:
    """Print what would be asked, and in which teacher's form; without a teacher in the form of a JSON schema.

    Args:
        prompts: requests, each with the number of its row.
        teacher: the teacher, if one is named.
        further: most requests that may follow each of them in its conversation.
    """
    show_prompts(prompts)
    if further:
        stdout().print(line(f"up to {further} further requests may follow each of them, depending on the answers"))
    form = teacher or "a teacher that follows a JSON schema; --teacher shows the form for another"
    stdout().print(line(f"shown as for {form}"))
    stdout().print(line("nothing was sent or written"))


def _sent(request: Request) -> Iterator[str]:
    """Yield everything that a request holds, as one text for each part."""
    yield from (f"{turn.role}: {turn.content}" for turn in request.messages)
    if request.schema is not None:
        yield f"schema: {json.dumps(request.schema)}"
    yield f"at most {request.sampling.max_tokens} tokens, temperature {request.sampling.temperature:g}"


def _still(quote: Quote | TeacherQuote) -> Iterator[tuple[object, ...]]:
    named = (("calls", quote.sends), ("prompt tokens", quote.prompt_tokens), ("answer tokens", quote.answer_tokens))
    yield from ((name, bounds.low, bounds.high) for name, bounds in named)
    cost = quote.cost
    yield ("cost", "unknown", "unknown") if cost is None else ("cost", dollars(cost.low), dollars(cost.high))


def _notes(quote: Quote, config: Config) -> Iterator[str]:
    if config.teacher is None and not config.teachers:
        yield "no teacher: nothing is paid for"
        return
    if config.pipeline.unchosen:
        yield config.pipeline.unchosen
    yield (
        "low: one answer a call, as long as the text that it replaces, at 4 bytes a token; "
        "high: the most expensive outcome of the choices between versions, with "
        f"{config.limits.answers} answers a call (limits.answers) and every further request that a question in steps "
        "may send, each at the price that is reserved for it. Where a teacher has batch: true, that is the price of a "
        "batch. What the provider's cache may save is not known before, and left out. "
        "Where the run directory has the scores, choices are made as in a run. "
        "Failed attempts that may have been billed are not included"
    )
    if quote.guessed:
        yield (
            f"{quote.guessed} calls are about rewrites that do not exist yet: they are estimated from the existing "
            "texts, as if no stage dropped a sample and no rewrite failed; high adds the longest rewrite"
        )
    if config.has_fallbacks:
        yield (
            "fallbacks: low assumes that no question goes to one, beyond those that have gone there; high that every "
            "question is asked of each of them in vain"
        )
    if quote.broken:
        without = number_of(quote.broken, "sample")
        yield f"{without} without a prompt: a reflection raises on them, and a run counts them as failed"
    if quote.cost is None:
        main = "" if config.teacher is None else str(config.teacher.part)
        unpriced = [teacher.name for teacher in quote.teachers if teacher.cost is None] or [main]
        names = " and ".join(f"'{name}'" for name in unpriced)
        yield f"the price of teacher {names} is not known: give input_price and output_price in its settings"
    elif (budget := config.share_of(config.limits.budget_usd)) is not None:
        yield _covered(quote.cost, quote.spent, budget)
    elif quote.spent:
        yield f"spent in this run directory so far: {dollars(quote.spent)}"


def _covered(cost: Bounds, spent: int, budget: float) -> str:
    """Return a sentence that says whether a budget covers what is still to be paid."""
    said = f"limits.budget_usd of ${budget:g}, of which {dollars(spent)} is spent,"
    if spent + cost.high <= budget * 1e9:
        return f"{said} covers the high cost"
    covers = spent + cost.low <= budget * 1e9
    return f"{said} covers the low cost but not the high one" if covers else f"{said} does not cover even the low cost"


def show_forecast(forecast: ToldForecast, again: str | None = None) -> None:
    """Print what a pilot predicts for all rows.

    Args:
        forecast: the prediction.
        again: the command that runs all rows, if it is known.
    """
    console = stdout()
    rows = [
        ("samples kept with a rewrite", *_shown(forecast.rewritten, _percent)),
        ("samples kept in total", *_shown(forecast.kept, _percent)),
        ("cost", *_shown(forecast.cost_usd, lambda amount: dollars(round(1e9 * amount)))),
        ("time", *_shown(forecast.duration_s, _duration)),
    ]
    title = f"Forecast for all {forecast.population} rows, from {forecast.rows} of them"
    console.print(table(title, ("", "estimate", "95 % from", "to"), rows, (1, 2, 3)))
    for note in _about(forecast):
        console.print(line(note))
    if again is not None:
        console.print(line(f"to continue: {again}"))


def _about(forecast: ToldForecast) -> Iterator[str]:
    if forecast.rows < forecast.population:
        yield "the rows were drawn at random; what was paid for them is part of the cost and is not paid again"
    else:
        yield "these were all rows: the shares and the cost are counted, not estimated"
    if forecast.duration_s is None:
        yield (
            "time: not known, because there were too few rows, most answers were in the run directory already, or a "
            "stage over the whole data set finished all samples at once"
        )
    else:
        yield (
            "time: estimated from the intervals between finished samples, without loading the student and without the "
            f"start of the calls (the first sample took {_duration(forecast.first_s)}); with fewer rows than "
            "limits.in_flight it is rough, and its upper end includes the start"
        )


def _shown(estimate: Estimate | None, form: Callable[[float], str]) -> tuple[str, str, str]:
    return ("unknown", "", "") if estimate is None else (form(estimate.value), form(estimate.low), form(estimate.high))


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))

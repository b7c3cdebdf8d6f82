"""Display of the state of a run directory."""

from __future__ import annotations

import time

from rt_framework.events import Summary
from rt_framework.jobs.looking.standing import Standing
from rt_framework.kit.places import in_words
from rt_framework.rundir import review_lines
from rt_framework.terminal.console import summary_tables
from rt_framework.terminal.cost import show_forecast
from rt_framework.terminal.printing import line, money, stdout, table
from rt_framework.text import number_of


def show_standing(standing: Standing, summary: Summary, spent: int) -> None:
    """Print the state of a run directory.

    Args:
        standing: the state.
        summary: its samples, summed up.
        spent: nano-dollars that had a price.
    """
    console = stdout()
    if standing.is_pilot:
        told = f"the last run was a pilot of {number_of(summary.total, 'row')}, about which the numbers are"
        console.print(line(f"{told}; 'rt run' goes on with all rows"))
    for made in summary_tables(summary):
        console.print(made)
    for told in review_lines(standing.reviews):
        console.print(line(told))
    if standing.places:
        console.print(line(f"teacher asked at: {in_words(standing.places)}"))
    if standing.requests:
        rows = [(one.state, one.kind or "", one.count) for one in standing.requests]
        console.print(table("Teacher requests", ("state", "kind", "count"), rows, (2,)))
        console.print(line(f"spent: {money(spent, priced=standing.spent_usd is not None)}"))
    if standing.forecast is not None:
        show_forecast(standing.forecast)
    for batch in standing.batches:
        name = f"batch {batch.name}" if batch.name else "a batch that may not have been submitted"
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(batch.created_s))
        console.print(line(f"{name}: {batch.questions} questions since {since}; 'rt run' collects the answers"))
    for key in standing.doubtful:
        console.print(line(f"call {key} was under way when the run was killed; it may have been billed"))

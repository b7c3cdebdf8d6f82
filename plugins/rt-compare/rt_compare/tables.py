"""Tables and lines for the terminal. Text from data is made harmless, and in a pipe long lines are not broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rt_framework.kit.stdout import own
from rt_framework.text import shown


def stdout() -> Console:
    """Return the console of standard output."""
    file = own()
    terminal = file.isatty()
    return Console(file=file, soft_wrap=not terminal, width=None if terminal else 120, highlight=False)


def line(text: object) -> Text:
    """Return *text* on one line, without control characters and markup."""
    return Text(shown(str(text).replace("\n", " ")))


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Table:
    """Return a table of plain values.

    Args:
        title: shown above.
        head: column titles.
        rows: one sequence a row.
        right: positions of the columns whose values are numbers, which are aligned to the right.
    """
    made = Table(title=line(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        made.add_column(name, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(line, row))
    return made


def money(nano: int, priced: bool) -> str:
    """Return an amount in words that do not present an unknown price as zero.

    Args:
        nano: nano-dollars of the calls that had a price.
        priced: whether all calls had a price.
    """
    dollars = f"${nano / 1e9:.4f}"
    if priced:
        return dollars
    return f"{dollars} and calls without a known price" if nano else "unknown cost (no price for this teacher)"

"""Printing for people: text made harmless, tables, amounts of money. Public, for the commands of packages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rt_framework.kit.stdout import own
from rt_framework.text import shown


def safe(text: object) -> Text:
    """Return *text* from any source, made harmless on a terminal: no control characters, no markup."""
    return Text(shown(text))


def line(text: object) -> Text:
    """Return *text* on one line, made harmless as by :func:`safe`."""
    return safe(str(text).replace("\n", " "))


def stdout() -> Console:
    """Return the console of standard output; in a pipe, long lines are not broken."""
    file = own()
    terminal = file.isatty()
    return Console(file=file, soft_wrap=not terminal, width=None if terminal else 120, highlight=False)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Table:
    """Return a table of plain values.

    Args:
        title: shown above.
        head: column titles.
        rows: one sequence a row.
        right: positions of the columns whose values are numbers, which are aligned to the right.
    """
    made = Table(title=safe(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        made.add_column(name, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(line(value) for value in row))
    return made


def dollars(nano: int) -> str:
    """Return nano-dollars as dollars, for people to read."""
    return f"${nano / 1e9:.4f}"


def saved(nano: int) -> str:
    """Return an amount that caches and batches saved in words; a negative one is a further cost."""
    if nano < 0:
        return f"{dollars(-nano)} of it for writing to the cache"
    return f"{dollars(nano)} saved by caches and batches"


def money(nano: int, priced: bool) -> str:
    """Return an amount in words that do not present an unknown price as zero.

    Args:
        nano: nano-dollars of the calls that had a price.
        priced: whether all calls had a price.
    """
    if priced:
        return dollars(nano)
    return f"{dollars(nano)} and calls without a known price" if nano else "unknown cost (no price for this teacher)"

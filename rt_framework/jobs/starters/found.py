"""A look at a data set before there is a config: how it is read, and what its rows hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from attrs import evolve, frozen

from rt_framework.config import Builder, Data, ScoringConfig
from rt_framework.data import CONVERSATIONS, Source, guess_columns, open_source
from rt_framework.errors import DataError, RtError, StudentError
from rt_framework.jobs.fits import Fit, fit, frame_of, rows_fit
from rt_framework.jobs.rows_seen import MOST, RowsSeen, see_rows
from rt_framework.kit.parts import Spec
from rt_framework.kit.spread import quantile
from rt_framework.plugin import Host
from rt_framework.protocols import StoredPart, Student
from rt_framework.text import number_of

_PLAIN = "alpaca"
"""Template for a student without a chat template."""

_OPTIONS = {
    "data.columns": "--column instruction=COLUMN --column output=COLUMN",
    "data.shape": "--shape NAME",
    "data.format": "--format NAME",
}
"""Options of the command, by the setting that a message about the data names."""


@frozen
class Found:
    """A data set as the config has to name it, and what was seen of it."""

    data: Data
    lines: tuple[str, ...]
    """What was seen, a line each."""
    summary: str = "not looked at"
    """Format, shape and number of rows."""
    chats: bool = False
    """True if the rows are conversations."""
    turned: bool = False
    """True if rows have earlier turns or tools."""
    template: str | None = None
    """Template that the student needs, because it has no chat template."""


def look(host: Host, data: Data, student: Spec | None) -> Found:
    """Look at the first rows of a data set, and at their lengths if the student's tokenizer is at hand.

    Raises:
        RtError: the data set cannot be read, or there is no such student.
    """
    part = None if student is None else Builder(host, looking=True).spec("students", student)
    if data.is_on_hub:
        line = f"{data.path}: not looked at, since that would download it; rt doctor does with the config"
        return Found(data, (line,))
    read = evolve(data, columns=_columns(host, data), unreadable="drop")
    source, seen = _read(host, read)
    if seen.counts["marks"]:
        read = evolve(read, trained="marked")
        source, seen = _read(host, read)
    turned = bool(seen.counts["turns"] or seen.counts["tools"])
    template = None
    fits = _fits(host, part, ScoringConfig(), seen)
    if fits and not turned and all(one.lacking == "no_template" for one in fits):
        template = _PLAIN
        fits = _fits(host, part, ScoringConfig(template=Spec(template)), seen)
    rows = f"the first {MOST:,} rows" if seen.faults.rows == MOST else number_of(seen.faults.rows, "row")
    summary = f"{source.format_name}, {source.shape} columns, {rows}"
    told = (*_guessed(data.columns, read.columns), *_seen(source, seen), *_told(fits, seen))
    return Found(
        data=evolve(read, unreadable="drop" if seen.faults.count else data.unreadable),
        lines=(f"{source.name}: {summary}", *told),
        summary=summary,
        chats=source.shape in CONVERSATIONS,
        turned=turned,
        template=template,
    )


def _columns(host: Host, data: Data) -> dict[str, str]:
    """Return the columns that the user names and those that are guessed.

    Raises:
        DataError: format or shape cannot be told, and the message names the option that says it.
    """
    try:
        columns = guess_columns(host, data)
        open_source(host, evolve(data, columns=columns))
    except DataError as error:
        way_out = next((option for key, option in _OPTIONS.items() if key in str(error)), None)
        raise DataError(f"{error}; here: {way_out}") if way_out else error from None
    return columns


def _read(host: Host, data: Data) -> tuple[Source, RowsSeen]:
    source = open_source(host, data)
    return source, see_rows(source.entries())


def _fits(host: Host, student: Any, rules: ScoringConfig, seen: RowsSeen) -> list[Fit]:
    """Return how rows stand before the student's tokenizer; nothing unless it can be loaded from this machine."""
    if not (isinstance(student, StoredPart) and student.stored()):
        return []
    frame, encoding = frame_of(Builder(host, looking=True), rules), cast("Student", student)
    try:
        return [fit(encoding, frame, pair) for pair in seen.pairs]
    except (RtError, StudentError):  # which rt doctor names
        return []


def _guessed(given: Mapping[str, str], columns: Mapping[str, str]) -> Iterator[str]:
    new = [f"{field} is your '{column}'" for field, column in columns.items() if field not in given]
    if new:
        yield f"columns, guessed: {', '.join(new)}; correct data.columns if that is wrong"


def _seen(source: Source, seen: RowsSeen) -> Iterator[str]:
    """Yield a line on each thing that a user should know of the rows."""
    counts = seen.counts
    has = {"earlier turns": counts["turns"], "a system prompt": counts["system"], "tools": counts["tools"]}
    having = [f"{what} in {number_of(count, 'row')}" for what, count in has.items() if count]
    if source.shape in CONVERSATIONS:
        yield f"turns: {'; '.join([str(source.turns), number_of(seen.answers, 'answer'), *having])}"
    elif having:
        yield f"turns: {'; '.join(having)}"
    if seen.flaws:
        yield f"rows: {seen.flaws}"
    if seen.repeated:
        yield f"rows: {seen.repeated}"
    if seen.faults.count:
        yield f"rows: {seen.faults.share} and are left out (unreadable: drop): {'; '.join(seen.faults.lines)}"


def _told(fits: Sequence[Fit], seen: RowsSeen) -> Iterator[str]:
    """Yield a line on the lengths of the rows, and one on the student if not all of them fit it."""
    tokens = sorted(one.tokens for one in fits if one.tokens)
    lengths, unit = (tokens, "tokens of the student") if tokens else (seen.lengths, "characters")
    if not lengths:
        return
    half, most = (round(quantile(lengths, part)) for part in (0.5, 0.95))
    yield f"length: half of the rows have up to {half:,} {unit}, 95 % up to {most:,}, the longest has {lengths[-1]:,}"
    if any(one.lacking or one.cut for one in fits):
        yield f"student: {rows_fit(fits).finding}"

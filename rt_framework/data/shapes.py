"""Shapes: meanings of the columns of a row, as pairs of pure functions between rows and records.

A record that was read remembers its row. Writing it in the same shape changes only what has
changed, so an unchanged record gives back that row, with its null values, absent optional columns,
extra keys of a message and order of the columns. In another shape the row is built anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import field, frozen

from rt_framework.data.conversations import read_turns, trained_by, unroll_turns, write_turns
from rt_framework.data.messages import MARKS, MESSAGES, SHAREGPT, Dialect
from rt_framework.data.values import Names, RawRow, like, list_of, text_of
from rt_framework.errors import ConfigError, DataError
from rt_framework.model import Pair, Record, Turn


@frozen
class ColumnShape:
    """One meaning of the columns: its fields, and how a pair is read from a row and written to it."""

    name: str
    required: tuple[str, ...]
    """Fields that every row has."""
    optional: tuple[str, ...]
    read: Callable[[RawRow, Names, str], Pair]
    """Function that returns the pair of a row, given which turns are trained: ``last``, ``all`` or ``marked``. Its
    DataError does not name the row, which the caller adds."""
    write: Callable[[Pair, RawRow, Names], dict[str, Any]]
    """Function that returns the columns of a row that must change so that the row holds the pair."""
    unroll: Callable[[RawRow, Names, str], Iterator[RawRow]]
    """Function that yields a row for each answer of a row's conversation that is trained."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field, the required ones first."""
        return self.required + self.optional


_JOINED = "prompt and completion"
"""Column of the conversation that a prompt and a completion of messages make together."""

# --- alpaca and prompt-completion: one column a part ------------------------------------------


def _history(row: RawRow, column: str | None) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for item in list_of(row, column) if column else ():
        if not isinstance(item, list | tuple) or len(item) != 2 or not all(isinstance(text, str) for text in item):
            raise DataError(f"column '{column}' is no list of [user, assistant] texts; correct or rename it")
        turns += (Turn("user", item[0]), Turn("assistant", item[1]))
    return tuple(turns)


def _rounds(history: Sequence[Turn]) -> list[list[str]]:
    roles = [turn.role for turn in history]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise DataError("earlier turns do not alternate between user and assistant; use shape messages")
    return [[user.content, assistant.content] for user, assistant in zip(history[::2], history[1::2], strict=True)]


def _read_flat(ask: str, answer: str, row: RawRow, names: Names, trained: str) -> Pair:
    texts = {field: text_of(row, column) for field, column in names.items() if field not in ("history", "tools")}
    pair = Pair(
        texts[ask],
        texts.get("input", ""),
        texts[answer],
        texts.get("system") or None,
        _history(row, names.get("history")),
    )
    return trained_by(pair, trained)


def _write_flat(ask: str, answer: str, pair: Pair, row: RawRow, names: Names) -> dict[str, Any]:
    typed = {
        "reasoning": pair.reasoning,
        "calls of tools": pair.tools or pair.tool_calls or pair.since,
        "turns after the response": pair.after,
    }
    lost = next((part for part, value in typed.items() if value), None)
    if lost is not None:
        raise DataError(f"the shape has no place for {lost}; use shape messages")
    instruction = pair.instruction if "input" in names else pair.user_turn
    texts = {ask: instruction, "input": pair.input, answer: pair.response, "system": pair.system or ""}
    changed: dict[str, Any] = {
        names[field]: text
        for field, text in texts.items()
        if field in names
        and (text != text_of(row, names[field]) or (field in (ask, answer) and names[field] not in row))
    }
    column = names.get("history")
    if column and pair.history != _history(row, column):
        changed[column] = like(row.get(column), _rounds(pair.history))
    return changed


def _unroll_flat(ask: str, answer: str, row: RawRow, names: Names, _: str) -> Iterator[RawRow]:
    column = names.get("history")
    rounds = list_of(row, column) if column else []
    for end, (user, assistant) in enumerate(_rounds(_history(row, column))):
        texts = {names[ask]: user, names[answer]: assistant} | ({names["input"]: ""} if "input" in names else {})
        yield {**row, **texts, str(column): like(row.get(str(column)), rounds[:end])}
    yield row


def _flat(name: str, ask: str, answer: str, *optional: str) -> ColumnShape:
    columns = ask, answer
    read, write, unroll = partial(_read_flat, *columns), partial(_write_flat, *columns), partial(_unroll_flat, *columns)
    return ColumnShape(name, columns, optional, read, write, unroll)


def _split(names: Names) -> tuple[dict[str, str], str, str]:
    """Return the names of a row whose prompt and completion are one conversation, and these two columns."""
    joined = {field: column for field, column in names.items() if field in ("system", "tools")}
    return {**joined, MESSAGES.field: _JOINED}, names["prompt"], names["completion"]


def _joined(row: RawRow, names: Names) -> RawRow:
    _, prompt, completion = _split(names)
    return {**row, _JOINED: [*list_of(row, prompt), *list_of(row, completion)]}


def _is_split(row: RawRow, names: Names) -> bool:
    return isinstance(row.get(names["prompt"]), list)


def _read_prompt(row: RawRow, names: Names, trained: str) -> Pair:
    if not _is_split(row, names):
        return _read_flat("prompt", "completion", row, names, trained)
    return read_turns(MESSAGES, _joined(row, names), _split(names)[0], trained)


def _write_prompt(pair: Pair, row: RawRow, names: Names) -> dict[str, Any]:
    if not _is_split(row, names):
        return _write_flat("prompt", "completion", pair, row, names)
    inner, prompt, completion = _split(names)
    changed = write_turns(MESSAGES, pair, _joined(row, names), inner)
    turns = changed.pop(_JOINED, None)
    if turns is None:
        return changed
    prompted = len(list_of(row, prompt))
    return {**changed, prompt: turns[:prompted], completion: turns[prompted:]}


def _unroll_prompt(row: RawRow, names: Names, trained: str) -> Iterator[RawRow]:
    if not _is_split(row, names):
        yield from _unroll_flat("prompt", "completion", row, names, trained)
        return
    inner, prompt, completion = _split(names)
    for one in unroll_turns(MESSAGES, _joined(row, names), inner, trained):
        *before, last = one[_JOINED]
        yield {**row, prompt: before, completion: [last]}


def _chat(name: str, dialect: Dialect, *optional: str) -> ColumnShape:
    read, write, unroll = partial(read_turns, dialect), partial(write_turns, dialect), partial(unroll_turns, dialect)
    return ColumnShape(name, (dialect.field,), optional, read, write, unroll)


SHAPES: dict[str, ColumnShape] = {
    shape.name: shape
    for shape in (
        _flat("alpaca", "instruction", "output", "input", "system", "history"),
        ColumnShape(
            "prompt-completion",
            ("prompt", "completion"),
            ("system", "history", "tools"),
            _read_prompt,
            _write_prompt,
            _unroll_prompt,
        ),
        _chat("messages", MESSAGES, "tools"),
        _chat("sharegpt", SHAREGPT, "system", "tools"),
    )
}
"""Every shape, by name."""

CONVERSATIONS = frozenset({"messages", "sharegpt"})
"""Shapes whose rows may hold several turns as a matter of course."""


# --- columns ----------------------------------------------------------------------------------


def find_shape(name: str) -> ColumnShape:
    """Return the shape called *name*.

    Raises:
        ConfigError: there is no such shape.
    """
    if name not in SHAPES:
        raise ConfigError(f"unknown shape '{name}'; known: {', '.join(SHAPES)}")
    return SHAPES[name]


def _names(shape: ColumnShape, columns: Mapping[str, str]) -> Names:
    """Return the column of each field; a field has none if the user gave the column of its name to another field."""
    taken = set(columns.values())
    return {field: columns.get(field, field) for field in shape.fields if field in columns or field not in taken}


def column_names(shape: ColumnShape, columns: Mapping[str, str]) -> Names:
    """Return the column of each field, from the user's map of field to column.

    Raises:
        ConfigError: the map names a field that the shape lacks, gives one column to two fields, or
            takes away the column of a required field.
    """
    names = _names(shape, columns)
    unknown = [field for field in columns if field not in shape.fields]
    if unknown:
        known = ", ".join(shape.fields)
        raise ConfigError(f"data.columns: shape {shape.name} has no field '{unknown[0]}'; known: {known}")
    if len(set(columns.values())) < len(columns):
        raise ConfigError("data.columns: two fields have the same column; give each its own")
    lost = [field for field in shape.required if field not in names]
    if lost:
        raise ConfigError(f"data.columns: column '{lost[0]}' is given to another field; name the column for {lost[0]}")
    return names


def detect_shape(row: RawRow, columns: Mapping[str, str] | None = None) -> str:
    """Return the name of the one shape that the columns of *row* fit, with the user's map applied.

    Raises:
        DataError: no shape fits, or several do; the message does not name the file.
        ConfigError: the map names a field that no shape has.
    """
    columns = columns or {}
    known = dict.fromkeys(field for shape in SHAPES.values() for field in shape.fields)
    unknown = [field for field in columns if field not in known]
    if unknown:
        raise ConfigError(f"data.columns: no shape has a field '{unknown[0]}'; known: {', '.join(known)}")
    fitting = fitting_shapes(row, columns)
    if len(fitting) > 1:
        raise DataError(f"the columns fit the shapes {' and '.join(fitting)}; choose one with data.shape")
    if not fitting:
        raise DataError(_no_shape(row, columns))
    return fitting[0]


def fitting_shapes(row: RawRow, columns: Mapping[str, str]) -> list[str]:
    """Return the names of the shapes that the columns of *row* fit, with the user's map applied."""
    return [
        shape.name
        for shape in SHAPES.values()
        if set(columns) <= set(shape.fields) and _has_required(shape, row, _names(shape, columns))
    ]


def _has_required(shape: ColumnShape, row: RawRow, names: Names) -> bool:
    return all(names.get(field) in row for field in shape.required)


def _no_shape(row: RawRow, columns: Mapping[str, str]) -> str:
    asked = any(columns.get(field, field) in row for field in ("instruction", "prompt"))
    answered = any(columns.get(field, field) in row for field in ("output", "completion"))
    problem = "no response column" if asked and not answered else "the columns fit no shape"
    needs = "; ".join(f"{shape.name} needs {' and '.join(shape.required)}" for shape in SHAPES.values())
    example = "for example {instruction: question, output: answer}"
    return f"{problem}: found {', '.join(map(str, row)) or 'none'}; {needs}; use data.columns to map, {example}"


# --- rows and records -------------------------------------------------------------------------


@frozen
class ReadRecord(Record):
    """A record with the row it was read from, and the shape and columns by which it was read."""

    row: RawRow = field(factory=dict, repr=False)
    shape: str = ""
    names: Names = field(factory=dict, repr=False)


def has_marks(record: Record) -> bool:
    """Return whether the row of a record is a conversation with a turn that is marked as untrained."""
    if not isinstance(record, ReadRecord) or record.shape not in CONVERSATIONS:
        return False
    messages = list_of(record.row, record.names[SHAPES[record.shape].required[0]])
    return any(message.get(key) in (0, False) for message in messages for key in MARKS)


def to_record(shape: ColumnShape, row: RawRow, names: Names, trained: str = "last") -> Record:
    """Return the record of a row, in whose pair those turns are trained that *trained* says.

    Raises:
        DataError: a column is missing or has an unusable value; the message does not name the row.
    """
    needed = [column for field, column in names.items() if field in shape.required or column != field]
    missing = [column for column in needed if column not in row]
    if missing:
        found = ", ".join(map(str, row)) or "none"
        raise DataError(f"no column '{missing[0]}' (found: {found}); add it, or name the column with data.columns")
    own = set(names.values())
    extra = {column: value for column, value in row.items() if column not in own}
    return ReadRecord(shape.read(row, names, trained), extra, row, shape.name, names)


def to_row(shape: ColumnShape, record: Record, names: Names) -> dict[str, Any]:
    """Return the row of a record, under the user's column names. Unknown columns are kept.

    Raises:
        DataError: the shape has no column for a part of the pair; the message does not name the row.
    """
    own = set(names.values())
    if isinstance(record, ReadRecord) and (record.shape, record.names) == (shape.name, names):
        row = {column: value for column, value in record.row.items() if column in own or column in record.extra}
        return {**row, **record.extra, **shape.write(record.pair, row, names)}
    lost = next((column for column, value in record.extra.items() if column in own and value not in (None, "")), None)
    if lost is not None:
        raise DataError(f"column '{lost}' would be lost: shape {shape.name} has a field of that name; rename it")
    others = {column: value for column, value in record.extra.items() if column not in own}
    return {**shape.write(record.pair, {}, names), **others}

"""Reading of the file that ``rt score`` writes: one line of scores a sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

from attrs import frozen

from rt_framework.data import HashSet64
from rt_framework.errors import DataError


@frozen
class ScoreLine:
    """One line of a file that ``rt score`` wrote."""

    number: int
    """Line number, from 1."""
    id: str
    status: str
    metrics: Mapping[str, float | None]


def score_lines(path: Path) -> Iterator[ScoreLine]:
    """Yield the lines of a file that ``rt score`` wrote, one at a time.

    Raises:
        DataError: the file does not exist, a line has another form, or two lines are about one sample; names the line.
    """
    seen = HashSet64()
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = _line(path, number, text)
                if not seen.add(int.from_bytes(blake2b(line.id.encode("utf-8", "replace"), digest_size=8).digest())):
                    raise DataError(
                        f"{path}: line {number}: sample {line.id} has a line already; remove one of them, or score "
                        "the data again with 'rt score'"
                    )
                yield line
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; 'rt score' writes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _line(path: Path, number: int, text: str) -> ScoreLine:
    try:
        line = json.loads(text, parse_constant=float)
        parsed = ScoreLine(number, line["id"], line["status"], line["metrics"])
        values = parsed.metrics.values()
        numbers = all(value is None or (type(value) in (int, float) and -1e308 < value < 1e308) for value in values)
        if not (isinstance(parsed.id, str) and isinstance(parsed.status, str) and numbers):
            raise TypeError("id and status are texts, and the value of a metric is a finite number or null")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: line {number}: not a line of 'rt score': {error}") from error
    return parsed

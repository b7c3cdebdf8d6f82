"""Objects as JSON text: attrs classes as objects, numbers that JSON lacks as texts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from attrs import asdict, has


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON in ASCII, because then no terminal can interpret a text in it as a command.

    Args:
        value: attrs objects, mappings, sequences and plain values.
        indent: blanks by which each level is indented; on one line when left out.
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """Return *value* as JSON allows it: NaN, infinities and types that JSON lacks become text."""
    if has(type(value)):
        return plain(asdict(value, recurse=False))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    known = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)

"""Rows as the tables of other libraries."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from rt_framework.data.hub import check_hub_extra
from rt_framework.errors import ConfigError


def to_pandas(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return rows as a pandas ``DataFrame``.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise ConfigError("to_pandas() needs pandas: pip install pandas") from None
    return pandas.DataFrame(list(rows))


def to_dataset(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return rows as a ``datasets.Dataset``; a column that a row lacks is null there.

    Raises:
        ConfigError: datasets is not installed.
    """
    check_hub_extra("to_dataset()")
    import datasets

    listed = list(rows)
    names = dict.fromkeys(name for row in listed for name in row)
    return datasets.Dataset.from_dict({name: [row.get(name) for row in listed] for name in names})

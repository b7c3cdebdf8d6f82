"""Reading of data sets that a stage or another part names in its options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rt_framework.config import Builder, Data
from rt_framework.data import Source, open_source
from rt_framework.protocols import Make


def open_data(
    make: Make,
    path: str,
    format: str | None = None,
    shape: str | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> Source:
    """Return the source of a data set, read as the data of a run are: format and shape are found by themselves.

    Args:
        make: what a stage is built with; it knows the formats of the run's plugins.
        path: a file, a folder of files, or a data set of the hub.
        format: name of the format; found by itself when left out.
        shape: shape of the columns; found by itself when left out.
        columns: field to column, for columns with other names.

    Raises:
        DataError: the data does not exist, is empty, or has neither a known format nor the columns of a shape.
        ConfigError: the data is on the hub, and its name is none or the extra ``hub`` is not installed.
        TypeError: *make* is not the one that the run gives to its stages.
    """
    if not isinstance(make, Builder):
        raise TypeError(f"open_data needs the 'make' that a stage is built with, not {type(make).__name__}")
    return open_source(make.host, Data(path, format, shape, dict(columns)))

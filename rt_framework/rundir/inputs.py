"""The data that a run has read, found again from its directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from rt_framework.config import Config
from rt_framework.data import IN_MEMORY, Source, open_source
from rt_framework.errors import DataError
from rt_framework.plugin import Host


def input_of(run_dir: Path, config: Config, facts: Mapping[str, Any], host: Host) -> Source:
    """Return the data of a run; iteration yields each sample as it came in, with its record.

    Args:
        run_dir: the run, for messages.
        config: its config.
        facts: its frozen facts, which name the commit of data on the hub.
        host: finds the format of the data.

    Raises:
        DataError: the data is not there.
    """
    data = config.data
    if data.path == IN_MEMORY:
        raise DataError(
            f"{run_dir}: the run's data were rows in the memory of another program; read the records in kept and "
            "dropped, or run again with the same rows"
        )
    if data.is_on_hub:  # a branch may name another commit by now
        data = evolve(data, revision=facts["data"]["revision"])
    path = Path(data.path)
    if not data.is_on_hub and not path.is_absolute() and not path.exists():
        raise DataError(
            f"{path}: no such file in {Path.cwd()}; the run in {run_dir} names its data by this relative path: "
            "change to the directory in which the run was started, and try again"
        )
    return open_source(host, data, config.limits.samples)

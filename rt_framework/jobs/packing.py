"""Rows of a pack for a trainer, as ``rt export --pack`` writes them, for programs that train themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rt_framework.errors import ConfigError
from rt_framework.export import PACKS, Readable
from rt_framework.model import Pair
from rt_framework.plugin import named


def packed(name: str, pairs: Iterable[Pair]) -> Iterator[Mapping[str, Any]]:
    """Yield the row of a pack for each pair; a lone surrogate becomes ``?``, as in the pack's file.

    Args:
        name: name of the pack, such as ``trl``.
        pairs: the samples to train on.

    Raises:
        ConfigError: the pack is unknown, or one of preferences, which are no pairs.
    """
    pack = named("pack", name, PACKS)
    if pack.row is None:
        raise ConfigError(f"pack '{name}' holds the preferences of a run, not samples")
    yield from Readable(map(pack.row, pairs))

"""Rows of a pack for a trainer, as ``rt export --pack`` writes them, for programs that train themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rt_framework.export import Readable, samples
from rt_framework.model import Pair


def packed(name: str, pairs: Sequence[Pair]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a pack, which train exactly the trained turns; a lone surrogate becomes ``?``, as in its file.

    All rows have the same columns. A sample that the pack cannot hold, such as one without a trained turn, has no rows.

    Args:
        name: name of the pack, such as ``trl``.
        pairs: the samples to train on.

    Raises:
        ConfigError: the pack is unknown, or one of preferences, which are no pairs.
        DataError: the pack cannot train the turns of a sample.
    """
    yield from Readable(samples(name, lambda: pairs)[1])

"""A part of the samples: a whole job is several runs on several machines, each with its own ledger."""

from __future__ import annotations

import re
from typing import Self

from attrs import frozen

from rt_framework.errors import ConfigError
from rt_framework.model import Pair

_FORM = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@frozen
class Shard:
    """Part *number* of *of*, from 1. Which samples are in it is said by their contents alone."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2/8``.

        Raises:
            ConfigError: it is not of that form, or there are fewer parts than that.
        """
        found = _FORM.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigError(f"shard '{text}': expected i/n with i from 1 to n, for example 2/8")
        return cls(int(found[1]), int(found[2]))

    def holds(self, pair: Pair) -> bool:
        """Whether a sample that holds *pair* is in it. Equal ones are in one part, so they are paid for once."""
        return int(pair.hash[:16], 16) % self.of == self.number - 1

    def share(self, nano_dollars: int) -> int:
        """Its share of a budget: all parts together never have more."""
        return nano_dollars // self.of

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

"""Shards of a job: several runs on several machines, each over a part of the samples with its own ledger."""

from __future__ import annotations

import re
from typing import Self

from attrs import frozen

from rt_framework.errors import ConfigError
from rt_framework.model import Pair

_FORM = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@frozen
class Shard:
    """Part *number* of *of*, counted from 1. The content of a sample alone decides which part holds it."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that a text such as ``2/8`` names.

        Raises:
            ConfigError: the text is not of that form, or the number is larger than that of all parts.
        """
        found = _FORM.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigError(f"shard '{text}': expected i/n with i from 1 to n, for example 2/8")
        return cls(int(found[1]), int(found[2]))

    def holds(self, pair: Pair) -> bool:
        """Return whether the shard has the samples that hold *pair*: equal ones are in one shard, and paid for once."""
        return int(pair.hash[:16], 16) % self.of == self.number - 1

    def holds_row(self, number: int) -> bool:
        """Return whether the shard has the row with a number, if nothing is known of the row's content."""
        return number % self.of == self.number - 1

    def share(self, nano_dollars: int) -> int:
        """Return the shard's share of a budget, rounded down: all shards together never exceed the budget."""
        return nano_dollars // self.of

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

"""Held-out sets: prompts with responses, none of which stands in an arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from attrs import field, frozen

from rt_compare.prompts import PromptIndex
from rt_compare.sides import prompt_key
from rt_framework import Pair
from rt_framework.cli.options import Data, Host, open_source
from rt_framework.errors import ConfigError, DataError
from rt_framework.model import digest
from rt_prove.arms import Arm


@frozen
class HeldOutSet:
    """One held-out set."""

    name: str
    pairs: tuple[Pair, ...] = field(repr=False)
    removed: int
    """Number of prompts that were removed, because they also stand in an arm."""

    @cached_property
    def content(self) -> str:
        """Hash of its samples in their order."""
        return digest([pair.hash for pair in self.pairs])

    def drawn(self, count: int) -> tuple[Pair, ...]:
        """Return one sample for each of the *count* different prompts with the smallest hashes, or for all prompts."""
        by_prompt = {prompt_key(pair): pair for pair in self.pairs}
        return tuple(by_prompt[key] for key in sorted(by_prompt)[:count])


def held_out_sets(host: Host, files: Mapping[str, str], arms: Sequence[Arm]) -> tuple[HeldOutSet, ...]:
    """Read the held-out sets, without the prompts that also stand in an arm.

    Args:
        host: finds the formats.
        files: path of each set, by its name.
        arms: the arms.

    Raises:
        DataError: a file cannot be read, or nothing is left of a set.
        ConfigError: there is no set.
    """
    if not files:
        raise ConfigError("name at least one held-out set with --held-out NAME=FILE")
    index = PromptIndex((arm.name, arm.pairs) for arm in arms)
    return tuple(_without(name, path, _pairs(host, path), index) for name, path in files.items())


def _pairs(host: Host, path: str) -> list[Pair]:
    return [sample.original.pair for sample in open_source(host, Data(path)).samples()]


def _without(name: str, path: str, pairs: Iterable[Pair], index: PromptIndex) -> HeldOutSet:
    everything = list(pairs)
    left = tuple(pair for pair in everything if index.find(pair) is None)
    if not left:
        raise DataError(f"{path}: each of its {len(everything)} prompts also stands in an arm; nothing is held out")
    return HeldOutSet(name, left, len(everything) - len(left))

"""Pairs of an instruction and a response, and the rows that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from attrs import field, frozen

from rt_framework.model.digests import digest, keyed

_THINKING = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


@frozen
class Turn:
    """A message of a conversation."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str
    """Text of the message."""


@frozen
class Pair:
    """An instruction and its response, the papers' x and y, with the conversation before them."""

    instruction: str
    """The question or task."""
    input: str = ""
    """Text that the instruction is about; empty where the instruction says it all."""
    response: str = ""
    """The answer."""
    system: str | None = None
    """The record's own system prompt, if it has one."""
    history: tuple[Turn, ...] = ()
    """Earlier user and assistant turns, oldest first."""

    @property
    def question(self) -> str:
        """The target of r-IFD: the instruction followed by its input, with no separator."""
        return self.instruction + self.input

    @property
    def user_turn(self) -> str:
        """The instruction, with its input on the next line: the user's last message in a chat."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction

    @property
    def answer(self) -> str:
        """The response without reasoning traces in ``<think>`` tags, which restate the question."""
        return _THINKING.sub("", self.response)

    @cached_property
    def hash(self) -> str:
        """Content hash of the whole pair."""
        return digest(keyed(self))


@frozen
class Rewrite:
    """A new pair, with numbers that the teacher gave it in the same answer, such as marks."""

    pair: Pair
    """The new pair."""
    scores: Mapping[str, float]
    """Numbers by name; the reflection declares the names in ``provides``."""


@frozen
class Record:
    """A row as a format reads and writes it."""

    pair: Pair
    """The texts of the row."""
    extra: Mapping[str, Any] = field(factory=dict)
    """Columns that do not belong to the pair, kept unchanged."""

"""Pairs of an instruction and a response, and the rows that hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from attrs import field, frozen

from rt_framework.model.digests import ADDED, ASIDE, digest, keyed

_THINKING = re.compile(r"<think>(.*?)</think>\s*", re.DOTALL)


@frozen
class ToolCall:
    """A call of a tool in an assistant turn."""

    name: str
    """Name of the tool."""
    arguments: str
    """Arguments as JSON text."""
    id: str | None = None
    """Id by which the turn with the result refers to the call, if the data has one."""

    @property
    def values(self) -> Any:
        """The arguments as chat templates write them: an object, or the text itself if it is no JSON."""
        try:
            return json.loads(self.arguments)
        except (ValueError, RecursionError):
            return self.arguments

    @property
    def text(self) -> str:
        """The call as JSON, for a reader."""
        return json.dumps({"name": self.name, "arguments": self.values}, ensure_ascii=False)


@frozen
class Turn:
    """A message of a conversation."""

    role: str
    """``system``, ``developer``, ``user``, ``assistant`` or ``tool``."""
    content: str
    """Text of the message."""
    reasoning: str | None = field(default=None, metadata=ADDED)
    """Reasoning before an assistant's text, where the data has it apart from the text."""
    tool_calls: tuple[ToolCall, ...] = field(default=(), metadata=ADDED)
    """Calls of tools by an assistant, in order."""
    tool_call_id: str | None = field(default=None, metadata=ADDED)
    """Id of the call whose result a ``tool`` turn is."""
    name: str | None = field(default=None, metadata=ADDED)
    """Name of the tool whose result a ``tool`` turn is."""
    trained: bool = field(default=False, metadata=ASIDE)
    """True if a student is trained on this assistant turn of a pair's ``history`` too, so that scores count it."""

    @property
    def answer(self) -> str:
        """The text without reasoning in ``<think>`` tags."""
        return _THINKING.sub("", self.content)

    @property
    def lead(self) -> str:
        """The text up to the answer: reasoning in ``<think>`` tags; empty without such."""
        return self.content[: max((found.end() for found in _THINKING.finditer(self.content)), default=0)]

    @property
    def thoughts(self) -> str:
        """The reasoning, whether the data has it apart from the text or within it, in ``<think>`` tags."""
        return self.reasoning or "\n".join(_THINKING.findall(self.content))


@frozen
class Pair:
    """An instruction and its response, the papers' x and y, with the conversation around them."""

    instruction: str
    """The question or task."""
    input: str = ""
    """Text that the instruction is about; empty where the instruction says it all."""
    response: str = ""
    """The answer."""
    system: str | None = None
    """The record's own system prompt, if it has one."""
    history: tuple[Turn, ...] = ()
    """Turns before the instruction, oldest first."""
    since: tuple[Turn, ...] = field(default=(), metadata=ADDED)
    """Turns between the instruction and the response: calls of tools with their results."""
    reasoning: str | None = field(default=None, metadata=ADDED)
    """Reasoning before the response, where the data has it apart from the response."""
    tool_calls: tuple[ToolCall, ...] = field(default=(), metadata=ADDED)
    """Calls of tools in the turn of the response. Such a turn may have no text, and is never rewritten."""
    after: tuple[Turn, ...] = field(default=(), metadata=ADDED)
    """Turns after the response, which are neither shown nor scored."""
    tools: tuple[str, ...] = field(default=(), metadata=ADDED)
    """JSON schema of each tool that the conversation may call, as text."""
    trained: bool = field(default=True, metadata=ASIDE)
    """True if a student is trained on the response, so that scores count it."""

    @property
    def system_turns(self) -> tuple[Turn, ...]:
        """The record's own system prompt as a turn; empty without one."""
        return (Turn("system", self.system),) if self.system is not None else ()

    @property
    def earlier(self) -> tuple[Turn, ...]:
        """Every turn before the response but the system prompt."""
        return (*self.history, Turn("user", self.user_turn), *self.since)

    @property
    def before(self) -> tuple[Turn, ...]:
        """Every turn before the response, the system prompt first."""
        return (*self.system_turns, *self.earlier)

    @property
    def last(self) -> Turn:
        """The turn of the response."""
        return Turn("assistant", self.response, self.reasoning, self.tool_calls, trained=self.trained)

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
    def characters(self) -> int:
        """Number of characters of all turns up to the response, the system prompt included."""
        return sum(len(turn.content) for turn in (*self.before, self.last))

    @cached_property
    def hash(self) -> str:
        """Content hash of the whole pair. It does not depend on which turns are trained."""
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

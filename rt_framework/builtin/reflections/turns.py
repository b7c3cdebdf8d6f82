"""Reflection on an earlier turn of a conversation, which is put back in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve

from rt_framework.errors import ConfigError
from rt_framework.kit.turns import trained_places, turns
from rt_framework.model import Pair, Range, Reply, Request, Rewrite, Unparsed
from rt_framework.protocols import Providing, Reflection

MOST_EARLIER_TURNS = 32
"""Number of earlier turns of a conversation that are rewritten at most, from the first one on."""


class TurnReflection:
    """A reflection on one of the earlier trained turns of a pair.

    Args:
        name: name of the rewrites.
        reflection: the reflection, which is asked about the turn as if the conversation ended with it.
        number: number of the turn among the trained ones before the response, from 0.
    """

    def __init__(self, name: str, reflection: Reflection, number: int) -> None:
        if hasattr(reflection, "follow"):
            raise ConfigError("turns: each works with reflections of one request; this one asks in steps")
        self._name = name
        self._reflection = reflection
        self._number = number
        self.rewrites: Sequence[str] = tuple(reflection.rewrites)
        self.provides: Mapping[str, Range] = reflection.provides if isinstance(reflection, Providing) else {}

    def asks_about(self, pair: Pair) -> bool:
        """Return whether the pair has the turn, and the turn may be rewritten."""
        found = trained_places(pair)
        if len(found) <= self._number:
            return False
        return not pair.earlier[found[self._number]].tool_calls

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request about the turn, under a name of its own, since the pair may be asked about other turns."""
        request = self._reflection.render(self._turn(pair), index, structured)
        return evolve(request, reflection=self._name, pair_hash=pair.hash)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Rewrite | Unparsed:
        """Return the pair with the new turn in its place, or why the answer cannot be used."""
        turn = self._turn(pair)
        parsed = self._reflection.parse(turn, request, reply)
        if isinstance(parsed, Unparsed):
            return parsed
        if isinstance(parsed, Rewrite):
            return evolve(parsed, pair=self._put_back(pair, turn, parsed.pair))
        return self._put_back(pair, turn, parsed)

    def _turn(self, pair: Pair) -> Pair:
        return list(turns(pair))[self._number]

    def _put_back(self, pair: Pair, old: Pair, new: Pair) -> Pair:
        """Return the pair with the texts of a rewritten turn. Reasoning that led to the old text goes with it."""
        earlier = list(pair.earlier)
        place = trained_places(pair)[self._number]
        if new.response != old.response:
            earlier[place] = evolve(earlier[place], content=new.response, reasoning=None)
        asked = len(old.history)
        earlier[asked] = evolve(earlier[asked], content=new.user_turn)
        before = len(pair.history)
        moved = evolve(pair, history=tuple(earlier[:before]), since=tuple(earlier[before + 1 :]))
        question = earlier[before].content
        return moved if question == pair.user_turn else evolve(moved, instruction=question, input="")

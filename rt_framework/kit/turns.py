"""Turns of a conversation: those that are trained, each with what stands before it."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from rt_framework.errors import Unscorable
from rt_framework.model import Pair


def turns(pair: Pair) -> Iterator[Pair]:
    """Yield each trained assistant turn as a pair, with the turns before it; the last pair is *pair* itself.

    Raises:
        Unscorable: no turn of the pair is trained, or a trained turn has no user turn before it.
    """
    trained = trained_places(pair)
    earlier = pair.earlier if trained else ()
    if not trained and not pair.trained:
        raise Unscorable("untrained", "no turn of the conversation is trained")
    for place in trained:
        asked = max((at for at in range(place) if earlier[at].role == "user"), default=None)
        if asked is None:
            raise Unscorable("empty", "a trained turn has no user turn before it")
        turn = earlier[place]
        yield Pair(
            earlier[asked].content,
            response=turn.content,
            system=pair.system,
            history=earlier[:asked],
            since=earlier[asked + 1 : place],
            reasoning=turn.reasoning,
            tool_calls=turn.tool_calls,
            tools=pair.tools,
        )
    if pair.trained:
        yield pair


def trained_places(pair: Pair) -> list[int]:
    """Return the places of the trained turns in ``Pair.earlier``."""
    if not (pair.history or pair.since):  # the usual case: before the response there is the user's turn alone
        return []
    return [place for place, turn in enumerate(pair.earlier) if turn.role == "assistant" and turn.trained]


def later_turns_only(pair: Pair, number: int) -> Pair:
    """Return the pair with only those turns trained that follow the trained turn with a number, from 0."""
    last = trained_places(pair)[number]
    marked = [evolve(turn, trained=turn.trained and place > last) for place, turn in enumerate(pair.earlier)]
    before = len(pair.history)
    return evolve(pair, history=tuple(marked[:before]), since=tuple(marked[before + 1 :]))

"""A metric over a neighbour: the nats per token that the most similar demonstration before the question saves."""

import json
from pathlib import Path

from attrs import evolve, frozen

from rt_framework import Pair, Range, Turn, hookimpl


@frozen
class NeighbourSettings:
    path: str
    """JSON file of demonstrations: a list of objects with ``instruction`` and ``output``."""


class NeighbourGain:
    direction, valid = "higher", Range()

    def __init__(self, settings):
        rows = json.loads(Path(settings.path).read_text("utf-8"))
        self._shown = [Pair(row["instruction"], response=row["output"]) for row in rows]

    def spans(self, pair, frame):
        words = set(pair.instruction.split())
        near = max(self._shown, key=lambda other: len(words & set(other.instruction.split())))
        told = (Turn("user", near.instruction), Turn("assistant", near.response))
        shown = evolve(pair, history=(*told, *pair.history))
        asked = frame.response_given_instruction
        return {"alone": asked(pair)[-1:], "after": asked(shown)[-1:]}

    def reduce(self, losses):
        return losses["alone"].mean - losses["after"].mean


@hookimpl
def rt_register_metrics(register):
    register("neighbour-gain", "neighbour:NeighbourGain", help="nats saved by a neighbour", settings=NeighbourSettings)

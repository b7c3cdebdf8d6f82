"""A selector over the student's embeddings: samples whose instructions lie far apart (greedy k-center)."""

from math import dist, inf

from attrs import frozen

from rt_framework import Verdict, hookimpl


@frozen
class FarApartSettings:
    count: int


class FarApart:
    needs = ()

    def __init__(self, settings):
        self._count = settings.count

    def embeds(self, pair, frame):
        return frame.instruction_alone(pair)

    def select(self, rows):
        vectors = {row.sample_id: vector for row in rows if (vector := row.vector) is not None}
        nearest, kept = dict.fromkeys(sorted(vectors), inf), []
        while nearest and len(kept) < self._count:
            kept.append(max(nearest, key=nearest.__getitem__))
            del nearest[kept[-1]]
            nearest = {name: min(known, dist(vectors[name], vectors[kept[-1]])) for name, known in nearest.items()}
        return [Verdict(row.sample_id in kept, self._reason(row, kept, vectors)) for row in rows]

    def _reason(self, row, kept, vectors):
        if row.sample_id not in vectors:
            return "the instruction has no vector"
        return f"number {kept.index(row.sample_id) + 1}" if row.sample_id in kept else "near a sample that is kept"


@hookimpl
def rt_register_selectors(register):
    register("far-apart", "far_apart:FarApart", help="instructions far apart", settings=FarApartSettings)

"""A selector over the data set: the samples that no other sample beats in one metric without losing in another."""

from attrs import frozen

from rt_framework import Verdict, hookimpl


@frozen
class ParetoSettings:
    metrics: dict[str, str]
    """The better side of each metric: ``higher`` or ``lower``."""


@frozen
class Pareto:
    settings: ParetoSettings

    @property
    def needs(self):
        return tuple(self.settings.metrics)

    def select(self, rows):
        points = {row.sample_id: self._point(row) for row in rows if self._has_all(row)}
        front = {name for name, point in points.items() if not any(_beats(one, point) for one in points.values())}
        return [Verdict(row.sample_id in front, f"{len(front)} samples are on the front") for row in rows]

    def _has_all(self, row):
        return all(row.scores[name].eligible for name in self.needs)

    def _point(self, row):
        signs = {"higher": 1, "lower": -1}
        return [signs[side] * row.scores[name].value for name, side in self.settings.metrics.items()]


def _beats(other, point):
    return other != point and all(its >= own for its, own in zip(other, point, strict=True))


@hookimpl
def rt_register_selectors(register):
    register("pareto", "pareto:Pareto", help="the Pareto front of some metrics", settings=ParetoSettings)

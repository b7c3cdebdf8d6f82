"""A selector over the data set: of each value of a column the samples with the highest scores."""

from collections import defaultdict

from attrs import frozen

from rt_framework import Verdict, hookimpl


@frozen
class QuotaSettings:
    column: str
    metric: str
    """The samples of a value with the highest scores by this metric are kept."""
    each: int = 1


class Quota:
    def __init__(self, settings):
        self.columns, self.needs = (settings.column,), (settings.metric,)
        self._settings = settings

    def select(self, rows):
        groups = defaultdict(list)
        for row in rows:
            score = row.scores[self._settings.metric]
            if score.eligible:
                groups[row.extra[self._settings.column]].append((-score.value, row.sample_id))
        kept = {sample for group in groups.values() for _, sample in sorted(group)[: self._settings.each]}
        return [Verdict(row.sample_id in kept, f"quota of {self._settings.each}") for row in rows]


@hookimpl
def rt_register_selectors(register):
    register("quota", "quota:Quota", help="the best of each value of a column", settings=QuotaSettings)

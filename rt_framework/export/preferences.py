"""Preference pairs from a run's choices: two responses to one prompt, one of which the student's scores kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attrs import evolve, field, frozen

from rt_framework.model import Decision, Pair, Sample, Version
from rt_framework.results import FinishedRun
from rt_framework.rundir import check_obeyed

OTHER_PROMPT = "with another prompt"
UNDECIDED = "not decided by valid scores"
EQUAL = "with equal responses"


@frozen
class Preference:
    """One prompt, the response that was kept, and one that it beat."""

    chosen: Pair
    rejected: Pair
    stage: str
    """Id of the choice that decided."""
    metric: str
    """The first metric that the selector of that choice reads."""
    chosen_score: float
    rejected_score: float


@frozen
class Preferences:
    """All preferences of a finished run, read one by one.

    The version that was kept at the end is the chosen one. A version that it beat is the rejected one if both answer
    the same prompt and had a valid score in that choice: a version that could not win is not known to be worse.
    """

    run: FinishedRun
    left_out: Counter[str] = field(factory=Counter)
    """Number of comparisons that give no preference, by reason; complete when all preferences were read once more."""

    def __iter__(self) -> Iterator[Preference]:
        check_obeyed(self.run.path, self.run.review_counts)
        self.left_out.clear()
        for history in self.run:
            if history.is_kept:
                yield from self._of(history.sample)

    def _of(self, sample: Sample) -> Iterator[Preference]:
        won = [decision for decision in sample.decisions if decision.kept == sample.kept]
        for decision in won:
            for name in decision.candidates:
                if name != sample.kept:
                    found = self._compared(sample, decision, sample.version(name))
                    if isinstance(found, Preference):
                        yield found
                    else:
                        self.left_out[found] += 1

    def _compared(self, sample: Sample, decision: Decision, loser: Version) -> Preference | str:
        """Return the preference, or the reason why there is none."""
        chosen, rejected = sample.current.pair, loser.pair
        last = chosen.last
        if evolve(rejected, response=last.content, reasoning=last.reasoning, tool_calls=last.tool_calls) != chosen:
            return OTHER_PROMPT
        if rejected == chosen:
            return EQUAL
        scores = self._scores(sample, decision, loser)
        metric = next(iter(scores), None)
        if metric is None or scores[metric][0] == scores[metric][1]:
            return UNDECIDED
        return Preference(chosen, rejected, decision.stage, metric, *scores[metric])

    def _scores(self, sample: Sample, decision: Decision, loser: Version) -> dict[str, tuple[float, float]]:
        """Return both versions' values of each metric that the choice reads; empty if one has no valid value."""
        found: dict[str, tuple[float, float]] = {}
        stages = self.run.stages
        for metric in stages[decision.stage].needs if decision.stage in stages else ():
            two = [sample.scores.get(name, {}).get(metric) for name in (sample.kept, loser.name)]
            values = [score.value for score in two if score is not None and score.eligible and score.value is not None]
            if len(values) < len(two):
                return {}
            found[metric] = (values[0], values[1])
        return found

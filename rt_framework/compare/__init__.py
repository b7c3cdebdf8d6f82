"""Two data sets side by side, without training: statistics, near duplicates, a judge."""

from rt_framework.compare import languages, neighbours
from rt_framework.compare.judging import JudgeJob, Judgements, claim_judged, judge, plain_judgements
from rt_framework.compare.samples import Comparison, Side, compare, lent, open_side, plain, write_json

__all__ = [
    "Comparison",
    "JudgeJob",
    "Judgements",
    "Side",
    "claim_judged",
    "compare",
    "judge",
    "languages",
    "lent",
    "neighbours",
    "open_side",
    "plain",
    "plain_judgements",
    "write_json",
]

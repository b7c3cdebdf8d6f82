"""Comparison of two data sets without training: statistics, near-duplicates, a judge."""

from rt_framework.compare import languages, neighbours
from rt_framework.compare.extra import check_extra
from rt_framework.compare.judging import JudgeJob, Judgements, as_json, claim_judged, judge
from rt_framework.compare.samples import Comparison, compare, write_json
from rt_framework.compare.sides import Side, lent, open_side

__all__ = [
    "Comparison",
    "JudgeJob",
    "Judgements",
    "Side",
    "as_json",
    "check_extra",
    "claim_judged",
    "compare",
    "judge",
    "languages",
    "lent",
    "neighbours",
    "open_side",
    "write_json",
]

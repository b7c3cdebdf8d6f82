"""The data that flows through a run: frozen, plain, and free of any machine-learning import."""

from rt_framework.model.calls import (
    MOST_TEMPERATURE,
    MOST_TOKENS,
    TOKENS_A_MESSAGE,
    Charge,
    Pending,
    Quotas,
    Reply,
    Request,
    Sampling,
    Unparsed,
    Usage,
    most_tokens,
)
from rt_framework.model.digests import ADDED, ASIDE, canonical, digest, digest_of, keyed, stored
from rt_framework.model.findings import Finding
from rt_framework.model.pairs import Pair, Record, Rewrite, ToolCall, Turn
from rt_framework.model.samples import ORIGINAL, Decision, Dropped, Failure, Handover, Range, Sample, Score, Version
from rt_framework.model.selection import Choice, Scored, Verdict

__all__ = [
    "ADDED",
    "ASIDE",
    "MOST_TEMPERATURE",
    "MOST_TOKENS",
    "ORIGINAL",
    "TOKENS_A_MESSAGE",
    "Charge",
    "Choice",
    "Decision",
    "Dropped",
    "Failure",
    "Finding",
    "Handover",
    "Pair",
    "Pending",
    "Quotas",
    "Range",
    "Record",
    "Reply",
    "Request",
    "Rewrite",
    "Sample",
    "Sampling",
    "Score",
    "Scored",
    "ToolCall",
    "Turn",
    "Unparsed",
    "Usage",
    "Verdict",
    "Version",
    "canonical",
    "digest",
    "digest_of",
    "keyed",
    "most_tokens",
    "stored",
]

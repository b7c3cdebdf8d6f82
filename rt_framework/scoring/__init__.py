"""Scoring of pairs with the student, each loss computed once: presets, spans, planning, the forward pass, scores."""

from rt_framework.scoring.canary import canary_key, same_weights
from rt_framework.scoring.forward import BatchLimits
from rt_framework.scoring.losses import Losses
from rt_framework.scoring.planning import ForwardBatch, plan
from rt_framework.scoring.presets import PRESETS, Preset, preset
from rt_framework.scoring.rules import ScoringRules
from rt_framework.scoring.scores import Measured, Scoring, reads_texts_alone, student_of
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.scoring.vectors import Vectors

__all__ = [
    "PRESETS",
    "BatchLimits",
    "ForwardBatch",
    "Losses",
    "Measured",
    "Preset",
    "PresetSpans",
    "Scoring",
    "ScoringRules",
    "Vectors",
    "canary_key",
    "plan",
    "preset",
    "reads_texts_alone",
    "same_weights",
    "student_of",
]

"""Each loss computed once: presets, spans of a pair, planning, the forward pass, scores."""

from rt_framework.scoring.losses import Losses, Shape
from rt_framework.scoring.planning import Batch, plan
from rt_framework.scoring.presets import PRESETS, Preset, preset
from rt_framework.scoring.scores import Measured, Scoring
from rt_framework.scoring.spans_of import PresetFrame

__all__ = ["PRESETS", "Batch", "Losses", "Measured", "Preset", "PresetFrame", "Scoring", "Shape", "plan", "preset"]

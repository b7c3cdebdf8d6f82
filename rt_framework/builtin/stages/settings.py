"""Options of the built-in stages."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from rt_framework.kit.parts import Spec
from rt_framework.model import Range


@frozen
class ReflectSettings:
    """Options of the stage ``reflect``."""

    reflection: Spec
    """A reflection, with options if it needs other ones: ``{instruction: {max_tokens: 2048}}``."""


@frozen
class ChooseSettings:
    """Options of the stage ``choose``."""

    selector: Spec
    """A selector over the versions of one sample."""


@frozen
class GateSettings:
    """Options of the stage ``gate``."""

    metrics: dict[str, Range]
    """Range that each metric of the kept version must lie in."""


@frozen
class SelectSettings:
    """Options of the stage ``select``."""

    selector: Spec
    """A selector over the data set."""


@frozen
class MeasureSettings:
    """Options of the stage ``measure``."""

    metrics: tuple[str, ...]
    """Metrics to score for the report."""


@frozen
class UnimprovedSettings:
    """Options of the stage ``unimproved``."""

    policy: Literal["drop", "keep"]
    """``drop`` (the paper) or ``keep`` a sample whose response no choice has improved."""

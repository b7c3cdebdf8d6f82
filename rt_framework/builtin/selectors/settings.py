"""Options of the selectors."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from rt_framework.kit.bounds import within
from rt_framework.model import Range


@frozen
class BestSettings:
    """Options of the selectors ``highest`` and ``lowest``."""

    metric: str
    """The metric that decides."""
    gates: dict[str, Range] = field(factory=dict)
    """Bounds by metric, such as ``{ifd: {below: 1}}``, that a version must keep to win."""


@frozen
class NotHigherSettings:
    """Options of the selector ``not-higher``."""

    metric: str
    """The metric whose value a rewrite must not raise."""


@frozen
class RandomVersionSettings:
    """Options of the selector ``random-version``. Give either *rate* or *run*."""

    rate: float | None = field(default=None, validator=within(least=0, most=1))
    """Probability of a rewrite in each choice, from 0 to 1."""
    run: str | None = None
    """Run directory, whose choices say how often each rewrite is taken."""
    seed: int = 0
    """Another seed draws other versions."""


@frozen
class TopSettings:
    """Options of the selector ``top``. Give either *fraction* or *count*."""

    metric: str
    """The metric that ranks."""
    fraction: float | None = None
    """Share to select, in (0, 1]; rounded up to whole samples, so that a small share is never none."""
    count: int | None = None
    """Number of samples to select, at least 1."""
    of: Literal["valid", "all"] = "valid"
    """Set that *fraction* is a share of: the samples with a valid score, or all samples."""
    order: Literal["higher", "lower"] = "higher"
    """Values that rank first."""


@frozen
class LengthMatchedSettings(TopSettings):
    """Options of ``length-matched`` and ``echo-matched``: those of the ``top`` selection that they are controls for."""

    seed: int = 0
    """Decides between samples that match equally well."""


@frozen
class ThresholdSettings:
    """Options of the selector ``threshold``. Give at least one bound."""

    metric: str
    """The metric that is compared with the bounds."""
    below: float | None = None
    """Select values < this."""
    at_most: float | None = None
    """Select values ≤ this."""
    above: float | None = None
    """Select values > this."""
    at_least: float | None = None
    """Select values ≥ this."""


@frozen
class RandomSettings:
    """Options of the selector ``random``. Give either *fraction* or *count*."""

    fraction: float | None = None
    """Share of all samples to select, in (0, 1]; rounded up to whole samples."""
    count: int | None = None
    """Number of samples to select, at least 1."""
    seed: int = 0
    """Another seed draws another subset."""

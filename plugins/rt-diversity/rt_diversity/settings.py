"""Options of the selectors."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Text = Literal["whole", "instruction", "response"]

Embedder = Literal["model", "student"]

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The model of the published code of Superfiltering.D: 384 numbers a text, of which it reads 256 tokens."""


@frozen
class FacilitySettings:
    """Options of ``facility-location``. Give either *fraction* or *count*."""

    metric: str = "ifd"
    """The metric that decides who is a candidate."""
    first: float = 0.2
    """Share of the samples with a valid score that are candidates, the best by *metric*, in (0, 1]; rounded up."""
    order: Literal["higher", "lower"] = "higher"
    """Better values of *metric*."""
    fraction: float | None = None
    """Share of the samples with a valid score to select, at most *first*; rounded up to whole samples."""
    count: int | None = None
    """Number of samples to select, at least 1."""
    neighbours: int = 200
    """Similarities kept for each candidate where more than 5,000 texts differ; up to there all are."""
    text: Text = "whole"
    """Text that is embedded: ``instruction`` with its input, ``response``, or ``whole``: both, after earlier turns."""
    embedder: Embedder = "model"
    """Source of the vectors: ``model``, or ``student`` for the hidden states of the run's own student."""
    model: str = DEFAULT_MODEL
    """A sentence-transformers model, by id or directory; or ``module:function``, from texts to rows of numbers."""
    batch_size: int = 32
    """Texts that a sentence-transformers model reads at a time, at least 1."""
    device: str | None = None
    """Torch device of a sentence-transformers model; none: CUDA if there is one, else the CPU."""


@frozen
class KCenterSettings:
    """Options of ``k-center``. Give either *fraction* or *count*."""

    fraction: float | None = None
    """Share of all samples to select, in (0, 1]; rounded up to whole samples."""
    count: int | None = None
    """Number of samples to select, at least 1."""
    text: Text = "whole"
    """Text that is embedded: ``instruction`` with its input, ``response``, or ``whole``: both, after earlier turns."""
    embedder: Embedder = "model"
    """Source of the vectors: ``model``, or ``student`` for the hidden states of the run's own student."""
    model: str = DEFAULT_MODEL
    """A sentence-transformers model, by id or directory; or ``module:function``, from texts to rows of numbers."""
    batch_size: int = 32
    """Texts that a sentence-transformers model reads at a time, at least 1."""
    device: str | None = None
    """Torch device of a sentence-transformers model; none: CUDA if there is one, else the CPU."""


@frozen
class ClusterSettings:
    """Options of ``cluster-stratified``. Give either *fraction* or *each*."""

    metric: str = "ifd"
    """The metric that ranks within a cluster."""
    clusters: int = 100
    """Number of k-means clusters, at most one for each different text."""
    fraction: float | None = None
    """Share of each cluster to select, in (0, 1]; rounded up, so that no cluster is left out."""
    each: int | None = None
    """Number of samples to select from each cluster, at least 1; all of a smaller one."""
    order: Literal["higher", "lower"] = "higher"
    """Better values of *metric*."""
    seed: int = 0
    """Another seed starts k-means elsewhere."""
    text: Text = "whole"
    """Text that is embedded: ``instruction`` with its input, ``response``, or ``whole``: both, after earlier turns."""
    embedder: Embedder = "model"
    """Source of the vectors: ``model``, or ``student`` for the hidden states of the run's own student."""
    model: str = DEFAULT_MODEL
    """A sentence-transformers model, by id or directory; or ``module:function``, from texts to rows of numbers."""
    batch_size: int = 32
    """Texts that a sentence-transformers model reads at a time, at least 1."""
    device: str | None = None
    """Torch device of a sentence-transformers model; none: CUDA if there is one, else the CPU."""


EncoderSettings = FacilitySettings | KCenterSettings | ClusterSettings
"""Settings classes with ``text``, ``embedder``, ``model``, ``batch_size`` and ``device``."""

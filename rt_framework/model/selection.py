"""Input and decisions of selectors: scored versions, choices and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from rt_framework.model.samples import Score, Version


@frozen
class Scored:
    """A version with the scores that a selector asked for."""

    sample_id: str
    """Id of the sample."""
    row: int
    """Row number of the sample in the input, from 0."""
    _version: Version | Callable[[], Version]
    """The version, or a function that reads it."""
    scores: Mapping[str, Score]
    """Scores of the version, by metric."""
    _extra: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(factory=dict, eq=False, repr=False)
    """Values of the columns that the selector reads besides the pair, or a function that reads them."""

    _vector: Callable[[], Sequence[float] | None] | None = field(default=None, eq=False, repr=False)
    """A function that reads the vector, where the selector asks for vectors."""

    @property
    def vector(self) -> Sequence[float] | None:
        """Vector of the spans that the selector declares in ``embeds``, in float32; read at each access.

        ``None`` for a text without a vector, such as an empty one, and where the selector asks for none.
        """
        return None if self._vector is None else self._vector()

    @property
    def extra(self) -> Mapping[str, Any]:
        """Values of the columns that the selector declares in ``columns``, by name; read at each access."""
        return self._extra() if callable(self._extra) else self._extra

    @property
    def version(self) -> Version:
        """The version with its texts. Versions of a data set are read again at each access and not kept in memory."""
        return self._version if isinstance(self._version, Version) else self._version()


@frozen
class Choice:
    """A selector's decision between the versions of one sample."""

    kept: str
    """Name of the version to keep."""
    reason: str
    """Explanation for the user."""


@frozen
class Verdict:
    """A selector's decision about one sample of a data set."""

    keep: bool
    """True if the sample is kept."""
    reason: str
    """Explanation for the user."""

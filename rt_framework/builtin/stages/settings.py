"""Options of the built-in stages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from rt_framework.errors import ConfigError
from rt_framework.kit.bounds import within
from rt_framework.kit.parts import Spec
from rt_framework.model import ORIGINAL, Range

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


_REFLECT = {"reflection", "teacher", "draws", "as", "failed", "turns", "accept"}
"""Keys of the long form of ``reflect``."""


def _check_name(_: object, __: object, value: str | None) -> None:
    if value is not None and (not _NAME.fullmatch(value) or value == ORIGINAL):
        raise ConfigError(f"as: '{value}' cannot name rewrites: use letters, digits, '_' and '-', and not '{ORIGINAL}'")


@frozen
class ReflectSettings:
    """Options of the stage ``reflect``."""

    reflection: Spec
    """A reflection, with options if it needs other ones: ``{instruction: {max_tokens: 2048}}``."""
    teacher: str | None = None
    """Name of the teacher that is asked, one of ``teachers``; ``teacher`` when left out."""
    draws: int = field(default=1, validator=within(least=1, most=100))
    """Number of rewrites of one version, each from an answer of its own; the reflection needs a temperature above 0."""
    as_: str | None = field(default=None, validator=_check_name)
    """Name of the rewrites; that of the reflection when left out. Several draws are NAME.1, NAME.2 and so on."""
    failed: Literal["keep", "drop"] = "keep"
    """``keep``: a sample without a usable answer goes on with the version that it has. ``drop``: it is taken out."""
    turns: Literal["last", "each"] = "last"
    """``last``: the response is rewritten. ``each``: before it every earlier trained turn, from the first on; a later
    turn is asked about with the earlier rewrites that were accepted."""
    accept: Spec = Spec("not-higher", "loss")
    """With ``turns: each``: selector that accepts the rewrite of an earlier turn, by scores over the trained turns
    after it alone. By default they must not get worse: their loss must not rise."""

    def __attrs_post_init__(self) -> None:
        if self.turns == "each" and self.draws > 1:
            raise ConfigError("turns: each takes one draw of a turn; leave draws out, or rewrite the last turn alone")

    @classmethod
    def shorthand(cls, value: object) -> object:
        """Expand the short form: a reflection with its options alone is ``reflection``."""
        short = isinstance(value, Mapping) and value and not _REFLECT & set(value)
        return {"reflection": value} if short else value


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

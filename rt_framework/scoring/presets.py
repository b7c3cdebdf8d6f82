"""Presets: named data, not code.

A preset is frozen, so that score files stay comparable with published ones. Anything that changes
a number gets a new name.
"""

from __future__ import annotations

from attrs import field, frozen

from rt_framework.errors import ConfigError
from rt_framework.plugin import suggestion


@frozen
class Preset:
    """How a pair is put before the student, and which scores count."""

    name: str
    source: str
    template: str
    """Default template; a config may name another."""
    direct: str
    """What stands before y when it is scored alone: ``bare`` (nothing) or ``header`` (the template's
    response header, or all constants of a chat template)."""
    join: str
    """``text`` or ``ids``: see :class:`rt_framework.model.Span`."""
    max_tokens: int | None
    metrics: tuple[str, ...]
    """What ``rt score`` computes when no metric is named."""
    range_binds: bool = True
    """Whether a value outside a metric's valid range loses every choice. Off only where the
    published procedure lets such a rewrite win and then loses the sample at the gate."""
    longer: dict[str, int] = field(factory=dict)
    """Templates with a limit of their own."""

    def limit(self, template: str) -> int | None:
        """Longest sequence in tokens with that template."""
        return self.longer.get(template, self.max_tokens)


_PRESETS = (
    Preset("selective-rt", "arXiv 2402.10110", "vicuna", "bare", "text", 2048, ("ifd", "r-ifd"), range_binds=False),
    Preset("superfiltering", "arXiv 2402.00530", "none", "bare", "text", 1024, ("ifd",)),
    Preset("cherry", "arXiv 2308.12032", "alpaca", "header", "text", 512, ("ifd-loss",), longer={"wizardlm": 1024}),
    Preset("chat", "recommended for new work", "chat", "header", "ids", None, ("ifd", "r-ifd")),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}


def preset(name: str) -> Preset:
    """The preset called *name*.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'.{suggestion(name, PRESETS)} Known: {', '.join(PRESETS)}.")
    return PRESETS[name]

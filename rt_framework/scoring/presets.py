"""Scoring presets, which are named data and not code.

A preset never changes, so that score files stay comparable with published ones. Anything that would change a number
gets a preset with a new name.
"""

from __future__ import annotations

from attrs import field, frozen

from rt_framework.plugin import named


@frozen
class Preset:
    """Rules by which a pair is shown to the student, and by which its scores are used."""

    name: str
    source: str
    template: str
    """Name of the default template; a config may name another."""
    direct: str
    """Context of y when it is scored alone: ``bare`` (nothing) or ``header`` (the template's response header, or all
    constants of a chat template)."""
    join: str
    """Encoding of context and target, ``text`` or ``ids``: see :class:`rt_framework.spans.Span`."""
    max_tokens: int | None
    """Longest sequence in tokens; ``None`` for the model's own limit."""
    metrics: tuple[str, ...]
    """Metrics that ``rt score`` computes when none is named."""
    range_binds: bool = True
    """True if a version with a value outside a metric's valid range never wins a choice. It is False only where the
    published procedure lets such a rewrite win and then loses the sample at the gate."""
    longer: dict[str, int] = field(factory=dict)
    """Longest sequence in tokens for each template that does not use ``max_tokens``."""

    def limit(self, template: str) -> int | None:
        """Return the longest sequence in tokens with that template; ``None`` for the model's own limit."""
        return self.longer.get(template, self.max_tokens)


_PRESETS = (
    Preset("selective-rt", "arXiv 2402.10110", "vicuna", "bare", "text", 2048, ("ifd", "r-ifd"), range_binds=False),
    Preset("superfiltering", "arXiv 2402.00530", "none", "bare", "text", 1024, ("ifd",)),
    Preset("cherry", "arXiv 2308.12032", "alpaca", "header", "text", 512, ("ifd-loss",), longer={"wizardlm": 1024}),
    Preset("chat", "recommended for new work", "chat", "header", "ids", None, ("ifd", "r-ifd")),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}


def preset(name: str) -> Preset:
    """Return the preset called *name*.

    Raises:
        ConfigError: there is no preset of that name.
    """
    return named("preset", name, PRESETS)

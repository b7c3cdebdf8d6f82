"""The rules by which a run shows pairs to the student: preset, template and length."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from rt_framework.config import ScoringConfig
from rt_framework.kit.parts import Spec
from rt_framework.scoring.presets import Preset, preset


@frozen
class ScoringRules:
    """Rules by which pairs are shown to the student in this run, with every omitted setting filled in."""

    preset: Preset
    template: Spec
    max_tokens: int | None

    @classmethod
    def of(cls, config: ScoringConfig) -> ScoringRules:
        """Settle preset, template and length; a value in the config takes precedence over the preset.

        Raises:
            ConfigError: the preset is unknown.
        """
        chosen = preset(config.preset)
        template = config.template or Spec(chosen.template)
        return cls(chosen, template, config.max_tokens or chosen.limit(template.name))

    def facts(self) -> dict[str, Any]:
        """Return the settings of scoring that may not change in a run directory."""
        return {"preset": self.preset.name, "template": str(self.template), "max_tokens": self.max_tokens}

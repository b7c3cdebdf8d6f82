"""Options of commands that show a data set to a student."""

from __future__ import annotations

from collections.abc import Iterable

import click

from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Whole


def _presets() -> Iterable[str]:
    from rt_framework.scoring import PRESETS

    return PRESETS


preset_option = name_option(
    "--preset", names=_presets, default="chat", show_default=True, help="Preset: a frozen set of scoring rules."
)
"""Option ``--preset NAME``; the command gets ``preset``."""

template_option = name_option("--template", names=parts("templates"), help="Template; default: the preset's own.")
"""Option ``--template NAME``; the command gets ``template``, or ``None``."""

max_tokens_option = click.option(
    "--max-tokens", type=Whole(2), help="Longest sequence in tokens; overrides the preset."
)
"""Option ``--max-tokens N``; the command gets ``max_tokens``, or ``None``."""

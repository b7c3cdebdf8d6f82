"""The named pipelines, as data in the form that a user could write."""

from __future__ import annotations

from typing import Any

from rt_framework.plugin import named

PIPELINES: dict[str, tuple[dict[str, Any], ...]] = {
    # Selective Reflection-Tuning, arXiv 2402.10110.
    "selective-rt": (
        {"reflect": "instruction"},
        {"choose": {"highest": "ifd"}},
        {"reflect": "response"},
        {"choose": {"lowest": "r-ifd"}},
        {"gate": {"ifd": {"below": 1}, "r-ifd": {"below": 1}}},
    ),
    # Reflection-Tuning V1, arXiv 2310.11716: every rewrite is taken.
    "reflection-v1": (
        {"reflect": "instruction"},
        {"choose": "newest"},
        {"reflect": "response"},
        {"choose": "newest"},
    ),
    # Cherry LLM, arXiv 2308.12032.
    "cherry": ({"select": {"top": {"metric": "ifd-loss", "fraction": 0.05}}},),
    # Superfiltering, arXiv 2402.00530: the same with a small scorer.
    "superfiltering": ({"select": {"top": {"metric": "ifd", "fraction": 0.05}}},),
}


def pipeline(name: str) -> tuple[dict[str, Any], ...]:
    """Return the stages of the pipeline called *name*.

    Raises:
        ConfigError: there is no such pipeline.
    """
    return named("pipeline", name, PIPELINES)

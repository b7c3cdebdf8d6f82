"""The reflection on the response."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.builtin.reflections.prompts import RESPONSE
from rt_framework.builtin.reflections.reflecting import Reflecting


class ResponseReflection(Reflecting):
    """Reflection that gives a better answer to the same instruction (step 3 of arXiv 2402.10110)."""

    task = RESPONSE
    rewrites: Sequence[str] = ("response",)

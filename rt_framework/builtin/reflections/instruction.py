"""The reflection on the instruction."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.builtin.reflections.prompts import INSTRUCTION
from rt_framework.builtin.reflections.reflecting import Reflecting


class InstructionReflection(Reflecting):
    """Reflection that gives a new instruction and its answer (step 1 of arXiv 2402.10110), without the old input."""

    task = INSTRUCTION
    rewrites: Sequence[str] = ("instruction", "response")

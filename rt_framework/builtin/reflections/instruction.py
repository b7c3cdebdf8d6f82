"""Reflection on the instruction."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.builtin.reflections.prompts import INSTRUCTION
from rt_framework.builtin.reflections.reflecting import Reflecting


class InstructionReflection(Reflecting):
    """A new instruction and a new answer to it (step 1 of arXiv 2402.10110). The old input is left out."""

    task = INSTRUCTION
    rewrites: Sequence[str] = ("instruction", "response")

"""The reflection on the instruction."""

from __future__ import annotations

from rt_framework.builtin.reflections.prompt_files import packaged_prompt
from rt_framework.builtin.reflections.reflecting import Reflecting
from rt_framework.builtin.reflections.settings import ReflectionSettings


class InstructionReflection(Reflecting):
    """Reflection that gives a new instruction and its answer (step 1 of arXiv 2402.10110), without the old input.

    Within a conversation it asks for the user's next message, which need not stand alone.
    """

    def __init__(self, settings: ReflectionSettings) -> None:
        following = packaged_prompt("next_instruction")
        super().__init__("instruction", packaged_prompt("instruction"), settings, following)

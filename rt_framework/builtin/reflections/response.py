"""The reflection on the response."""

from __future__ import annotations

from rt_framework.builtin.reflections.prompt_files import packaged_prompt
from rt_framework.builtin.reflections.reflecting import Reflecting
from rt_framework.builtin.reflections.settings import ReflectionSettings


class ResponseReflection(Reflecting):
    """Reflection that gives a better answer to the same instruction (step 3 of arXiv 2402.10110)."""

    def __init__(self, settings: ReflectionSettings) -> None:
        super().__init__("response", packaged_prompt("response"), settings)

"""The reflection by a prompt file of the user."""

from __future__ import annotations

from rt_framework.builtin.reflections.prompt_files import read_prompt
from rt_framework.builtin.reflections.reflecting import Reflecting
from rt_framework.builtin.reflections.settings import PromptSettings


class PromptReflection(Reflecting):
    """Reflection that asks what a prompt file says."""

    def __init__(self, settings: PromptSettings) -> None:
        prompt = read_prompt(settings.file)
        super().__init__("prompt", prompt, settings.over(prompt.sampling))

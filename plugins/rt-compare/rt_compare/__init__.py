"""Data sets compared without training, and training data without the prompts of an evaluation."""

from __future__ import annotations

from rt_compare.settings import DecontaminateSettings
from rt_framework import hookimpl
from rt_framework.hookspecs import Register

RT_PLUGIN_API = (2, 0)


@hookimpl
def rt_register_stages(register: Register) -> None:
    """The stage that drops samples whose prompt also stands in other files."""
    help_ = "drop samples whose prompt also stands in other files, such as an evaluation set"
    register("decontaminate", "rt_compare.decontaminate:Decontaminate", help=help_, settings=DecontaminateSettings)

"""A plugin for rt-framework: the executor ``ray``."""

from __future__ import annotations

from rt_framework import hookimpl
from rt_framework.hookspecs import Register
from rt_ray.settings import RaySettings

RT_PLUGIN_API = (2, 0)


@hookimpl
def rt_register_executors(register: Register) -> None:
    """Offer ``ray``."""
    help_ = "a student for each GPU, or worker, of a Ray cluster"
    register("ray", "rt_ray.executor:RayExecutor", help=help_, settings=RaySettings)

"""The hooks of this package, which offers one metric and one selector."""

from attrs import frozen

from rt_framework import hookimpl


@frozen
class MiddleSettings:
    """Options of ``middle``."""

    metric: str
    """The metric that ranks."""
    fraction: float = 0.5
    """Share of the samples to keep."""


@hookimpl
def rt_register_metrics(register):
    """One metric."""
    register("loss-gap", "rt_demo_plugin.metric:LossGap", help="L(y) - L(y|x): what the instruction tells of y")


@hookimpl
def rt_register_selectors(register):
    """One selector over the data set."""
    register("middle", "rt_demo_plugin.selector:Middle", help="neither the best nor the worst", settings=MiddleSettings)

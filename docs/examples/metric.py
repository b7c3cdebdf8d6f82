"""A metric: IFD minus r-IFD. It reads the losses of these two, so together with them it costs no forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rt_framework import Loss, Pair, Range, Span, hookimpl
from rt_framework.hookspecs import Register
from rt_framework.protocols import Frame


class Balance:
    """exp(L(y|x) - L(y)) - exp(L(x|g(y)) - L(x)): hard to answer, and easy to ask."""

    direction = "higher"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Name all four losses."""
        return {
            "y|x": frame.response_given_instruction(pair),
            "y": frame.response_alone(pair),
            "x|y": frame.instruction_given_response(pair),
            "x": frame.instruction_alone(pair),
        }

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the difference of IFD and r-IFD."""
        ifd = math.exp(losses["y|x"].mean - losses["y"].mean)
        return ifd - math.exp(losses["x|y"].mean - losses["x"].mean)


@hookimpl
def rt_register_metrics(register: Register) -> None:
    """Offer ``balance``."""
    register("balance", "metric:Balance", help="IFD minus r-IFD")

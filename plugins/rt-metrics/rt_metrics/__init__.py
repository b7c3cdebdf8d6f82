"""More scores that a student's losses give, and a judgement by the teacher; each under the name of its paper."""

from __future__ import annotations

from rt_framework import hookimpl
from rt_framework.hookspecs import Register
from rt_metrics.settings import AlpaGasusSettings

RT_PLUGIN_API = (2, 0)


@hookimpl
def rt_register_metrics(register: Register) -> None:
    """Scores by sums of losses, by single tokens, by next-token probabilities, and fitted to the data set."""
    at = "rt_metrics"
    register("s-ifd-50", f"{at}.selective:s_ifd_50", help="IFD over the more informative half of all tokens")
    register("s-ifd-75", f"{at}.selective:s_ifd_75", help="IFD over the more informative three quarters of all tokens")
    register(
        "grape", f"{at}.fitting:Grape", help="mean log-probability of the response; higher fits the student better"
    )
    register(
        "rsr",
        f"{at}.fitting:RankSurprisalRatio",
        help="mean rank / mean surprisal; lower means better suited to the student",
    )
    register("deita-complexity", f"{at}.deita:Complexity", help="the student's grade of the instruction, 1 to 6")
    register("deita-quality", f"{at}.deita:Quality", help="the student's grade of the response, 1 to 6")
    register("deita", f"{at}.deita:Evol", help="complexity × quality")
    register("ifd-length-residual", f"{at}.residual:LengthResidual", help="IFD minus the part that length explains")


@hookimpl
def rt_register_stages(register: Register) -> None:
    """The teacher as a judge."""
    help_ = "drop samples that the teacher grades low, from 0 to 5"
    register("alpagasus", "rt_metrics.alpagasus:AlpaGasus", help=help_, settings=AlpaGasusSettings)

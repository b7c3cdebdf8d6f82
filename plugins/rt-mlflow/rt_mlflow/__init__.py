"""Logs a run to MLflow. MLflow itself is imported by the thread that writes, once a run has started."""

from __future__ import annotations

from rt_framework import hookimpl
from rt_framework.hookspecs import Register
from rt_mlflow.settings import MlflowSettings

RT_PLUGIN_API = (2, 0)


@hookimpl
def rt_register_reporters(register: Register) -> None:
    """Offer ``mlflow``."""
    help_ = "the run in MLflow, in a local database"
    register("mlflow", "rt_mlflow.reporter:MlflowReporter", help=help_, settings=MlflowSettings)

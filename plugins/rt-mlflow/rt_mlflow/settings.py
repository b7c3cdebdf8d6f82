"""Options of the reporter."""

from __future__ import annotations

from attrs import Attribute, field, frozen

from rt_framework.errors import ConfigError


def _not_negative(_: object, attribute: Attribute[float], value: float) -> None:
    if not value >= 0:
        raise ConfigError(f"{attribute.name} must be at least 0, not {value}")


@frozen
class MlflowSettings:
    """Options of ``mlflow``."""

    experiment: str = "rt"
    """MLflow experiment; made if it is not there."""
    uri: str = "sqlite:///mlflow.db"
    """Tracking URI. ``MLFLOW_TRACKING_URI`` is not read: a run goes to a server only where its command line says so."""
    run_name: str | None = None
    """Name of the MLflow run; that of the run directory when left out."""
    tags: dict[str, str] = field(factory=dict)
    """Set on the MLflow run besides those of the reporter."""
    every: float = field(default=5.0, validator=_not_negative)
    """Seconds between two points of a metric. Progress in between is not written; the last one always is."""

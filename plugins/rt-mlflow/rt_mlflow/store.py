"""One run in MLflow. Everything here may be slow or raise, and is called on the writer's thread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rt_framework.events import RunStarted, Summary
from rt_mlflow import facts
from rt_mlflow.settings import MlflowSettings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_AT_ONCE = 100
"""Params or tags that MLflow takes in one call."""


class Store:
    """Begins an MLflow run, or goes on with that of the same run directory and config.

    Args:
        settings: where to.
        event: what runs.
        now: its start, in milliseconds since 1970.
    """

    def __init__(self, settings: MlflowSettings, event: RunStarted, now: int) -> None:
        self._client = _client(settings.uri)
        found = self._client.get_experiment_by_name(settings.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(settings.experiment)
        who = facts.identity(event)
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in who.items())
        known = self._client.search_runs([experiment], wanted, max_results=1)
        name = settings.run_name or Path(event.run_dir).name
        run = known[0] if known else self._client.create_run(experiment, now, who, name)
        self._run_id, self._began = run.info.run_id, run.info.start_time
        if known:
            self._client.update_run(self._run_id, "RUNNING", settings.run_name)
        self._log("params", facts.params(event))
        self.tag({**facts.tags(event), **settings.tags})

    def metrics(self, values: Mapping[str, float], now: int) -> None:
        """Log a point of each metric. Its step is the number of seconds since the MLflow run began."""
        from mlflow.entities import Metric

        step = max(0, (now - self._began) // 1000)
        self._client.log_batch(self._run_id, metrics=[Metric(key, value, now, step) for key, value in values.items()])

    def tag(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._log("tags", {key: facts.clean(value) for key, value in values.items()})

    def account(self, summary: Summary, now: int) -> None:
        """Log how the run ended, and keep the report, and the manifest that lies beside the outputs."""
        known = self._client.get_run(self._run_id).data.metrics
        # What an earlier run of the directory met, and this one did not, is not there any more.
        gone = {name: 0.0 for name in known if name.startswith(("failures/", "kept/"))}
        self.metrics({**gone, **facts.account(summary)}, now)
        self._client.log_text(self._run_id, facts.report(summary), "report.md")
        manifests = {Path(file).with_name("manifest.json") for file in summary.files}
        for manifest in filter(Path.exists, manifests):
            self._client.log_artifact(self._run_id, str(manifest))

    def end(self, status: str, now: int) -> None:
        """Say that it is over: ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._client.set_terminated(self._run_id, status, now)

    def _log(self, kind: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        make: Any = {"params": Param, "tags": RunTag}[kind]
        made = [make(key, value) for key, value in values.items()]
        for at in range(0, len(made), _AT_ONCE):
            self._client.log_batch(self._run_id, **{kind: made[at : at + _AT_ONCE]})


def _client(uri: str) -> MlflowClient:
    """MLflow, imported at its first use, without its reports to its makers and its lines about database tables."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)

"""Reads what the reporter logged, by MLflow's own client: the newest run of an experiment."""

from __future__ import annotations

import sys

from mlflow.tracking import MlflowClient


def main(experiment: str = "rt", uri: str = "sqlite:///mlflow.db") -> None:
    """Print the run's status, tags, params, last metrics and artifacts, and how one metric grew."""
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        sys.exit(f"no experiment '{experiment}' in {uri}")
    run = client.search_runs([found.experiment_id], max_results=1)[0]
    print(f"{run.info.run_name}: {run.info.status}")
    for title, values in (("tags", run.data.tags), ("params", run.data.params), ("metrics", run.data.metrics)):
        print(title)
        for name, value in sorted(values.items()):
            print(f"  {name} = {value}")
    history = client.get_metric_history(run.info.run_id, "samples/finished")
    print("samples/finished, by step:", ", ".join(f"{one.step} s: {one.value:g}" for one in history))
    print("artifacts:", ", ".join(one.path for one in client.list_artifacts(run.info.run_id)))


if __name__ == "__main__":
    main(*sys.argv[1:])

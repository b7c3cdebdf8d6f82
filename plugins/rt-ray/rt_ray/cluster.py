"""A Ray cluster: joined, or started for this run; Ray is imported here and nowhere else."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rt_framework.errors import ConfigError
from rt_ray.settings import RaySettings
from rt_ray.worker import Worker

# Read by Ray when it is imported: nothing is sent home, and a worker without a GPU sees those that there are.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Cluster:
    """The cluster of one run.

    Args:
        settings: which one.

    Raises:
        ConfigError: it cannot be reached, or has too little for its workers.
    """

    def __init__(self, settings: RaySettings) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        self._ray = ray
        self._settings = settings
        self._joined = ray.is_initialized()
        if not self._joined:
            self._begin()
        try:
            found = ray.cluster_resources()
            self.workers = settings.workers or int(found.get("GPU", 0)) or max(1, len(ray.nodes()))
            self._gpus = (1.0 if found.get("GPU") else 0.0) if settings.gpus is None else settings.gpus
            self._check(found)
        except BaseException:
            self.close()
            raise

    def worker(self, *arguments: object) -> Any:
        """A new worker process, somewhere on the cluster. Returns at once."""
        # What the driver imports from its own folders, a worker of this machine finds too: a plugin of one file, say.
        paths = os.pathsep.join(path for path in sys.path if path and Path(path).is_dir())
        options = {
            "num_cpus": self._settings.cpus,
            "num_gpus": self._gpus,
            "max_restarts": 0,
            "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
        }
        return self._ray.remote(Worker).options(**options).remote(*arguments)

    def end(self, worker: Any) -> None:
        """End a worker."""
        self._ray.kill(worker)

    @property
    def died(self) -> tuple[type[Exception], ...]:
        """Errors that Ray raises in place of a result when a worker has ended for any reason."""
        errors = self._ray.exceptions
        return (errors.RayActorError, errors.OutOfMemoryError, errors.NodeDiedError, errors.WorkerCrashedError)

    def close(self) -> None:
        """Leave the cluster; one that was started for this run ends."""
        if not self._joined:
            self._ray.shutdown()

    def _begin(self) -> None:
        address = self._settings.address or os.environ.get("RAY_ADDRESS")
        local = {} if address else {"include_dashboard": False, "num_cpus": self._cores()}
        begin: Callable[..., Any] = self._ray.init
        try:
            begin(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except Exception as error:
            raise ConfigError(f"executor ray: no cluster at '{address or 'local'}': {_first_line(error)}") from error

    def _cores(self) -> int:
        """Cores that a cluster of this machine offers: all, or as many as are asked for."""
        asked = (self._settings.workers or 1) * self._settings.cpus
        return max(os.cpu_count() or 1, round(asked + 0.5))

    def _check(self, found: dict[str, float]) -> None:
        """Check that the workers fit the cluster: Ray would wait for ever for resources that it lacks."""
        for kind, each in (("GPU", self._gpus), ("CPU", self._settings.cpus)):
            there = found.get(kind, 0.0)
            if each * self.workers > there:
                raise ConfigError(
                    f"executor ray: {self.workers} workers of {each:g} {kind} each, "
                    f"but the cluster has {there:g} {kind}"
                )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

"""Options of the executor."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen
class RaySettings:
    """Options of the cluster and its workers."""

    address: str | None = None
    """``auto``, ``HOST:PORT`` or ``ray://HOST:10001``; none: what ``RAY_ADDRESS`` says, else a cluster on this machine
    for this run."""
    workers: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    """Workers, each with a student of its own; none: one for each GPU, without a GPU one for each machine."""
    gpus: float | None = field(default=None, validator=validators.optional(validators.ge(0)))
    """GPUs of a worker; none: 1 if the cluster has any."""
    cpus: float = field(default=1.0, validator=validators.gt(0))
    """CPU cores of a worker; Ray gives its student as many threads."""
    wait: float = field(default=300.0, validator=validators.gt(0))
    """Seconds to wait for the first worker to get a place on a busy cluster, or one that has to grow."""

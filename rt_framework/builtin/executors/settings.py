"""Options of the executors."""

from __future__ import annotations

from attrs import field, frozen

from rt_framework.kit.bounds import within


@frozen
class ProcessesSettings:
    """Options of the executor ``processes``."""

    workers: int | None = field(default=None, validator=within(least=1))
    """Processes, each with a model of its own; none: one for each GPU that is visible."""

"""The stages of a run directory's last run, as its ledger keeps them for readers."""

from __future__ import annotations

from collections.abc import Mapping

import cattrs
from attrs import field, frozen

from rt_framework.ledger import Ledger
from rt_framework.model import Range


@frozen
class StageFacts:
    """One stage as it was run."""

    id: str
    """Identity of the stage, by which decisions and failures name it."""
    name: str
    """Place and label, for people."""
    label: str
    """Plugin and options, for people."""
    needs: tuple[str, ...] = ()
    """Metrics that the stage reads; a choice between versions is made by the first of them."""
    bounds: Mapping[str, Range] = field(factory=dict)
    """Ranges that the kept version's scores have to lie in, by metric."""


def stages_of(ledger: Ledger) -> dict[str, StageFacts]:
    """Return the stages of the last run by id, in the order of the pipeline; empty if no run has recorded them."""
    return {stage.id: stage for stage in cattrs.structure(ledger.meta("stages") or [], list[StageFacts])}


def label_of(stages: Mapping[str, StageFacts], stage: str) -> str:
    """Return the label of a stage, or its id if the run did not record it."""
    return stages[stage].label if stage in stages else stage

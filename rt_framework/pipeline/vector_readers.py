"""Stages over the data set that read a vector of each sample: what they need of the config and of the student."""

from __future__ import annotations

from collections.abc import Iterable

from rt_framework.config import Config
from rt_framework.errors import ConfigError, PluginError
from rt_framework.ledger import Ledger
from rt_framework.pipeline.sides import ScoringSide
from rt_framework.pipeline.steps import Step
from rt_framework.protocols import EmbeddingStudent
from rt_framework.scoring import Vectors


def check_vectors(step: Step, config: Config) -> None:
    """Check that a stage that reads vectors is one over the data set, and that there is a student.

    Raises:
        ConfigError: there is no student.
        PluginError: the stage takes samples one by one.
    """
    if step.embeds is None:
        return
    if not step.barrier:
        raise PluginError(f"stage '{step.name}' reads vectors ('embeds'), which only a stage over the data set can")
    if config.student is None:
        raise ConfigError(f"stage '{step.name}' reads vectors of the student, but the config has no 'student:'")


def vectors_of(
    steps: Iterable[Step], side: ScoringSide, ledger: Ledger, batch_tokens: int | None = None
) -> Vectors | None:
    """Return the vectors by the main student; ``None`` if no stage reads any.

    Args:
        steps: the stages.
        side: the students.
        ledger: where vectors are kept.
        batch_tokens: most tokens of a batch; ``None`` for the student's own limit.

    Raises:
        ConfigError: the student gives no vectors.
    """
    step = next((step for step in steps if step.embeds is not None), None)
    if step is None:
        return None
    main = side.main
    if not isinstance(main.student, EmbeddingStudent):
        raise ConfigError(
            f"stage '{step.name}' reads vectors of the student, but its plugin has no 'embed', as that of 'hf' has"
        )
    frame, counter = side.scoring.frame, main.losses.counter
    return Vectors(frame, main.student.fingerprint, main.executor, ledger, counter, batch_tokens)

"""The configuration that a user writes: YAML to frozen objects, named pipelines, shards of a job."""

from rt_framework.config.builder import Builder
from rt_framework.config.reading import read_config, spec_of
from rt_framework.config.schema import (
    MAIN,
    MAIN_TEACHER,
    Config,
    Data,
    Limits,
    NamedTeacher,
    Output,
    Pipeline,
    ScoringConfig,
    TurnRules,
)
from rt_framework.config.shards import Shard

__all__ = [
    "MAIN",
    "MAIN_TEACHER",
    "Builder",
    "Config",
    "Data",
    "Limits",
    "NamedTeacher",
    "Output",
    "Pipeline",
    "ScoringConfig",
    "Shard",
    "TurnRules",
    "read_config",
    "spec_of",
]

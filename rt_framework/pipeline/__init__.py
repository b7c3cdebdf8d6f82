"""The pipeline: the assembly of a job, its stages, and the engine that takes samples through them."""

from rt_framework.pipeline.context import Chains
from rt_framework.pipeline.engine import Engine
from rt_framework.pipeline.foresight import Foresight, Known
from rt_framework.pipeline.job import (
    PROBE,
    REQUEST_OF,
    Opened,
    check_parts,
    open_job,
    reflection_facts,
    stage_facts,
    steps_of,
)
from rt_framework.pipeline.possible import Highest, Option, Questions, Text, Texts, tokens, told_tokens
from rt_framework.pipeline.sides import (
    StudentSide,
    TeacherSide,
    goes_in_batches,
    remember_prices,
    student_side,
    teacher_facts,
    teacher_side,
)
from rt_framework.pipeline.steps import Step

__all__ = [
    "PROBE",
    "REQUEST_OF",
    "Chains",
    "Engine",
    "Foresight",
    "Highest",
    "Known",
    "Opened",
    "Option",
    "Questions",
    "Step",
    "StudentSide",
    "TeacherSide",
    "Text",
    "Texts",
    "check_parts",
    "goes_in_batches",
    "open_job",
    "reflection_facts",
    "remember_prices",
    "stage_facts",
    "steps_of",
    "student_side",
    "teacher_facts",
    "teacher_side",
    "tokens",
    "told_tokens",
]

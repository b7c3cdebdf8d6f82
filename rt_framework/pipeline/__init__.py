"""The pipeline: the assembly of a job, its stages, and the engine that takes samples through them."""

from rt_framework.pipeline.columns import Columns, check_columns, columns_of
from rt_framework.pipeline.context import Chains
from rt_framework.pipeline.engine import Engine
from rt_framework.pipeline.facts import PROBE, REQUEST_OF, reflection_facts, stage_facts
from rt_framework.pipeline.foresight import Foresight, Known
from rt_framework.pipeline.job import Opened, check_parts, metrics_of, open_job, provided_by, steps_of
from rt_framework.pipeline.possible import Highest, Option, Questions, Text, Texts, pricing, tokens, told_tokens
from rt_framework.pipeline.sides import (
    ScoringSide,
    StudentSide,
    TeacherSide,
    TeacherSides,
    goes_in_batches,
    scoring_side,
    student_facts,
    students_of,
    teacher_facts,
    teacher_sides,
    teachers_of,
)
from rt_framework.pipeline.steps import Asking, Step
from rt_framework.pipeline.vector_readers import vectors_of

__all__ = [
    "PROBE",
    "REQUEST_OF",
    "Asking",
    "Chains",
    "Columns",
    "Engine",
    "Foresight",
    "Highest",
    "Known",
    "Opened",
    "Option",
    "Questions",
    "ScoringSide",
    "Step",
    "StudentSide",
    "TeacherSide",
    "TeacherSides",
    "Text",
    "Texts",
    "check_columns",
    "check_parts",
    "columns_of",
    "goes_in_batches",
    "metrics_of",
    "open_job",
    "pricing",
    "provided_by",
    "reflection_facts",
    "scoring_side",
    "stage_facts",
    "steps_of",
    "student_facts",
    "students_of",
    "teacher_facts",
    "teacher_sides",
    "teachers_of",
    "tokens",
    "told_tokens",
    "vectors_of",
]

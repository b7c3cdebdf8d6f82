"""Protocols of the plugin kinds: the members that core calls. They are structural types, so a plugin inherits nothing.

A target registered with a settings class is called with one settings object, otherwise without arguments. A stage gets
a further argument, :class:`Make`, to build the plugins that it uses.
"""

from rt_framework.protocols.checks import CheckedPart, StoredPart
from rt_framework.protocols.formats import Format, PreparingFormat, StreamedFormat, TypedFormat, Write
from rt_framework.protocols.metrics import FittedMetric, Frame, Metric, MetricSpans, TextMetric
from rt_framework.protocols.reflections import (
    Providing,
    Question,
    QuestionInSteps,
    Reflection,
    SelectiveQuestion,
    is_asked,
)
from rt_framework.protocols.selectors import ColumnReader, DatasetSelector, Selector, VectorReader
from rt_framework.protocols.stages import (
    AskingStage,
    DatasetStage,
    DecidingStage,
    Make,
    Stage,
    StageContext,
    draw_names,
)
from rt_framework.protocols.students import (
    AsyncGeneratingStudent,
    AsyncStudent,
    EmbeddingStudent,
    Executor,
    GeneratingStudent,
    SelfDescribingStudent,
    Student,
    ThreadSafeStudent,
    TurnStudent,
    answers_served,
    is_served,
)
from rt_framework.protocols.teachers import (
    BatchApiTeacher,
    LocalTeacher,
    PricedTeacher,
    QuotaTeacher,
    ReasoningTeacher,
    RereadingTeacher,
    StudentTeacher,
    Teacher,
)
from rt_framework.protocols.templates import Template

__all__ = [
    "AskingStage",
    "AsyncGeneratingStudent",
    "AsyncStudent",
    "BatchApiTeacher",
    "CheckedPart",
    "ColumnReader",
    "DatasetSelector",
    "DatasetStage",
    "DecidingStage",
    "EmbeddingStudent",
    "Executor",
    "FittedMetric",
    "Format",
    "Frame",
    "GeneratingStudent",
    "LocalTeacher",
    "Make",
    "Metric",
    "MetricSpans",
    "PreparingFormat",
    "PricedTeacher",
    "Providing",
    "Question",
    "QuestionInSteps",
    "QuotaTeacher",
    "ReasoningTeacher",
    "Reflection",
    "RereadingTeacher",
    "SelectiveQuestion",
    "Selector",
    "SelfDescribingStudent",
    "Stage",
    "StageContext",
    "StoredPart",
    "StreamedFormat",
    "Student",
    "StudentTeacher",
    "Teacher",
    "Template",
    "TextMetric",
    "ThreadSafeStudent",
    "TurnStudent",
    "TypedFormat",
    "VectorReader",
    "Write",
    "answers_served",
    "draw_names",
    "is_asked",
    "is_served",
]

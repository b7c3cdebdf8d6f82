"""The contract of each kind of plugin, as a test class to subclass. See docs/how-to/test-a-plugin.md."""

from rt_framework.testing.contracts.base import Outcome, PluginContract, checks, run_checks
from rt_framework.testing.contracts.executor import ExecutorContract
from rt_framework.testing.contracts.format import FormatContract
from rt_framework.testing.contracts.metric import MetricContract
from rt_framework.testing.contracts.reflection import ReflectionContract
from rt_framework.testing.contracts.reporter import ReporterContract
from rt_framework.testing.contracts.selector import DatasetSelectorContract, SelectorContract
from rt_framework.testing.contracts.served_student import ServedStudentContract
from rt_framework.testing.contracts.stage import StageContract
from rt_framework.testing.contracts.student import StudentContract
from rt_framework.testing.contracts.teacher import TeacherContract
from rt_framework.testing.contracts.template import TemplateContract
from rt_framework.testing.contracts.text_metric import TextMetricContract

__all__ = [
    "DatasetSelectorContract",
    "ExecutorContract",
    "FormatContract",
    "MetricContract",
    "Outcome",
    "PluginContract",
    "ReflectionContract",
    "ReporterContract",
    "SelectorContract",
    "ServedStudentContract",
    "StageContract",
    "StudentContract",
    "TeacherContract",
    "TemplateContract",
    "TextMetricContract",
    "checks",
    "run_checks",
]

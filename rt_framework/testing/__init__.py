"""Fakes and checks for plugin authors' tests; nothing here is used by a run."""

from rt_framework.testing.fakes import FakeStudent, ScriptedTeacher
from rt_framework.testing.server import FaultServer

__all__ = ["FakeStudent", "FaultServer", "ScriptedTeacher"]

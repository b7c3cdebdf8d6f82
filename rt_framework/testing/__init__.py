"""Fakes and checks for the tests of plugin authors; a run uses nothing of this package."""

from rt_framework.testing.awkward import awkward_pairs, awkward_replies
from rt_framework.testing.fakes import FailingTeacher, FakeStudent, ScriptedTeacher, SlowTeacher, rewriting
from rt_framework.testing.loss_server import LossFault, LossServer
from rt_framework.testing.server import Fault, FaultServer

__all__ = [
    "FailingTeacher",
    "FakeStudent",
    "Fault",
    "FaultServer",
    "LossFault",
    "LossServer",
    "ScriptedTeacher",
    "SlowTeacher",
    "awkward_pairs",
    "awkward_replies",
    "rewriting",
]

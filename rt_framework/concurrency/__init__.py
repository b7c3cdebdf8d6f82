"""Tools that the coroutines of a run share: gathering into batches, the stop signal, signals of the system."""

from rt_framework.concurrency.batcher import Batcher
from rt_framework.concurrency.signals import OwnThread, completed, ctrl_c, interruptible
from rt_framework.concurrency.stop import StopSignal

__all__ = ["Batcher", "OwnThread", "StopSignal", "completed", "ctrl_c", "interruptible"]

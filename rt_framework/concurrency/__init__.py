"""Tools that the coroutines of a run share: gathering into batches, the rate limit, the stop signal, signals."""

from rt_framework.concurrency.batcher import Batcher
from rt_framework.concurrency.quota import TokenEstimate
from rt_framework.concurrency.rate_limit import AdaptiveLimiter, Sent, backoff
from rt_framework.concurrency.signals import OwnThread, completed, ctrl_c, interruptible
from rt_framework.concurrency.stop import StopSignal

__all__ = [
    "AdaptiveLimiter",
    "Batcher",
    "OwnThread",
    "Sent",
    "StopSignal",
    "TokenEstimate",
    "backoff",
    "completed",
    "ctrl_c",
    "interruptible",
]

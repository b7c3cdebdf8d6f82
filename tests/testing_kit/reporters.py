"""A good reporter and broken ones."""

from __future__ import annotations

import time

from rt_framework import hookimpl
from rt_framework.testing.contracts import ReporterContract
from tests.testing_kit.making import good, mutant


@good(ReporterContract)
class Counting:
    def __init__(self):
        self.failures = 0

    @hookimpl
    def rt_sample_failed(self, event):
        self.failures += 1

    def close(self):
        self.failures = 0


@mutant(ReporterContract, "test_its_hooks_are_known")
class Misspelt(Counting):
    @hookimpl
    def rt_sample_faild(self, event): ...


@mutant(ReporterContract, "test_every_event_is_taken")
class Plain(Counting):
    @hookimpl
    def rt_sample_failed(self, event):
        event.reason.encode("ascii")


@mutant(ReporterContract, "test_it_returns_quickly")
class Slow(Counting):
    @hookimpl
    def rt_run_finished(self, event):
        time.sleep(1.2)


@mutant(ReporterContract, "test_it_can_be_closed")
class Unclosed(Counting):
    def close(self):
        raise OSError("nothing is open")

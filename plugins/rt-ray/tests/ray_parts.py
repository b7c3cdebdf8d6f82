"""Students and work that the tests send to workers, which import them from this module."""

from __future__ import annotations

import os
import time

from rt_framework import OutOfMemory, hookimpl
from rt_framework.testing import FakeStudent


class SlowStudent(FakeStudent):
    """Takes a moment for each batch, so that a kill meets work under way."""

    fingerprint = "slow"

    def score(self, batch):
        time.sleep(0.02)
        return super().score(batch)


class OtherStudent(FakeStudent):
    """Not the same on two machines."""

    @property
    def fingerprint(self):
        return f"process {os.getpid()}"


class Odd(Exception):
    """An exception that does not survive being sent."""

    def __init__(self, one, two):
        super().__init__("odd")


def fingerprint(student):
    return student.fingerprint


def pid(student):
    time.sleep(0.3)
    return os.getpid()


def too_large(student):
    raise OutOfMemory("2 sequences")


def odd(student):
    raise Odd(1, 2)


def die(student):
    os.kill(os.getpid(), 9)


@hookimpl
def rt_register_students(register):
    register("slow", "ray_parts:SlowStudent", help="for tests")

"""A plugin that loads numpy whether or not anybody uses it."""

from __future__ import annotations

import numpy as np

from rt_framework import hookimpl

assert np


@hookimpl
def rt_register_metrics(register):
    register("sound", "tests.testing_kit.metrics:Gain", help="a plugin")

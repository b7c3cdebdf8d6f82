"""Plugins: discovery that says which plugin failed, names of lazily imported targets, options."""

from rt_framework.plugin.host import Host
from rt_framework.plugin.options import Option, key_of
from rt_framework.plugin.origin import origin_of
from rt_framework.plugin.pluggy_hooks import with_defaults
from rt_framework.plugin.registry import Entry, named
from rt_framework.plugin.reporters import Reporters, close_reporters
from rt_framework.plugin.structuring import field_names, structure

__all__ = [
    "Entry",
    "Host",
    "Option",
    "Reporters",
    "close_reporters",
    "field_names",
    "key_of",
    "named",
    "origin_of",
    "structure",
    "with_defaults",
]

"""Imports what a run with the litellm teacher imports at its first use: loaded by the process that forks."""

from rt_framework.builtin.teachers.litellm import _litellm

_litellm()

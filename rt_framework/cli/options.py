"""Public names for packages that bring commands of their own: the options, arguments and helpers of the built-in ones.

A command is a Click command in the entry-point group ``rt_framework.commands``. Click passes it the host of the
plugins with ``@click.pass_obj``. What it returns is its exit code, ``None`` for 0; an error that the user can correct
is a :class:`rt_framework.RtError`, which has an exit code of its own, or an exception of Click, which has 2.

The work is done by the functions in :mod:`rt_framework.jobs`. Text from data or plugins goes through
:func:`rt_framework.text.shown` before it is printed.
"""

from rt_framework.cli.data_options import (
    column_option,
    data_options,
    limit_option,
    overwrite_option,
    pairs,
    reading_options,
)
from rt_framework.cli.json_option import json_option, print_json
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Number, Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.reporter_options import reporter_option, watching
from rt_framework.cli.run_options import job_options, moved_option
from rt_framework.cli.run_request import RunRequest
from rt_framework.config import Builder, Config, Data, Limits, Output, Pipeline, ScoringConfig
from rt_framework.data import Destination, Source, beside, claim, open_source, paths_in, rows_source, whole
from rt_framework.plugin import Host

__all__ = [
    "Builder",
    "ChoosingCommand",
    "Config",
    "Data",
    "Destination",
    "Host",
    "Limits",
    "Number",
    "Output",
    "Pipeline",
    "RunRequest",
    "ScoringConfig",
    "Source",
    "Whole",
    "beside",
    "chosen",
    "claim",
    "column_option",
    "data_options",
    "job_options",
    "json_option",
    "limit_option",
    "moved_option",
    "name_option",
    "open_source",
    "overwrite_option",
    "pairs",
    "parts",
    "paths_in",
    "print_json",
    "reading_options",
    "reporter_option",
    "rows_source",
    "watching",
    "whole",
]

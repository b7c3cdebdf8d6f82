"""Conversion of data sets to samples and back: formats, shapes, ids, and the checks of everything that is written."""

from rt_framework.data.destinations import Destination, beside, check, claim, paths_in
from rt_framework.data.marks import MARK, note
from rt_framework.data.memory import IN_MEMORY, rows_source
from rt_framework.data.opening import guess_columns, open_source, output_format
from rt_framework.data.replacing import whole
from rt_framework.data.rows import HashSet64, blamed, kind_of, rows_of
from rt_framework.data.shapes import CONVERSATIONS, SHAPES, column_names, find_shape, has_marks
from rt_framework.data.source import Source
from rt_framework.data.spool import Spool, check_spoolable
from rt_framework.data.tables import to_dataset, to_pandas
from rt_framework.data.unread import REASON, Faults, Tally, Unread, readable
from rt_framework.data.values import RawRow

__all__ = [
    "CONVERSATIONS",
    "IN_MEMORY",
    "MARK",
    "REASON",
    "SHAPES",
    "Destination",
    "Faults",
    "HashSet64",
    "RawRow",
    "Source",
    "Spool",
    "Tally",
    "Unread",
    "beside",
    "blamed",
    "check",
    "check_spoolable",
    "claim",
    "column_names",
    "find_shape",
    "guess_columns",
    "has_marks",
    "kind_of",
    "note",
    "open_source",
    "output_format",
    "paths_in",
    "readable",
    "rows_of",
    "rows_source",
    "to_dataset",
    "to_pandas",
    "whole",
]

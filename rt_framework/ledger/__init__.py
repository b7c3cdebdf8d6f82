"""The ledger of a run directory: every answer and loss that was paid for, and all SQL of the framework."""

from rt_framework.ledger.batches import LONGEST_BATCH, BatchTable, OpenBatch, OpenQuestion
from rt_framework.ledger.calls import Call
from rt_framework.ledger.costs import Bill, Cost
from rt_framework.ledger.damage import Told, check_ledger
from rt_framework.ledger.ledger import Ledger
from rt_framework.ledger.listing import Listed, Listing, Wanted
from rt_framework.ledger.losses import SpanVector
from rt_framework.ledger.merge import join_ledgers
from rt_framework.ledger.salvage import Salvaged, salvage_ledger
from rt_framework.ledger.samples import KEPT, WAITING, SampleHistory, is_row
from rt_framework.ledger.schema import is_foreign, is_older
from rt_framework.ledger.seal import HeldFiles

__all__ = [
    "KEPT",
    "LONGEST_BATCH",
    "WAITING",
    "BatchTable",
    "Bill",
    "Call",
    "Cost",
    "HeldFiles",
    "Ledger",
    "Listed",
    "Listing",
    "OpenBatch",
    "OpenQuestion",
    "Salvaged",
    "SampleHistory",
    "SpanVector",
    "Told",
    "Wanted",
    "check_ledger",
    "is_foreign",
    "is_older",
    "is_row",
    "join_ledgers",
    "salvage_ledger",
]

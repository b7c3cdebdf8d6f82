"""The ledger of a run directory: every answer and loss that was paid for, and all SQL of the framework."""

from rt_framework.ledger import queries
from rt_framework.ledger.batches import LONGEST_BATCH, BatchTable, OpenBatch, OpenQuestion
from rt_framework.ledger.damage import Told, check_ledger, damaged, fault, is_corrupt, reading
from rt_framework.ledger.ledger import Call, Ledger, Story, is_row
from rt_framework.ledger.merge import join_ledgers
from rt_framework.ledger.queries import KEPT, WAITING, Bill, bills, ending, original_scores, waiting
from rt_framework.ledger.salvage import Salvaged, salvage_ledger
from rt_framework.ledger.schema import is_foreign, prepare
from rt_framework.ledger.seal import HeldFiles, beside

__all__ = [
    "KEPT",
    "LONGEST_BATCH",
    "WAITING",
    "BatchTable",
    "Bill",
    "Call",
    "HeldFiles",
    "Ledger",
    "OpenBatch",
    "OpenQuestion",
    "Salvaged",
    "Story",
    "Told",
    "beside",
    "bills",
    "check_ledger",
    "damaged",
    "ending",
    "fault",
    "is_corrupt",
    "is_foreign",
    "is_row",
    "join_ledgers",
    "original_scores",
    "prepare",
    "queries",
    "reading",
    "salvage_ledger",
    "waiting",
]

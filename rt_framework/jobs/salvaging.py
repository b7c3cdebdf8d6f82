"""Salvage of a damaged run directory: all that can still be read of its ledger goes into a new directory."""

from __future__ import annotations

from pathlib import Path

from rt_framework.data import MARK, Destination, claim
from rt_framework.errors import DataError, LockedError
from rt_framework.ledger import Salvaged, salvage_ledger
from rt_framework.rundir import LEDGER, LOCK, OWNER, alone, owner, read_reviews, write_reviews
from rt_framework.text import shown


def salvage(run_dir: Path, out: Path) -> Salvaged:
    """Copy all that is readable of the ledger of *run_dir* to a new run directory *out*; *run_dir* is left unchanged.

    The reviews of people are copied too.

    The account of the samples is left out: the next run makes it anew.

    Raises:
        DataError: *run_dir* has no ledger, or reviews that cannot be read; or *out* is not empty.
        ConfigError: *out* is a place that must not be written.
        LockedError: a run is at work in *run_dir*.
        DiskError: nothing can be read, or *out* cannot be written.
    """
    if not (run_dir / LEDGER).is_file():
        raise DataError(f"{run_dir}: no ledger here; is this a run directory?")
    who = owner(run_dir)
    if who is not None:
        raise LockedError(f"{run_dir}: in use by {who}; wait until it ends")
    claim([Destination(out, "OUT", "run")], inputs=[run_dir])
    _check_empty(out)
    with alone(out):
        _check_empty(out)
        reviews = read_reviews(run_dir)
        if reviews:
            write_reviews(out, reviews)
        return salvage_ledger(run_dir / LEDGER, out / LEDGER)


def _check_empty(out: Path) -> None:
    """Check that *out* does not exist or holds only the files that mark it as a run directory.

    Raises:
        DataError: *out* holds something else.
    """
    there = {path.name for path in out.iterdir()} - {LOCK, OWNER, MARK} if out.is_dir() else set()
    if there:
        raise DataError(f"{out}: holds {shown(min(there))} already; give a new directory")

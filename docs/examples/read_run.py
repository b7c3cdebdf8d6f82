"""Scores of the samples that a finished run kept, and what it cost: python read_run.py RUN_DIR."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rt_framework import open_run


def lines(run_dir: Path) -> Iterator[str]:
    """Yield a line for each sample that was kept, and one for the cost."""
    with open_run(run_dir) as run:
        for history in run:
            if history.is_kept:
                scores = history.sample.scores.get(history.sample.kept, {})
                told = ", ".join(f"{metric} {score.value}" for metric, score in sorted(scores.items()))
                yield f"row {history.sample.row}: {history.outcome}, {told}"
        yield f"{run.cost.dollars:.2f} dollars, {sum(bill.calls for bill in run.cost.bills)} calls"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines(Path(sys.argv[1])))

"""Peak memory and seconds of each selector, each in a process of its own, over random vectors in clusters.

python benchmarks/size.py [ROWS [SHARE]]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rt_diversity.selectors import ClusterStratified, FacilityLocation, KCenter
from rt_diversity.settings import ClusterSettings, FacilitySettings, KCenterSettings
from rt_framework import Pair, Score, Scored, Version
from rt_framework.kit.compact import LazySequence
from rt_framework.protocols import DatasetSelector

WIDTH, CLUSTERS = 384, 200
CENTERS = np.random.default_rng(0).standard_normal((CLUSTERS, WIDTH), np.float32)


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """A unit vector near one of the centers for each text, which is a number. Costs next to nothing."""
    draw = np.random.default_rng(int(texts[0]))
    found = CENTERS[[int(text) % CLUSTERS for text in texts]]
    found += draw.standard_normal(found.shape, np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def row(at: int) -> Scored:
    """A row with a score and a text of its own."""
    return Scored(f"{at:07}", at, Version("original", Pair(str(at))), {"ifd": Score((at * 7919 % 10_007) / 10_007)})


def selectors(share: float) -> dict[str, DatasetSelector]:
    """Each with all rows as candidates, which costs most, and facility location as published too."""
    model = "size:encode"
    first = max(0.2, share)
    return {
        f"facility-location, first {first:g}": FacilityLocation(
            FacilitySettings(first=first, fraction=share, model=model)
        ),
        "facility-location, first 1": FacilityLocation(FacilitySettings(first=1, fraction=share, model=model)),
        "k-center": KCenter(KCenterSettings(fraction=share, model=model)),
        "cluster-stratified": ClusterStratified(ClusterSettings(fraction=share, model=model)),
    }


def measure(name: str, total: int, share: float) -> str:
    """Select once; a line of the table."""
    import scipy.sparse  # noqa: F401 - not counted
    import sklearn.cluster
    import sklearn.neighbors  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows, start = LazySequence(total, row), time.perf_counter()
    kept = sum(verdict.keep for verdict in selectors(share)[name].select(rows))
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {name} | {kept:,} of {total:,} | {peak:,.0f} | {before:,.0f} | {seconds:.1f} |"


def main(total: int = 20_000, share: float = 0.05) -> None:
    """Print a table."""
    print("| selector | selected | peak MiB | of these before | seconds |\n|---|---|---|---|---|", flush=True)
    for name in selectors(share):
        subprocess.run([sys.executable, __file__, str(total), str(share), name], check=True)  # noqa: S603 - itself


if __name__ == "__main__":
    asked = (int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else tuple(map(int, sys.argv[1:2]))
    if len(sys.argv) > 3:
        sys.stdout.write(measure(sys.argv[3], *asked) + "\n")
    else:
        main(*asked)

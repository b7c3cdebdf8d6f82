"""Many sequences as one row of tokens: what they share at the start stands there once, nothing is padded.

The sequences are sorted. Each adds to the row the tokens that it does not share with the one before it;
no earlier one shares more. The nodes of the row form a tree, and the *path* of a sequence says where in
the row its tokens lie: a token attends to the nodes of its path up to itself, and to no other.
Pure; for students that can replace the attention of their model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from rt_framework.spans import EncodedSpan, shared

Nodes = NDArray[np.int64]


@frozen(eq=False)
class Path:
    """Where in the row the tokens of one sequence lie."""

    nodes: Nodes
    """Node of each token that is fed, [tokens − 1]: the last token predicts nothing and is not fed."""
    own: int
    """How many nodes at the end are its own: ``nodes[-own:]`` follow each other in the row."""


@frozen(eq=False)
class PrefixRow:
    """A packed batch."""

    ids: Nodes
    """Token of each node, [nodes]."""
    positions: Nodes
    """Position of each node in its sequences, from 0, [nodes]."""
    paths: tuple[Path, ...]
    """Per sequence, in sorted order: its own nodes follow those of the path before."""
    order: tuple[int, ...]
    """Per path: the position of its sequence in the batch."""

    @classmethod
    def of(cls, batch: Sequence[EncodedSpan]) -> PrefixRow:
        """Lay a batch out; batches of a plan are in the best order already."""
        order = sorted(range(len(batch)), key=lambda at: batch[at].ids)
        ids: list[int] = []
        starts: list[int] = []
        paths: list[Path] = []
        for place, at in enumerate(order):
            common = shared(batch[order[place - 1]], batch[at]) if place else 0
            fresh = batch[at].ids[common:-1]
            nodes = np.arange(len(ids), len(ids) + len(fresh))
            if common:
                nodes = np.concatenate([paths[-1].nodes[:common], nodes])
            paths.append(Path(nodes, len(fresh)))
            starts.append(common)
            ids += fresh
        positions = [np.arange(start, start + path.own) for start, path in zip(starts, paths, strict=True)]
        return cls(np.array(ids, dtype=np.int64), np.concatenate(positions), tuple(paths), tuple(order))

    def predicting(self, batch: Sequence[EncodedSpan]) -> tuple[Nodes, Nodes, list[int]]:
        """The nodes that predict targets and the tokens they predict, [targets] each; and targets a sequence.

        All three go through *batch* in its own order.
        """
        by_place = dict(zip(self.order, self.paths, strict=True))
        nodes = [by_place[at].nodes[span.start - 1 :] for at, span in enumerate(batch)]
        wanted = [token for span in batch for token in span.ids[span.start :]]
        return np.concatenate(nodes), np.array(wanted, dtype=np.int64), [len(one) for one in nodes]

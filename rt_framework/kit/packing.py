"""Packed rows: many sequences as one row of tokens, with shared prefixes stored once and without padding.

The sequences are sorted. Each adds to the row the tokens that it does not share with the sequence before it, which is
the one that it shares most with among all earlier ones. Each token of the row is a node of a prefix tree, and the
*path* of a sequence lists the nodes of its tokens: a token attends to the nodes of its path up to itself, and to no
other node. Pure functions of the batch, for students that can replace the attention of their model.
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
    """The positions in the row of the tokens of one sequence."""

    nodes: Nodes
    """Node of each token that is fed, [tokens − 1]: the last token predicts nothing and is not fed."""
    own: int
    """Number of nodes at the end that the sequence added: ``nodes[-own:]`` are consecutive in the row."""


@frozen(eq=False)
class PrefixRow:
    """A batch packed into one row."""

    ids: Nodes
    """Token of each node, [nodes]."""
    positions: Nodes
    """Position of each node in its sequences, from 0, [nodes]."""
    paths: tuple[Path, ...]
    """Path of each sequence, in sorted order: the own nodes of a path follow those of the path before it."""
    order: tuple[int, ...]
    """Position in the batch of the sequence of each path."""

    @classmethod
    def of(cls, batch: Sequence[EncodedSpan]) -> PrefixRow:
        """Pack a batch. It may be in any order; the batches of a plan are in sorted order already."""
        order = sorted(range(len(batch)), key=lambda position: batch[position].ids)
        ids: list[int] = []
        starts: list[int] = []
        paths: list[Path] = []
        for place, position in enumerate(order):
            common = shared(batch[order[place - 1]], batch[position]) if place else 0
            fresh = batch[position].ids[common:-1]
            nodes = np.arange(len(ids), len(ids) + len(fresh))
            if common:
                nodes = np.concatenate([paths[-1].nodes[:common], nodes])
            paths.append(Path(nodes, len(fresh)))
            starts.append(common)
            ids += fresh
        positions = [np.arange(start, start + path.own) for start, path in zip(starts, paths, strict=True)]
        return cls(np.array(ids, dtype=np.int64), np.concatenate(positions), tuple(paths), tuple(order))

    def predicting(self, batch: Sequence[EncodedSpan]) -> tuple[Nodes, Nodes, list[int]]:
        """Return the nodes that predict targets, the predicted tokens, [targets] each, and the targets per sequence.

        All three follow the order of *batch*.
        """
        by_place = dict(zip(self.order, self.paths, strict=True))
        nodes = [
            by_place[position].nodes[start - 1 : end - 1]
            for position, span in enumerate(batch)
            for start, end in span.ranges
        ]
        wanted = [token for span in batch for start, end in span.ranges for token in span.ids[start:end]]
        return np.concatenate(nodes), np.array(wanted, dtype=np.int64), [len(span.positions) for span in batch]


def target_positions(span: EncodedSpan) -> Nodes:
    """Return the positions in ``span.ids`` of the target tokens, in order; the token before each predicts it."""
    return np.concatenate([np.arange(start, end) for start, end in span.ranges])

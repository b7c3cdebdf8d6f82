"""The selectors: which rows are looked at, what is computed on their vectors, and the reason for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from rt_diversity.centers import distance, k_center
from rt_diversity.clusters import k_means
from rt_diversity.embeddings import Embedded, embedded, seen, spans_of
from rt_diversity.facility import Picks, columns, greedy
from rt_diversity.fixed import ONE
from rt_diversity.ranking import Ranked, by_id, check_least, check_share, check_size, ranked, size
from rt_diversity.settings import ClusterSettings, FacilitySettings, KCenterSettings
from rt_framework import Pair, Scored, Span, Verdict
from rt_framework.errors import ConfigError
from rt_framework.kit.compact import LazySequence
from rt_framework.protocols import Frame

_BLANK = Verdict(False, "the student gives no vector of it")


@frozen
class _ByVectors:
    """The common part of the selectors: with ``embedder: student`` they ask the student for vectors."""

    settings: FacilitySettings | KCenterSettings | ClusterSettings

    @property
    def embeds(self) -> Callable[[Pair, Frame], Sequence[Span]] | None:
        """The spans whose vector by the student is read; ``None`` for another encoder."""
        return spans_of(self.settings)


@frozen
class Picked:
    """The selected vectors, and the rows that each of them stands for."""

    rows: Sequence[Scored]
    places: Sequence[int]
    """The rows that could be picked, by id."""
    vector: dict[int, int]
    """The vector of each of these."""
    picks: Picks
    chosen: Sequence[int]
    """The rows that were picked, in the order of the picks."""
    turns: dict[int, int]
    """From 1, when each of these was picked."""

    @classmethod
    def of(cls, rows: Sequence[Scored], places: Sequence[int], embedded: Embedded, picks: Picks, count: int) -> Picked:
        """The picks, and after them, where nothing is left to gain, other rows by id."""
        chosen = [places[embedded.firsts[at]] for at in picks.order]
        taken = set(chosen)
        chosen += [place for place in places if place not in taken][: count - len(chosen)]
        vector = dict(zip(places, embedded.of.tolist(), strict=True))
        return cls(rows, places, vector, picks, chosen, {place: turn for turn, place in enumerate(chosen, 1)})

    def gain(self, turn: int) -> float | None:
        """Return the increase by the pick of a turn; ``None`` where nothing was left to pick."""
        return self.picks.gains[turn - 1] if turn <= len(self.picks.gains) else None

    def like(self, place: int) -> tuple[str, int] | None:
        """The id of the picked sample that a row is most like, and the fixed-point similarity."""
        at = self.vector[place]
        turn = int(self.picks.like[at])
        if turn < 0:
            return None
        return self.rows[self.chosen[turn]].sample_id, int(self.picks.similarity[at])


@frozen
class FacilityLocation(_ByVectors):
    """Superfiltering.D (arXiv 2402.00530): the best share by a metric, and of these the few that stand for all of them.

    Raises:
        ConfigError: not exactly one of fraction and count, a number outside its range, or a fraction above ``first``.
    """

    settings: FacilitySettings

    def __attrs_post_init__(self) -> None:
        own = self.settings
        check_size("count", own.fraction, own.count)
        check_share("first", own.first)
        check_least("batch_size", own.batch_size)
        check_least("neighbours", own.neighbours)
        if own.fraction is not None and own.fraction > own.first:
            raise ConfigError(f"fraction {own.fraction:g} is above first {own.first:g}, the share to select from")

    @property
    def needs(self) -> tuple[str, ...]:
        """The metric that decides who is a candidate."""
        return (self.settings.metric,)

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Embed the candidates and pick among them."""
        own = self.settings
        order = ranked(rows, own.metric, own.order)
        places, blank = seen(rows, by_id(rows, order.places[: size(own.first, None, len(order.places))]), own)
        count = min(size(own.fraction, own.count, len(order.places)), len(places))
        vectors = embedded(rows, places, own)
        picks = greedy(columns(vectors.vectors, own.neighbours), vectors.weights, count)
        picked = Picked.of(rows, places, vectors, picks, count)
        return LazySequence(len(rows), lambda at: _BLANK if at in blank else _facility(picked, order, at))


def _facility(picked: Picked, order: Ranked, at: int) -> Verdict:
    """The word on one row."""
    rank, total = order.reason(picked.rows[at], at), len(picked.turns)
    if at not in picked.vector:
        first = f"; the first {len(picked.places)} are candidates" if order.ranks[at] else ""
        return Verdict(False, f"{rank}{first}")
    turn = picked.turns.get(at)
    if turn is None:
        like = picked.like(at)
        told = (
            f"similarity {like[1] / ONE:.3f} to {like[0]}, which is selected"
            if like
            else "similar to no selected sample"
        )
        return Verdict(False, f"{told}; {rank}")
    gain = picked.gain(turn)
    told = (
        "chosen by id, because no candidate adds similarity"
        if gain is None
        else f"raises the total similarity to the selection by {gain:.3f}"
    )
    return Verdict(True, f"selection {turn} of {total} among {len(picked.places)}, {told}; {rank}")


@frozen
class KCenter(_ByVectors):
    """Greedy k-center, the core-set of arXiv 1708.00489: each pick is the sample farthest from the picks before it.

    Raises:
        ConfigError: not exactly one of fraction and count, or one outside its range.
    """

    settings: KCenterSettings

    def __attrs_post_init__(self) -> None:
        check_size("count", self.settings.fraction, self.settings.count)
        check_least("batch_size", self.settings.batch_size)

    @property
    def needs(self) -> tuple[str, ...]:
        """No metric."""
        return ()

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Embed all rows and pick among them."""
        own = self.settings
        places, blank = seen(rows, by_id(rows, range(len(rows))), own)
        count = min(size(own.fraction, own.count, len(rows)), len(places))
        vectors = embedded(rows, places, own)
        picks = k_center(vectors.vectors, vectors.weights, count)
        picked = Picked.of(rows, places, vectors, picks, count)
        return LazySequence(len(rows), lambda at: _BLANK if at in blank else _center(picked, at))


def _center(picked: Picked, at: int) -> Verdict:
    """The word on one row."""
    turn = picked.turns.get(at)
    if turn is None:
        like = picked.like(at)
        told = f"distance {distance(like[1]):.3f} from center {like[0]}" if like else "no center"
        return Verdict(False, told)
    gain = picked.gain(turn)
    where = (
        "the nearest to the mean of all samples"
        if turn == 1
        else f"distance {gain:.3f} from the earlier centers"
        if gain
        else ""
    )
    return Verdict(
        True, f"center {turn} of {len(picked.turns)}, {where or 'chosen by id, because every text has a center'}"
    )


@frozen
class ClusterStratified(_ByVectors):
    """The best by a metric of each k-means cluster, so that no kind of sample is left out.

    Raises:
        ConfigError: not exactly one of fraction and each, one outside its range, or no cluster.
    """

    settings: ClusterSettings

    def __attrs_post_init__(self) -> None:
        check_size("each", self.settings.fraction, self.settings.each)
        check_least("clusters", self.settings.clusters)
        check_least("batch_size", self.settings.batch_size)

    @property
    def needs(self) -> tuple[str, ...]:
        """The metric that ranks within a cluster."""
        return (self.settings.metric,)

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Cluster the samples that have a valid score, and take the best of each cluster."""
        own = self.settings
        order = ranked(rows, own.metric, own.order)
        places, blank = seen(rows, by_id(rows, order.places), own)
        vectors = embedded(rows, places, own)
        found = k_means(vectors.vectors, vectors.weights, own.clusters, own.seed)[vectors.of]
        strata = _Strata.of(order, dict(zip(places, found.tolist(), strict=True)))
        return LazySequence(len(rows), lambda at: _BLANK if at in blank else self._verdict(rows[at], at, order, strata))

    def _verdict(self, row: Scored, at: int, order: Ranked, strata: _Strata) -> Verdict:
        told = order.reason(row, at)
        if at not in strata.cluster:
            return Verdict(False, told)
        cluster, rank = strata.cluster[at], strata.rank[at]
        members = strata.sizes[cluster]
        wanted = size(self.settings.fraction, self.settings.each, members)
        where = f"rank {rank} of {members} in cluster {cluster + 1} of {len(strata.sizes)}"
        rest = "" if rank <= wanted else f", of which the first {wanted} are selected"
        return Verdict(rank <= wanted, f"{where}{rest}; {told}")


@frozen
class _Strata:
    """Ranks of rows within their clusters."""

    cluster: dict[int, int]
    """The cluster of each row that has one, from 0."""
    rank: dict[int, int]
    """Its rank there, from 1."""
    sizes: Sequence[int]
    """Rows of each cluster."""

    @classmethod
    def of(cls, order: Ranked, cluster: dict[int, int]) -> _Strata:
        """Rank the rows of each cluster, the best of all first."""
        sizes, rank = [0] * (max(cluster.values(), default=-1) + 1), {}
        for place in order.places:
            if place in cluster:
                sizes[cluster[place]] += 1
                rank[place] = sizes[cluster[place]]
        return cls(cluster, rank, sizes)

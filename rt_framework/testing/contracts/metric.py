"""The contract of metrics."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

from rt_framework.errors import PluginError
from rt_framework.model import Pair, Range, Turn
from rt_framework.protocols import FittedMetric
from rt_framework.spans import Loss, Span, SpanLoss, total
from rt_framework.testing.awkward import awkward_pairs
from rt_framework.testing.chain import frame, measure
from rt_framework.testing.contracts.base import PluginContract, outcome

_PAIR = Pair("Name things that float.", "In one line.", "A cork, a leaf and a boat.")
_TALK = Pair("And two?", "", "Four.", None, (Turn("user", "Twice one?"), Turn("assistant", "Two.")))
_ALLOWED = (OverflowError, ZeroDivisionError)
_EVERY = ((0.0, 1), (1e-6, 1), (1.0, 7), (3.0, 512), (20.0, 1))
"""Nats per token and number of tokens, used alike for all losses of a metric."""


class MetricContract(PluginContract):
    """Contract of a metric: pure arithmetic on losses. For a fitted metric it holds for the result of ``fit`` too."""

    kind = "metrics"

    def metric(self) -> Any:
        """Return the object with ``reduce``: the metric itself, or the metric fitted to a grid of losses."""
        metric = self.make()
        if not isinstance(metric, FittedMetric):
            return metric
        try:
            return metric.fit(iter(grid(self.asked(metric))))
        except Exception as error:
            raise SkipTest(f"it cannot be fitted: {error}") from None

    def asked(self, metric: Any, pair: Pair = _PAIR) -> dict[str, Sequence[Span]]:
        """Return the spans that the metric declares for a plain pair."""
        try:
            return dict(metric.spans(pair, frame()))
        except Exception as error:
            raise SkipTest(f"spans raises for a plain pair: {error}") from None

    def test_direction_is_known(self) -> None:
        """``direction`` is ``higher``, ``lower`` or ``none``."""
        direction = self.make().direction
        assert direction in ("higher", "lower", "none"), (
            f"expected direction higher, lower or none, found {direction!r}"
        )

    def test_valid_is_a_range_with_values_in_it(self) -> None:
        """``valid`` is a ``Range`` that contains at least one number."""
        valid = self.make().valid
        assert isinstance(valid, Range), f"expected valid to be a Range, found {valid!r}; Range() lets every value pass"
        assert not _empty(valid), f"no value lies in the range {valid}; correct its bounds"

    def test_some_values_are_valid(self) -> None:
        """On a grid of losses some values are in range; a metric without valid values would never decide anything."""
        metric, valid = self.metric(), self.make().valid
        if not isinstance(valid, Range) or _empty(valid):
            raise SkipTest("valid holds no number")
        results = [outcome(_value, metric, losses) for losses in grid(self.asked(metric))]
        values = [value for value in results if isinstance(value, float) and math.isfinite(value)]
        assert not values or any(value in valid for value in values), (
            f"values go from {min(values)} to {max(values)} and none lies in {valid}; correct valid, or the sign"
        )

    def test_spans_are_pure(self) -> None:
        """The same pair gives the same spans when asked again and in another order."""
        pairs = [_PAIR, *awkward_pairs()]
        metric = self.make()
        first = [outcome(_spans, metric, pair) for pair in pairs]
        again = [outcome(_spans, metric, pair) for pair in reversed(pairs)]
        for pair, before, after in zip(pairs, first, reversed(again), strict=True):
            assert before == after, (
                f"spans of {pair!r:.200} differ when asked again; use nothing but the pair and the frame"
            )

    def test_awkward_pairs_are_scored_or_have_a_reason(self, tmp_path: Path) -> None:
        """No pair makes the metric raise: each has a value, or a status and a reason."""
        try:
            measure(tmp_path, [_PAIR, _TALK, *awkward_pairs()], {self.name: self.make()})
        except PluginError as error:
            raise AssertionError(
                f"{error}; awkward_pairs() holds the pair: raise Unscorable(status, reason) where there is no value"
            ) from error

    def test_a_pair_without_losses_has_no_value(self, tmp_path: Path) -> None:
        """A pair without losses has no value, neither 0 nor any other number."""
        metric = self.make()
        self.asked(metric)
        try:
            empty, _ = measure(tmp_path, [Pair("", "", ""), _PAIR], {self.name: metric})
        except PluginError as error:
            raise SkipTest(str(error)) from None
        value = empty.scores[self.name].value
        assert value is None, (
            f"a pair without any text has the value {value}; declare the same spans for every pair, "
            "and leave it to the framework to see that a loss is missing"
        )

    def test_a_missing_loss_is_never_a_number(self) -> None:
        """If ``reduce`` were given a loss without a number, it would return no finite value."""
        metric = self.metric()
        declared = self.asked(metric)
        read = self._read(metric, declared)
        for missing in (
            name for name in declared if name in read and not any(span.count_only for span in declared[name])
        ):
            losses = {**grid(declared)[2], missing: Loss(None, 0, "empty", "the target is empty")}
            value = outcome(_value, metric, losses)
            assert not isinstance(value, float) or not math.isfinite(value), (
                f"without a loss '{missing}' the value is {value}; read losses by .mean, which raises"
            )

    def test_values_are_finite(self) -> None:
        """On a grid of losses every value is finite; ``reduce`` may raise only for overflow and division by zero."""
        metric = self.metric()
        for losses in grid(self.asked(metric)):
            try:
                value = metric.reduce(losses)
            except _ALLOWED:
                continue
            except Exception as error:
                raise AssertionError(
                    f"reduce raised {type(error).__name__}: {error} for {_told(losses)}; "
                    "only OverflowError and ZeroDivisionError become a status"
                ) from error
            good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            assert good, f"expected a finite number, found {value!r} for {_told(losses)}"

    def test_reduce_is_pure(self) -> None:
        """The same losses give the same value when asked again and in another order, and are not changed."""
        metric = self.metric()
        rows = grid(self.asked(metric))
        first = [outcome(metric.reduce, row) for row in map(dict, rows)]
        given = [dict(row) for row in rows]
        again = [outcome(metric.reduce, row) for row in reversed(given)]
        assert given == rows, "reduce changed the losses that it was given; leave them as they are"
        for row, before, after in zip(rows, first, reversed(again), strict=True):
            assert before == after, (
                f"reduce gave {before}, then {after}, for {_told(row)}; keep nothing between two calls"
            )

    def test_every_name_read_is_declared(self) -> None:
        """``reduce`` reads only losses that ``spans`` names."""
        metric = self.metric()
        declared = self.asked(metric)
        undeclared = sorted(self._read(metric, declared) - set(declared))
        assert not undeclared, (
            f"reduce reads '{undeclared[0] if undeclared else ''}', which spans does not declare; declare it"
        )

    def test_every_declared_name_is_read(self) -> None:
        """``reduce`` reads every loss that ``spans`` names, because each costs a forward pass."""
        metric = self.metric()
        declared = self.asked(metric)
        left = sorted(set(declared) - self._read(metric, declared))
        assert not left, f"spans declares '{left[0] if left else ''}', which reduce never reads; take it out"

    def test_fit_does_not_depend_on_the_order(self) -> None:
        """A fitted metric has the same constants for every order of the pairs, and when it is fitted again."""
        metric = self.make()
        if not isinstance(metric, FittedMetric):
            raise SkipTest("nothing is fitted")
        rows = grid(self.asked(metric))
        shuffled = random.Random(1).sample(rows, len(rows))  # noqa: S311 - repeatable, not secret
        try:
            fitted = [metric.fit(iter(order)) for order in (rows, shuffled, rows[::-1], rows)]
        except Exception as error:
            raise AssertionError(f"fit raised {type(error).__name__}: {error}") from error
        for row in rows:
            values = [outcome(reducer.reduce, row) for reducer in fitted]
            same = all(_close(values[0], value) for value in values)
            assert same, f"fitted in four orders it gives {values}; let nothing depend on the order: use math.fsum"

    def _read(self, metric: Any, declared: Mapping[str, Sequence[Span]]) -> set[str]:
        """Return the names of the losses that ``reduce`` looks up."""
        rows = [_Read(row) for row in grid(declared)]
        for row in rows:
            outcome(metric.reduce, row)
        return {name for row in rows for name in row.read}


class _Read(Mapping[str, Loss]):
    """A mapping of losses that records which names are looked up."""

    def __init__(self, losses: Mapping[str, Loss]) -> None:
        self._losses = losses
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Loss:
        self.read.add(name)
        return self._losses[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._losses)

    def __len__(self) -> int:
        return len(self._losses)


def grid(declared: Mapping[str, Sequence[Span]]) -> list[dict[str, Loss]]:
    """Return test losses for declared spans: equal ones from 0 to huge, then mixed ones drawn with a fixed seed."""
    draw = random.Random(0)  # noqa: S311 - repeatable, not secret
    rows = [{name: _loss(spans, nats, tokens) for name, spans in declared.items()} for nats, tokens in _EVERY]
    mixed = ((draw.uniform(0.01, 9), draw.randint(1, 99)) for _ in range(40 * len(declared)))
    return rows + [{name: _loss(spans, *next(mixed)) for name, spans in declared.items()} for _ in range(40)]


def _spans(metric: Any, pair: Pair) -> dict[str, Sequence[Span]]:
    return dict(metric.spans(pair, frame()))


def _value(metric: Any, losses: Mapping[str, Loss]) -> float:
    return float(metric.reduce(losses))


def _loss(spans: Sequence[Span], nats: float, tokens: int) -> Loss:
    return total([_part(span, nats, tokens) for span in spans])


def _part(span: Span, nats: float, tokens: int) -> SpanLoss:
    if span.count_only:
        return SpanLoss(None, tokens)
    each = [nats] * tokens if span.by_token else []
    ranks = tuple(range(1, tokens + 1)) if span.by_token else None
    return SpanLoss(nats * tokens, tokens, token_nll=tuple(each) if span.by_token else None, token_ranks=ranks)


def _told(losses: Mapping[str, Loss]) -> str:
    return ", ".join(f"{name}: {loss.nll} nats in {loss.tokens} tokens" for name, loss in losses.items())


def _empty(valid: Range) -> bool:
    """Return whether no number lies between the bounds."""
    low = max((bound for bound in (valid.above, valid.at_least) if bound is not None), default=-math.inf)
    high = min((bound for bound in (valid.below, valid.at_most) if bound is not None), default=math.inf)
    return not low < high and not (low == high and low in valid)


def _close(value: object, other: object) -> bool:
    if isinstance(value, int | float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12)
    return value == other

"""The contract of metrics of texts alone."""

from __future__ import annotations

from typing import Any

from rt_framework.errors import Unscorable
from rt_framework.model import Pair, Range
from rt_framework.testing.awkward import awkward_pairs
from rt_framework.testing.contracts.base import PluginContract, outcome

_PAIRS = (
    Pair("Name things that float.", "In one line.", "A cork, a leaf and a boat."),
    Pair("Which river flows through Basel?", "", "The Rhine."),
)


class TextMetricContract(PluginContract):
    """Contract of a metric of texts alone: a pure function from a pair to a number."""

    kind = "metrics"

    def test_it_says_how_to_read_it(self) -> None:
        """``direction`` is ``higher``, ``lower`` or ``none``, and ``valid`` is a ``Range``."""
        metric = self.make()
        assert metric.direction in ("higher", "lower", "none"), f"found direction {metric.direction!r}"
        assert isinstance(metric.valid, Range), f"expected valid to be a Range, found {metric.valid!r}"

    def test_every_pair_has_a_value_or_a_reason(self) -> None:
        """A pair has a finite number, or ``value`` raises ``Unscorable``; plain pairs have a number."""
        metric = self.make()
        for pair in (*_PAIRS, *awkward_pairs()):
            try:
                value: Any = metric.value(pair)
            except Unscorable:
                assert pair not in _PAIRS, f"a plain pair has no value: {pair!r:.200}"
                continue
            except Exception as error:
                raise AssertionError(
                    f"{type(error).__name__}: {error}; awkward_pairs() holds the pair {pair!r:.200}: raise "
                    "Unscorable(status, reason) where there is no value"
                ) from error
            good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
            assert good, f"expected a finite number for {pair!r:.200}, found {value!r}"

    def test_values_are_pure(self) -> None:
        """The same pair has the same value when asked again, in another order and in another process."""
        first, again = self.values(), self.values()
        assert first == again == self.elsewhere("values"), (
            "the values of the same pairs differ; use nothing but the pair: no clock, no random numbers, no set order"
        )

    def values(self) -> list[str]:
        """Return the value of each pair, or its exception, as text; every second call asks in the other order."""
        metric, pairs = self.make(), [*_PAIRS, *awkward_pairs()]
        turned = [repr(outcome(metric.value, pair)) for pair in reversed(pairs)][::-1]
        values = [repr(outcome(metric.value, pair)) for pair in pairs]
        return values if values == turned else [*values, *turned]

"""A good metric and broken ones; those of every plugin are among them."""

from __future__ import annotations

import math
from typing import Any

from attrs import evolve, field, frozen

from rt_framework import Range, hookimpl
from rt_framework.testing.contracts import MetricContract
from tests.testing_kit.making import MUTANTS, good, mutant, offer, tested

# --- a good one, and one that is fitted ---------------------------------------------------------


@good(MetricContract)
class Gain:
    direction: Any = "higher"
    valid: Any = Range(above=0)

    def spans(self, pair, frame):
        return {"y|x": frame.response_given_instruction(pair), "y": frame.response_alone(pair)}

    def reduce(self, losses):
        return losses["y"].mean - losses["y|x"].mean


class Above:
    direction, valid, spans = "none", Range(), Gain.spans

    def __init__(self, mean):
        self.mean = mean

    def reduce(self, losses):
        return losses["y"].mean - losses["y|x"].mean - self.mean


@good(MetricContract)
class Fitted:
    direction, valid, spans = "none", Range(), Gain.spans

    def fit(self, losses):
        gains = [one["y"].mean - one["y|x"].mean for one in losses]
        return Above(math.fsum(gains) / len(gains))


# --- what holds for every plugin ----------------------------------------------------------------


def _plugin(check: str, plugin: str, **attributes: Any) -> None:
    MUTANTS[f"PluginContract.{check}/{plugin}"] = tested(MetricContract, plugin, **attributes)


class Misspelt:
    @hookimpl
    def rt_register_metrisc(self, register): ...


class Defaulted:
    @hookimpl
    def rt_register_metrics(self, register=None): ...


misspelt, defaulted = Misspelt(), Defaulted()
_plugin("test_it_loads", f"{__name__}:misspelt")
_plugin("test_hooks_have_no_default_arguments", f"{__name__}:defaulted")
_plugin("test_importing_it_is_cheap", "tests.testing_kit.heavy")


class Renamed(Gain): ...


class Speechless(Gain): ...


_plugin("test_its_name_is_registered", offer(MetricContract, Renamed, name="sounder"))
_plugin("test_it_has_a_help_text", offer(MetricContract, Speechless, help=" "))


@mutant(MetricContract, "test_it_is_built_from_its_options")
class Unbuilt(Gain):
    def __init__(self):
        raise RuntimeError("no weights")


@frozen
class Anything:
    """Options that take every key."""

    options: Any = None


@mutant(MetricContract, "test_unknown_options_are_refused", settings=Anything)
class Swallowing(Gain):
    def __init__(self, settings):
        pass


def _no_default():
    raise RuntimeError("this machine has none")


@frozen
class Unshown:
    """Options with a default that cannot be made."""

    options: int
    depth: int = field(factory=_no_default)


@mutant(MetricContract, "test_its_options_can_be_shown", settings=Unshown, options={"options": 1, "depth": 1})
class Unreadable(Gain):
    def __init__(self, settings):
        pass


# --- what holds for metrics ---------------------------------------------------------------------


@mutant(MetricContract, "test_direction_is_known")
class Sideways(Gain):
    direction = "up"


@mutant(MetricContract, "test_valid_is_a_range_with_values_in_it")
class Nowhere(Gain):
    valid = Range(above=1, below=1)


@mutant(MetricContract, "test_valid_is_a_range_with_values_in_it")
class NoRange(Gain):
    valid = (0, 1)


@mutant(MetricContract, "test_some_values_are_valid")
class Unreachable(Gain):
    valid = Range(above=1000)


@mutant(MetricContract, "test_spans_are_pure")
class Forgetful(Gain):
    def __init__(self):
        self.calls = 0

    def spans(self, pair, frame):
        self.calls += 1
        turn = tuple(evolve(span, max_tokens=500 + self.calls) for span in frame.response_alone(pair))
        return super().spans(pair, frame) | {"y": turn}


@mutant(MetricContract, "test_awkward_pairs_are_scored_or_have_a_reason")
class Encoding(Gain):
    def spans(self, pair, frame):
        pair.response.encode()
        return super().spans(pair, frame)


@mutant(MetricContract, "test_a_pair_without_losses_has_no_value")
class Silent(Gain):
    """Declares nothing for what has no loss, and gives 0 for it."""

    def spans(self, pair, frame):
        return super().spans(pair, frame) if pair.response else {}

    def reduce(self, losses):
        return super().reduce(losses) if losses else 0.0


@mutant(MetricContract, "test_a_pair_without_losses_has_no_value")
class Padding(Gain):
    """Scores words of its own where there are none."""

    def spans(self, pair, frame):
        return super().spans(pair if pair.response else evolve(pair, instruction="a", response="a b"), frame)


@mutant(MetricContract, "test_a_missing_loss_is_never_a_number")
class Swallower(Gain):
    def reduce(self, losses):
        means = [(losses[name].nll or 0.0) / (losses[name].tokens or 1) for name in ("y", "y|x")]
        return means[0] - means[1]


@mutant(MetricContract, "test_a_missing_loss_is_never_a_number")
class Catching(Gain):
    def reduce(self, losses):
        try:
            return super().reduce(losses)
        except ValueError:
            return 0.0


@mutant(MetricContract, "test_values_are_finite")
class Logarithm(Gain):
    def reduce(self, losses):
        return math.log(losses["y"].mean) - math.log(losses["y|x"].mean)


@mutant(MetricContract, "test_values_are_finite")
class Infinite(Gain):
    def reduce(self, losses):
        gain = super().reduce(losses)
        return gain or math.inf


@mutant(MetricContract, "test_reduce_is_pure")
class Counting(Gain):
    def __init__(self):
        self.calls = 0

    def reduce(self, losses):
        self.calls += 1
        return super().reduce(losses) + self.calls


@mutant(MetricContract, "test_reduce_is_pure")
class Emptying(Gain):
    def reduce(self, losses):
        value = super().reduce(losses)
        if isinstance(losses, dict):
            losses.clear()
        return value


@mutant(MetricContract, "test_every_name_read_is_declared")
class Curious(Gain):
    def reduce(self, losses):
        extra = losses.get("x")
        return super().reduce(losses) + (extra.mean if extra else 0)


@mutant(MetricContract, "test_every_declared_name_is_read")
class Greedy(Gain):
    def spans(self, pair, frame):
        return super().spans(pair, frame) | {"x": frame.instruction_alone(pair)}


@mutant(MetricContract, "test_fit_does_not_depend_on_the_order")
class FirstSeen(Fitted):
    def fit(self, losses):
        first = next(losses)
        return Above(first["y"].mean)

"""Prices of a provider's tokens by their kind, from litellm's price list or the settings, and the charge by them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

from attrs import astuple, evolve, frozen

from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.model import Charge, Usage

_HALF = Fraction(1, 2)
"""Price of a batch, as a share of the price of the same requests sent one by one. No provider takes less."""

_FEW, _ANSWER = 1000, 1000
"""Prompt and answer tokens of the imagined calls by which litellm is asked for its prices."""

_THRESHOLD = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


@frozen
class Rates:
    """Prices of one token of each kind, in nano-dollars."""

    prompt: Fraction
    cached: Fraction
    """Prompt token read from the cache."""
    cache_write: Fraction
    """Prompt token written to the cache."""
    answer: Fraction
    reasoning: Fraction

    @cached_property
    def _whole(self) -> tuple[int, tuple[int, ...]]:
        """A common denominator of the prices, and their numerators: whole numbers are as exact, and far quicker."""
        rates: tuple[Fraction, ...] = astuple(self)
        scale = math.lcm(*(rate.denominator for rate in rates))
        return scale, tuple(int(rate * scale) for rate in rates)

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return the most that so many tokens cost, in nano-dollars, whatever their kinds; rounded up."""
        scale, (prompt, cached, cache_write, answer, reasoning) = self._whole
        exact = max(prompt, cached, cache_write) * prompt_tokens + max(answer, reasoning) * completion_tokens
        return -(-exact // scale)

    def charge(self, used: Usage, live: Rates) -> Charge:
        """Return the cost of a call by its parts, rounded up once.

        Args:
            used: the tokens of the call.
            live: the prices of the same call outside a batch.
        """
        scale, exact = self._parts(used)
        total = -(-sum(exact) // scale)
        parts = [part // scale for part in exact]
        # What rounding leaves over goes to the largest part, so that the parts add up to the cost.
        parts[max(range(len(parts)), key=exact.__getitem__)] += total - sum(parts)
        cache_saving = 0
        if used.cached_tokens or used.cache_write_tokens:
            cache_saving = self._saving(used, evolve(self, cached=self.prompt, cache_write=self.prompt))
        batch_saving = 0 if live is self else self._saving(used, live)
        return evolve(Charge(*parts), cache_saving=cache_saving, batch_saving=batch_saving)

    def _saving(self, used: Usage, dearer: Rates) -> int:
        """Return by how much a call would be dearer by other prices, in nano-dollars."""
        own, other = (Fraction(sum(exact), scale) for scale, exact in (self._parts(used), dearer._parts(used)))
        return round(other - own)

    def _parts(self, used: Usage) -> tuple[int, list[int]]:
        """Return a denominator, and the numerator of the cost of each kind of token."""
        tokens = (
            used.prompt_tokens - used.cached_tokens - used.cache_write_tokens,
            *(used.cached_tokens, used.cache_write_tokens),
            *(used.completion_tokens - used.reasoning_tokens, used.reasoning_tokens),
        )
        scale, rates = self._whole
        return scale, [number * rate for number, rate in zip(tokens, rates, strict=True)]


class Prices:
    """The prices of one model.

    Args:
        settings: name the model, and its prices where the user gives them.
        litellm: returns the module litellm, whose price list and arithmetic hold for all other models.
    """

    def __init__(self, settings: LiteLLMSettings, litellm: Callable[[], Any]) -> None:
        self._settings = settings
        self._litellm = litellm
        # Kept, because litellm takes as long to compute a price as SQLite for a commit.
        self._listed = cache(self._asked)

    def rates(self, prompt_tokens: int, batched: bool, tier: str | None = None) -> Rates | None:
        """Return the prices of a call with so many prompt tokens; ``None`` for a model without a price.

        Args:
            prompt_tokens: tokens of the prompt; above some number each token of a call is dearer.
            batched: True for a call in a batch.
            tier: service tier of the provider, such as ``flex`` or ``priority``; ``None`` for the usual one.
        """
        live = self._own or self._listed(self._size(prompt_tokens), False, tier)
        if live is None or not batched:
            return live
        half = Rates(*(rate * _HALF for rate in astuple(live)))
        listed = None if self._own else self._listed(self._size(prompt_tokens), True, None)
        return half if listed is None else Rates(*map(max, astuple(listed), astuple(half)))

    def charge(self, used: Usage, batched: bool, tier: str | None) -> Charge | None:
        """Return the cost of a call by its parts; ``None`` for a model without a price."""
        rates, live = (self.rates(used.prompt_tokens, one, tier) for one in (batched, False))
        return None if rates is None or live is None else rates.charge(used, live)

    @cached_property
    def _own(self) -> Rates | None:
        """The prices of the settings, which are in dollars per million tokens; ``None`` where they name none."""
        own = self._settings
        if own.input_price is None or own.output_price is None:
            return None
        cached = own.input_price if own.cached_price is None else own.cached_price
        write = own.input_price if own.cache_write_price is None else own.cache_write_price
        prices = (own.input_price, cached, write, own.output_price, own.output_price)
        return Rates(*(Fraction(str(price)) * 1000 for price in prices))  # a dollar is 10⁹ nano-dollars

    @cached_property
    def _thresholds(self) -> tuple[int, ...] | None:
        """Prompt tokens above which other prices hold, ascending; ``None`` if they may change with any number."""
        try:
            info: Any = self._litellm().get_model_info(self._settings.model)
        except Exception:
            return ()
        if info.get("tiered_pricing"):
            return None
        found = (_THRESHOLD.fullmatch(name) for name, price in info.items() if price)
        return tuple(sorted(int(match[1]) * 1000 for match in found if match))

    def _size(self, prompt_tokens: int) -> int:
        """Return a number of prompt tokens for which the same prices hold, alike for as many numbers as possible."""
        if self._thresholds is None:
            return max(prompt_tokens, 1)
        passed = [threshold for threshold in self._thresholds if prompt_tokens > threshold]
        return passed[-1] + _FEW if passed else _FEW

    def _asked(self, prompt: int, batched: bool, tier: str | None) -> Rates | None:
        """Return the prices by litellm's arithmetic, from the costs of calls whose tokens are all of one kind."""
        try:
            plain, answer = self._cost(Usage(prompt, _ANSWER), batched, tier)
            cached, _ = self._cost(Usage(prompt, _ANSWER, cached_tokens=prompt), batched, tier)
            written, _ = self._cost(Usage(prompt, _ANSWER, cache_write_tokens=prompt), batched, tier)
            _, reasoned = self._cost(Usage(prompt, _ANSWER, reasoning_tokens=_ANSWER), batched, tier)
        except Exception:
            return None
        # The list has no price of its own for some kinds, and litellm then counts 0 for a few models.
        of_prompt = (cost / prompt for cost in (plain, cached or plain, written or plain))
        of_answer = (cost / _ANSWER for cost in (answer, reasoned or answer))
        # The float's own error, some 1e-16 of the cost, must not be rounded up to a further nano-dollar.
        return Rates(*(Fraction(str(round(cost * 1e9, 6))) for cost in (*of_prompt, *of_answer)))

    def _cost(self, used: Usage, batched: bool, tier: str | None) -> tuple[float, float]:
        """Return the cost of prompt and answer in dollars."""
        types = self._litellm().types.utils
        prompt, completion = used.prompt_tokens, used.completion_tokens
        read, written, thought = used.cached_tokens, used.cache_write_tokens, used.reasoning_tokens
        counted = types.Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=types.PromptTokensDetailsWrapper(cached_tokens=read, cache_creation_tokens=written),
            completion_tokens_details=types.CompletionTokensDetailsWrapper(
                reasoning_tokens=thought, text_tokens=completion - thought
            ),
            cache_read_input_tokens=read,
            cache_creation_input_tokens=written,
        )
        costs: tuple[float, float] = self._litellm().cost_per_token(
            self._settings.model,
            prompt,
            completion,
            usage_object=counted,
            service_tier=tier,
            call_type="aretrieve_batch" if batched else "acompletion",
        )
        return costs

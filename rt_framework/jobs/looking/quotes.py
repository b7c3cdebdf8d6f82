"""The quote of a dry run, in dollars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rt_framework.config import Config
from rt_framework.jobs.quoting import Bounds, Quote
from rt_framework.model import Request, Turn


@frozen
class DollarBounds:
    """A likely amount of dollars, and the highest one."""

    low: float
    """The amount if all goes well."""
    high: float
    """The highest amount to which any arriving answers can lead."""


@frozen
class ToldAmounts:
    """Calls that are still to be paid for, to one teacher or to all."""

    sends: Bounds
    """Requests."""
    prompt_tokens: Bounds
    """Tokens of the prompts."""
    answer_tokens: Bounds
    """Tokens of the answers."""
    cost_usd: DollarBounds | None
    """Dollars; null where a price is not known."""


@frozen
class ToldPrompt:
    """One of the first prompts of a run, whole."""

    row: int
    """Row number of its sample, from 0."""
    reflection: str
    """Name of the question."""
    messages: tuple[Turn, ...]
    """The prompt."""
    schema: Mapping[str, Any] | None
    """JSON schema of the answer, where the teacher can enforce one."""
    max_tokens: int
    """Longest answer in tokens."""
    temperature: float
    """Temperature of the answer."""


@frozen
class ToldQuote:
    """The questions and the cost of a run, before anything is sent."""

    samples: int
    """Number of samples."""
    calls: int
    """Questions that the run asks if nothing more fails."""
    unique: int
    """Different ones among them: equal ones are asked once."""
    answered: int
    """Different ones whose answers are in the run directory already."""
    guessed: int
    """Different ones about texts that the teacher has not written yet."""
    broken: int
    """Samples for which a reflection or another plugin raises an exception."""
    still: ToldAmounts
    """All that is still to be paid for."""
    teachers: Mapping[str, ToldAmounts]
    """The part of each teacher, by its name in the config, where the run asks more than one."""
    spent_usd: float
    """Dollars spent in the run directory so far."""
    budget_usd: float | None
    """``limits.budget_usd``, of a shard its share; null without a budget."""
    prompts: tuple[ToldPrompt, ...]
    """The first few prompts."""


def quote_in_dollars(quote: Quote, config: Config) -> ToldQuote:
    """Return a quote as programs get it."""
    return ToldQuote(
        samples=quote.samples,
        calls=quote.calls,
        unique=quote.unique,
        answered=quote.answered,
        guessed=quote.guessed,
        broken=quote.broken,
        still=_amounts(quote),
        teachers={one.name: _amounts(one) for one in quote.teachers},
        spent_usd=quote.spent / 1e9,
        budget_usd=config.share_of(config.limits.budget_usd),
        prompts=tuple(_prompt(row, request) for row, request in quote.prompts),
    )


def _amounts(part: Any) -> ToldAmounts:
    cost = None if part.cost is None else DollarBounds(part.cost.low / 1e9, part.cost.high / 1e9)
    return ToldAmounts(part.sends, part.prompt_tokens, part.answer_tokens, cost)


def _prompt(row: int, request: Request) -> ToldPrompt:
    sampling = request.sampling
    schema, most = request.schema, sampling.max_tokens
    return ToldPrompt(row, request.reflection, request.messages, schema, most, float(sampling.temperature))

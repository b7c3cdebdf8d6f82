"""The numbers beside an answer: token counts that it is charged for, limited to plausible values, and quotas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from rt_framework.model import Quotas, Request, Usage

MOST_TOKENS = 10**7
"""Most tokens of prompt or answer that are believed, since no model reads or writes more at once."""

_BYTES_A_TOKEN = 32
"""Most bytes of text per token that are plausible over a whole text: English has about four."""

Path = tuple[str, ...]
"""Names that lead through nested objects to a count."""


@frozen
class Form:
    """The names of the counts in the bodies of one kind of API."""

    prompt: tuple[Path, ...]
    """Counts that add up to the tokens of the prompt; the first one has to be there."""
    answer: tuple[Path, ...]
    """Counts that add up to the tokens of the answer, its reasoning included."""
    total: tuple[Path, ...] = ()
    """Tokens of prompt and answer together: the first count that is there."""
    cached: tuple[Path, ...] = ()
    """Tokens of the prompt read from the cache: the first count that is there."""
    written: tuple[Path, ...] = ()
    """Tokens of the prompt written to the cache: the first count that is there."""
    reasoning: tuple[Path, ...] = ()
    """Tokens of the answer that are reasoning: the first count that is there."""


def _in(*names: str) -> tuple[Path, ...]:
    """Return the paths of counts in the object ``usage``; dots lead deeper."""
    return tuple(("usage", *name.split(".")) for name in names)


def _google(*names: str) -> tuple[Path, ...]:
    return tuple(("usageMetadata", name) for name in names)


FORMS = (
    Form(  # OpenAI, and all servers with its API: Azure, Mistral, xAI, Groq, DeepSeek, Moonshot, OpenRouter, vLLM
        _in("prompt_tokens"),
        _in("completion_tokens"),
        _in("total_tokens"),
        cached=_in("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens", "cached_tokens"),
        written=_in("prompt_tokens_details.cache_write_tokens", "cache_creation_input_tokens"),
        reasoning=_in("completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
    ),
    Form(  # Anthropic, whose first count leaves out what the cache has to do with; and OpenAI's API of responses
        _in("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
        _in("output_tokens"),
        _in("total_tokens"),
        cached=_in("cache_read_input_tokens", "input_tokens_details.cached_tokens"),
        written=_in("cache_creation_input_tokens"),
        reasoning=_in("output_tokens_details.reasoning_tokens", "output_tokens_details.thinking_tokens"),
    ),
    Form(  # Amazon Bedrock
        _in("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        _in("outputTokens"),
        _in("totalTokens"),
        cached=_in("cacheReadInputTokens"),
        written=_in("cacheWriteInputTokens"),
    ),
    Form(  # Google
        _google("promptTokenCount", "toolUsePromptTokenCount"),
        _google("candidatesTokenCount", "thoughtsTokenCount"),
        _google("totalTokenCount"),
        cached=_google("cachedContentTokenCount"),
        reasoning=_google("thoughtsTokenCount"),
    ),
    Form(  # Cohere, which bills fewer tokens than it counts
        _in("billed_units.input_tokens"),
        _in("billed_units.output_tokens"),
        cached=_in("cached_tokens"),
    ),
)
"""Forms of usages, of which the first one with a count of prompt or answer holds.

A count of prompt, answer or total that it lacks is taken from the first other form that has it, since what a provider
states must not be overlooked because it mixes the names of two APIs.
"""


@frozen
class Counted:
    """The token counts of one answer."""

    told: Usage
    """Counts as the provider states them, for the record; 0 where it states none."""
    charged: Usage
    """Counts from which the cost is computed, never below a plausible minimum."""
    note: str
    """Statements of the provider that were not believed, in words; empty where all were believed."""


def told_in(body: bytes) -> Mapping[str, Any]:
    """Return the token counts that a JSON body states, by the names of :class:`Usage`, with ``total_tokens``.

    The values may be of any type. The result is empty where the body states no count of prompt or answer.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    form = next(
        (one for one in FORMS if _there(_sum(answer, part) for part in (one.prompt, one.answer)) is not None), None
    )
    if form is None:
        return {}
    return {
        "prompt_tokens": _there(_sum(answer, one.prompt) for one in FORMS),
        "completion_tokens": _there(_sum(answer, one.answer) for one in FORMS),
        "total_tokens": _there(_first(answer, one.total) for one in FORMS),
        "cached_tokens": _first(answer, form.cached),
        "cache_write_tokens": _first(answer, form.written),
        "reasoning_tokens": _first(answer, form.reasoning),
    }


def counted(request: Request, text: str | None, reported: Mapping[str, Any], most_answer: int) -> Counted:
    """Return the tokens that an answer to *request* is charged for.

    A count that is missing, or is not a number from 1, is replaced by the highest possible one; so is a count that is
    too low for the text that was sent or came back. Only the count of the answer may be 0, and only if its text is
    empty. If the stated total is higher than the sum of its parts, the total is charged: some providers leave the
    reasoning out of the answer's count. A number that no model reaches is capped. Tokens are charged as cached or as
    reasoning only as far as they are within a count that was believed.

    Args:
        request: the request that was sent.
        text: the answer; ``None`` where it cannot be read.
        reported: token counts by the names of :class:`Usage`, with values of any type.
        most_answer: most tokens that the answer may have, its reasoning included.
    """
    sent = sum(len(turn.content.encode("utf-8", "replace")) for turn in request.messages)
    back = 0 if text is None else len(text.encode("utf-8", "replace"))
    notes: list[str] = []
    parts = (("prompt_tokens", sent, request.most_prompt_tokens), ("completion_tokens", back, most_answer))
    charged, believed = [], []
    for name, size, dearest in parts:
        number, least = _number(reported.get(name)), -(-size // _BYTES_A_TOKEN)
        nothing_back = number == 0 and name == "completion_tokens" and text == ""
        believed.append(number is not None and (nothing_back or number >= max(least, 1)))
        if not believed[-1]:
            notes.append(f"{name} reported as {_shown(reported.get(name))}")
        charged.append(number if number is not None and believed[-1] else max(dearest, least))
    told = [_number(reported.get(name)) or 0 for name, *_ in parts]
    total = _number(reported.get("total_tokens"))
    if total is not None and total > sum(charged):
        told[1] += total - sum(charged) if all(believed) else 0
        charged[1] += total - sum(charged)
    if max(charged) > MOST_TOKENS:
        notes.append(f"more than {MOST_TOKENS} tokens reported")
    return Counted(_usage(told, reported), _usage(charged, reported, believed), "; ".join(notes))


def _usage(counts: Sequence[int], reported: Mapping[str, Any], believed: Sequence[bool] = (True, True)) -> Usage:
    """Return counts of prompt and answer, capped, with what is reported of their parts, as far as it lies in them."""
    prompt, answer = (min(number, MOST_TOKENS) for number in counts)
    names = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")
    cached, written, reasoning = (_number(reported.get(name)) or 0 for name in names)
    cached, written = (cached, written) if believed[0] else (0, 0)
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    return Usage(prompt, answer, cached, written, min(reasoning, answer) if believed[1] else 0)


def _at(answer: Any, path: Path) -> Any:
    """Return the value at the end of a path; ``None`` where there is none."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return answer


def _first(answer: Any, paths: tuple[Path, ...]) -> Any:
    """Return the first value that is there; ``None`` where there is none."""
    return _there(_at(answer, path) for path in paths)


def _there(values: Iterable[Any]) -> Any:
    """Return the first value that is not ``None``."""
    return next((value for value in values if value is not None), None)


def _sum(answer: Any, paths: tuple[Path, ...]) -> Any:
    """Return the sum of the counts that are there; ``None`` where none is.

    Where several counts are added up, a single value that is no number makes the sum unusable.
    """
    values = [value for path in paths if (value := _at(answer, path)) is not None]
    numbers = [_number(value) for value in values]
    if None in numbers:
        return values[numbers.index(None)]
    return sum(number or 0 for number in numbers) if numbers else None


def _number(value: Any) -> int | None:
    """Return a count of tokens as an integer; ``None`` if the value is not one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _shown(value: Any) -> str:
    try:
        return repr(value)[:40]
    except ValueError:  # an integer with more digits than Python prints
        return "an implausibly large number"


# --- quotas -----------------------------------------------------------------------------------

_REQUESTS = ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit")
_TOKENS = ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit")
_BY_DAY = ("groq/",)
"""Beginnings of names of models whose provider states requests a day under the name that others use for a minute."""


def stated_quotas(headers: Mapping[str, str], model: str, before: Quotas) -> Quotas:
    """Return the quotas that an answer states.

    Args:
        headers: headers of the answer, by name in lower case.
        model: name of the model as litellm takes it.
        before: the quotas of earlier answers, which stay where this one states none.
    """
    requests = None if model.startswith(_BY_DAY) else _whole_of(headers, _REQUESTS)
    return Quotas(requests or before.requests, _whole_of(headers, _TOKENS) or before.tokens)


def _whole_of(headers: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    """Return the number under the first of the names that has one from 1 to a billion."""
    values = (headers.get(name, "").strip() for name in names)
    numbers = (int(value) for value in values if value.isascii() and value.isdigit() and len(value) <= 10)
    return next((number for number in numbers if number > 0), None)

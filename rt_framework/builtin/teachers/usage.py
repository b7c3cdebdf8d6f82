"""The numbers beside an answer: token counts that it is charged for, limited to plausible values, and quotas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rt_framework.model import Quotas, Request, Usage

MOST_TOKENS = 10**7
"""Most tokens of prompt or answer that are believed, since no model reads or writes more at once."""

_BYTES_A_TOKEN = 32
"""Most bytes of text per token that are plausible over a whole text: English has about four."""

_PROMPT = (("prompt_tokens",), ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))
_COMPLETION = (("completion_tokens",), ("output_tokens",))
"""Names of the two counts in the bodies of OpenAI's form and of Anthropic's; the names of one form are added up."""


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
    """Return the token counts that a JSON body states, by OpenAI's names; empty where it states none."""
    try:
        answer = json.loads(body)
        usage = answer["usage"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}
    if not isinstance(usage, Mapping):
        return {}
    counts = {"prompt_tokens": _sum(usage, _PROMPT), "completion_tokens": _sum(usage, _COMPLETION)}
    counts["total_tokens"] = usage.get("total_tokens")
    return counts if any(value is not None for value in counts.values()) else {}


def counted(request: Request, text: str | None, reported: Mapping[str, Any]) -> Counted:
    """Return the tokens that an answer to *request* is charged for.

    A count that is missing, or is not a number from 1, is replaced by the highest possible one; so is a count that is
    too low for the text that was sent or came back. Only the count of the answer may be 0, and only if its text is
    empty. If the stated total is higher than the sum of its parts, the total is charged. A number that no model reaches
    is capped.

    Args:
        request: the request that was sent.
        text: the answer; ``None`` where it cannot be read.
        told: token counts by OpenAI's names, with values of any type.
    """
    sent = sum(len(turn.content.encode("utf-8", "replace")) for turn in request.messages)
    back = 0 if text is None else len(text.encode("utf-8", "replace"))
    notes: list[str] = []
    parts = (
        ("prompt_tokens", sent, request.most_prompt_tokens),
        ("completion_tokens", back, request.sampling.max_tokens),
    )
    charged = []
    for name, size, dearest in parts:
        number, least = _number(reported.get(name)), -(-size // _BYTES_A_TOKEN)
        nothing_back = number == 0 and name == "completion_tokens" and text == ""
        if number is None or (number < least and not nothing_back) or (number == 0 and not nothing_back):
            notes.append(f"{name} reported as {_shown(reported.get(name))}")
            number = max(dearest, least)
        charged.append(number)
    total = _number(reported.get("total_tokens"))
    if total is not None and total > sum(charged):
        charged[1] += total - sum(charged)
    if max(charged) > MOST_TOKENS:
        notes.append(f"more than {MOST_TOKENS} tokens reported")
    prompt, completion = (min(number, MOST_TOKENS) for number in charged)
    believed = [min(_number(reported.get(name)) or 0, MOST_TOKENS) for name, *_ in parts]
    return Counted(Usage(*believed), Usage(prompt, completion), "; ".join(notes))


def _sum(usage: Mapping[str, Any], forms: tuple[tuple[str, ...], ...]) -> Any:
    """Return the count by the first form whose names are present.

    Where several names are added up, a single value that is no number makes the sum unusable.
    """
    for names in forms:
        values = [usage[name] for name in names if usage.get(name) is not None]
        if values:
            numbers = [_number(value) for value in values]
            return values[0] if None in numbers else sum(number or 0 for number in numbers)
    return None


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

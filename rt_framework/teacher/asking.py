"""The only conversion of a question to a request: a plugin renders it, and it is checked before money is reserved."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from rt_framework.kit.bounds import WHOLE, fault
from rt_framework.model import MOST_TEMPERATURE, MOST_TOKENS, Pair, Request, Sampling
from rt_framework.protocols import Question

_SEEDS = 1000
"""Distance between the seeds of two draws: more than the answers that one draw may ask for."""


def rendered(question: Question[Any], pair: Pair, index: int, structured: bool, draw: int = 0) -> Request:
    """Return the checked request for the *index*-th answer of a draw about *pair*.

    Raises:
        ValueError: the question rendered something that must not be sent. Only the sample that it is about fails.
    """
    request = checked(question.render(pair, index, structured))
    if not draw:
        return request
    # Providers that know seeds would answer two draws with the same seed alike.
    seed = (request.sampling.seed or 0) + _SEEDS * draw
    return checked(evolve(request, draw=draw, sampling=evolve(request.sampling, seed=seed)))


def checked(request: object) -> Request:
    """Return *request* unchanged after checking that an upper bound of its price can be computed.

    With values in these ranges the reserved amount is never negative. Requests of earlier runs, read from the ledger,
    are not checked here, so that every request that was ever sent can still be shown.

    Raises:
        ValueError: *request* is not a :class:`Request`, or its sampling is out of range.
    """
    # Subclasses are rejected: they could override most_prompt_tokens, from which the price is computed.
    if type(request) is not Request or type(request.sampling) is not Sampling:
        raise ValueError(f"a question must render a Request with a Sampling, but rendered {_named(request)}")
    sampling = request.sampling
    wrong = (
        ("max_tokens", _whole(sampling.max_tokens) or fault(sampling.max_tokens, least=1, most=MOST_TOKENS)),
        ("temperature", fault(sampling.temperature, least=0, most=MOST_TEMPERATURE)),
        ("top_p", fault(sampling.top_p, above=0, most=1)),
        ("seed", None if sampling.seed is None else _whole(sampling.seed) or fault(sampling.seed, least=-WHOLE)),
        ("index", _whole(request.index) or fault(request.index, least=0)),
        ("draw", _whole(request.draw) or fault(request.draw, least=0)),
    )
    for name, complaint in wrong:
        if complaint:
            raise ValueError(f"the request of '{request.reflection}' cannot be sent: its {name} {complaint}")
    return request


def _whole(value: object) -> str | None:
    return None if type(value) is int else f"must be a whole number, not {type(value).__name__}"


def _named(request: object) -> str:
    sampling = getattr(request, "sampling", None)
    return f"{type(request).__name__} with {type(sampling).__name__}"

"""The one way from a question to a request: rendered by a plugin, and checked before any money is reserved for it."""

from __future__ import annotations

from typing import Any

from rt_framework.kit.bounds import WHOLE, fault
from rt_framework.model import MOST_TEMPERATURE, MOST_TOKENS, Pair, Request, Sampling
from rt_framework.protocols import Question


def rendered(question: Question[Any], pair: Pair, index: int, structured: bool) -> Request:
    """The request for the *index*-th answer about *pair*.

    Raises:
        ValueError: the question gives something that must not be sent; it fails the one sample that it is about.
    """
    return checked(question.render(pair, index, structured))


def checked(request: object) -> Request:
    """A request from which a bound of its price can be computed: what is reserved for it is never negative.

    Data of earlier runs is not read through this, so that what was sent once can always be shown.

    Raises:
        ValueError: it is no request, or its sampling is out of range.
    """
    # A subclass could say anything of its most_prompt_tokens.
    if type(request) is not Request or type(request.sampling) is not Sampling:
        raise ValueError(f"a question has to render a Request with a Sampling, and rendered {_named(request)}")
    sampling = request.sampling
    wrong = (
        ("max_tokens", _whole(sampling.max_tokens) or fault(sampling.max_tokens, least=1, most=MOST_TOKENS)),
        ("temperature", fault(sampling.temperature, least=0, most=MOST_TEMPERATURE)),
        ("top_p", fault(sampling.top_p, above=0, most=1)),
        ("seed", None if sampling.seed is None else _whole(sampling.seed) or fault(sampling.seed, least=-WHOLE)),
        ("index", _whole(request.index) or fault(request.index, least=0)),
    )
    for name, said in wrong:
        if said:
            raise ValueError(f"the request of '{request.reflection}' cannot be sent: its {name} {said}")
    return request


def _whole(value: object) -> str | None:
    return None if type(value) is int else f"must be a whole number, not {type(value).__name__}"


def _named(request: object) -> str:
    sampling = getattr(request, "sampling", None)
    return f"{type(request).__name__} with {type(sampling).__name__}"

"""The only conversion of a question to a request: a plugin renders it, and it is checked before money is reserved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve

from rt_framework.errors import PluginError
from rt_framework.kit.bounds import WHOLE, fault
from rt_framework.model import (
    MOST_TEMPERATURE,
    MOST_TOKENS,
    Pair,
    Reply,
    Request,
    Sampling,
    Turn,
    Unparsed,
    most_tokens,
)
from rt_framework.protocols import Question
from rt_framework.teacher.reasoning import unfinished

T = TypeVar("T")

MOST_STEPS = 100
"""Most requests of one conversation: far more than a question needs, and few enough for a quote."""

_SEEDS = 1000
"""Distance between the seeds of two draws: more than the answers that one draw may ask for."""


def rendered(question: Question[Any], pair: Pair, index: int, structured: bool, draw: int = 0) -> Request:
    """Return the checked request for the *index*-th answer of a draw about *pair*.

    Raises:
        ValueError: the question rendered something that must not be sent. Only the sample that it is about fails.
    """
    request = checked(question.render(pair, index, structured))
    if request.step:
        raise ValueError(f"the first request of '{request.reflection}' has step {request.step}; leave it 0")
    if not draw:
        return request
    # Providers that know seeds would answer two draws with the same seed alike.
    seed = (request.sampling.seed or 0) + _SEEDS * draw
    return checked(evolve(request, draw=draw, sampling=evolve(request.sampling, seed=seed)))


def steps_of(question: Question[Any], name: str) -> int:
    """Return the most requests of one conversation: 1 unless the question goes on after an answer.

    Raises:
        PluginError: a question that goes on does not say how far. Without a bound a run would have no quote.
    """
    if not hasattr(question, "follow"):
        return 1
    steps = getattr(question, "steps", None)
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise PluginError(
            f"question '{name}' has 'follow', so it needs 'steps', the most requests of one conversation: a whole "
            f"number from 1 to {MOST_STEPS}, not {steps!r:.40}"
        )
    return steps


def followed(question: Question[Any], pair: Pair, first: Request, request: Request, reply: Reply) -> Request | None:
    """Return the checked request that goes on with a conversation, or ``None`` if *reply* is its last answer.

    Args:
        question: the question.
        pair: the pair that it is about.
        first: the conversation's first request.
        request: the request that was answered.
        reply: the answer to it.

    Raises:
        ValueError: the question goes on with something that must not be sent. Only the sample that it is about fails.
        PluginError: the question does not say how many steps it takes.
    """
    steps = steps_of(question, first.reflection)
    follow: Callable[[Pair, Request, Reply], Request | None] | None = getattr(question, "follow", None)
    if follow is None or reply.all_reasoning:  # the usual case; protocols take long to check
        return None
    further = follow(pair, request, reply)
    if further is None:
        return None
    # The seed of a draw stays that of the first request; a question that makes its own may not know of draws.
    sampling = evolve(checked(further).sampling, seed=request.sampling.seed)
    further = evolve(further, draw=first.draw, step=request.step + 1, sampling=sampling)
    wrong = _not_going_on(first, request, reply, further, steps)
    if wrong:
        raise ValueError(f"'{first.reflection}' cannot go on after answer {further.step} of a conversation: {wrong}")
    return further


def parsed(question: Question[T], pair: Pair, request: Request, reply: Reply) -> T | Unparsed:
    """Return what a question reads in an answer, or why the answer cannot be used."""
    return unfinished(reply) if reply.all_reasoning else question.parse(pair, request, reply)


def most_own_tokens(first: Request, step: int) -> int:
    """Return the most prompt tokens of a step, answers left out: as many times the first request's as there are turns.

    What a question will say next is not known before it has an answer, so the quote takes this bound for it.
    """
    return (step + 1) * first.most_prompt_tokens


def _not_going_on(first: Request, request: Request, reply: Reply, further: Request, steps: int) -> str | None:
    """Return why a request does not go on with the conversation within its bounds; ``None`` if it does."""
    if further.step >= steps:
        return f"it says that it takes at most {steps} steps"
    if _topic(further) != _topic(request):
        return "its name, pair and index must stay what they were"
    said = (*request.messages, Turn("assistant", reply.text))
    added = {turn.role for turn in further.messages[len(said) :]}
    if further.messages[: len(said)] != said or added != {"user"}:
        return "its messages must be those before, the answer, and turns of the user, as request.then(reply, text) does"
    most = first.sampling.max_tokens
    if further.sampling.max_tokens > most:
        return f"its max_tokens are {further.sampling.max_tokens}, and those of the first request {most}"
    own = further.most_prompt_tokens - sum(map(most_tokens, further.said))
    if own > most_own_tokens(first, further.step):
        most = most_own_tokens(first, further.step)
        return f"answers left out, it has up to {own} tokens, and may have {most}, the first request's for each turn"
    return None


def _topic(request: Request) -> tuple[str, str, int]:
    return request.reflection, request.pair_hash, request.index


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
        ("step", _whole(request.step) or fault(request.step, least=0)),
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

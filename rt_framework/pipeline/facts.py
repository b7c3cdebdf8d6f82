"""Facts of a job that its run directory records: what its stages are, and what its questions ask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from attrs import asdict, evolve

from rt_framework.errors import ConfigError, PluginError, RtError, described
from rt_framework.model import Pair, Request, Turn, digest, keyed
from rt_framework.pipeline.probe_answers import probe_answer
from rt_framework.pipeline.steps import Step
from rt_framework.protocols import Question, is_asked
from rt_framework.teacher import followed, rendered

PROBE = Pair("Name the colours of the flag.", "The flag of France.", "Blue, white and red.")
"""Fixed plain pair for checks. A changed prompt shows in the request that a reflection renders for this pair, and a
student must be able to encode it."""

_PROBE_WITH_ALL = evolve(
    PROBE, system="You know flags.", history=(Turn("user", "Hello."), Turn("assistant", "Hello. What is it about?"))
)
"""The same pair after a conversation, so that no sentence of a prompt is left out of its request."""

_WAYS = tuple((index, structured) for index in (0, 1) for structured in (True, False))
"""Ways in which a request is rendered: index of the answer, and whether the teacher follows a schema."""

REQUEST_OF = "request of "
"""Beginning of the name of a frozen fact that holds the text of a reflection's requests, from which a refusal makes
its diff. Run directories of earlier releases have none."""


def stage_facts(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return the facts of the stages that readers of a finished run need.

    These are the id by which decisions and failures name each stage, its name and label for people, the metrics that it
    reads and the bounds that it compares them with. They describe the pipeline as it was run, whichever form the config
    used: a name, the short or the long form.
    """
    return [
        {
            "id": step.id,
            "name": step.name,
            "label": step.label,
            "needs": list(step.stage.needs),
            "bounds": {metric: asdict(bounds, filter=_given_only) for metric, bounds in step.bounds.items()},
        }
        for step in steps
    ]


def _given_only(_: object, value: object) -> bool:
    return value is not None


def reflection_facts(steps: Iterable[Step]) -> dict[str, str]:
    """Return two facts of each question in use: the text of its requests, and a digest of them for a fixed pair.

    The first question of a name has facts of that name alone, as in run directories of earlier releases; a later one
    that is called alike has the id of its stage too.

    Raises:
        PluginError: a question cannot render a request for that pair.
        ConfigError: several answers are asked for to equal requests.
    """
    facts: dict[str, str] = {}
    for step in steps:
        asked = {name: one for name, one in step.stage.reflections.items() if is_asked(one, PROBE)}
        for name, question in asked.items():
            called = name if f"reflection {name}" not in facts else f"{name} of {step.id}"
            digest_of_all = _asked(step, name, question)
            # The text comes first, since a refusal lists differences in this order, and its diff says more.
            with suppress(Exception):  # a question may refuse conversations; then each such sample fails by itself
                facts[f"{REQUEST_OF}{called}"] = _request_text(question)
            facts[f"reflection {called}"] = digest_of_all
    return facts


def _asked(step: Step, name: str, question: Question[Any]) -> str:
    """Return the digest of the requests that a question renders, structured or not, at first and after a failure."""
    try:
        requests = [rendered(question, PROBE, *way) for way in _WAYS]
    except RtError:
        raise
    except Exception as error:
        raise PluginError(f"reflection '{name}' cannot ask about a plain pair: {described(error)}") from error
    try:
        further = list(_further(question, PROBE))
    except RtError:
        raise
    except Exception as error:
        raise PluginError(f"reflection '{name}' cannot go on after a plain answer: {described(error)}") from error
    if any(asking.draw for asking in step.asks) and not requests[0].sampling.temperature:
        raise ConfigError(
            f"stage '{step.name}' draws several answers at temperature 0, which would all be alike: "
            f"give the reflection a temperature, such as {{{name}: {{temperature: 0.8}}}}"
        )
    return digest(keyed([*requests, *further]))


def _further(question: Question[Any], pair: Pair) -> Iterator[Request]:
    """Yield the requests with which conversations about a pair go on, after answers that are made up.

    A question may want other answers before it goes on; then its further requests are no part of the facts.
    """
    for index, structured in _WAYS:
        first: Request = rendered(question, pair, index, structured)
        schema = first.schema or rendered(question, pair, index, True).schema
        further = followed(question, pair, first, first, probe_answer(pair, first, schema))
        while further is not None:
            yield further
            further = followed(question, pair, first, further, probe_answer(pair, further, further.schema or schema))


def _request_text(question: Question[Any]) -> str:
    """Return the lines of all requests about a pair with every text, each different line once."""
    requests = [*(rendered(question, _PROBE_WITH_ALL, *way) for way in _WAYS), *_further(question, _PROBE_WITH_ALL)]
    return "\n".join(dict.fromkeys(line for request in requests for line in _request_lines(request)))


def _request_lines(request: Request) -> Iterator[str]:
    for turn in request.messages:
        yield from turn.content.split("\n")
    yield from (f"{name}: {value}" for name, value in asdict(request.sampling).items())
    yield f"schema: {json.dumps(request.schema)}"

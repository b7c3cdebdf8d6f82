"""The common part of all reflections: rendering of a request and strict parsing of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from rt_framework.builtin.reflections.guards import Rewrite, objection
from rt_framework.builtin.reflections.parsing import read
from rt_framework.builtin.reflections.prompts import Task, own_texts, question
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.kit.fences import token_of
from rt_framework.model import Pair, Reply, Request, Sampling, Turn, Unparsed


class Reflecting:
    """A reflection that a subclass defines by its task and the parts that it rewrites."""

    task: Task
    rewrites: Sequence[str]

    def __init__(self, settings: ReflectionSettings) -> None:
        self._settings = settings

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request for the *index*-th answer. Later ones change temperature, seed and prompt."""
        own = self._settings
        sampling = Sampling(
            temperature=own.retry_temperature if index else own.temperature,
            max_tokens=own.max_tokens,
            seed=index or None,
        )
        user = question(self.task, pair, token_of(pair), index, structured)
        messages = (Turn("system", self.task.system), Turn("user", user))
        schema = _schema(tuple(self.task.parts)) if structured else None
        return Request(self.task.name, pair.hash, index, messages, sampling, schema)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:
        """Return the new pair, complete, or the reason why the answer cannot be used."""
        token = token_of(pair)
        answer = read(self.task, reply, token, structured=request.schema is not None)
        if isinstance(answer, Unparsed):
            return answer
        new = _rewritten(pair, answer)
        texts = tuple(answer[part] for part in self.rewrites)
        return objection(Rewrite(pair, new, texts, token, own_texts(self.task))) or new


def _rewritten(pair: Pair, answer: Mapping[str, str]) -> Pair:
    """Return the pair with the answer's parts. A new instruction stands alone, so the old input is dropped."""
    if "instruction" not in answer:
        return evolve(pair, response=answer["response"])
    return evolve(pair, instruction=answer["instruction"], input="", response=answer["response"])


def _schema(names: Sequence[str]) -> Mapping[str, Any]:
    """Return the JSON schema of the answer.

    The order of its properties matters: the critique is written before the rewrite that follows from it.
    """
    return {
        "type": "object",
        "properties": {name: {"type": "string", "minLength": 1} for name in names},
        "required": list(names),
        "additionalProperties": False,
    }

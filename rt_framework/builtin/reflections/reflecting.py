"""The common part of all reflections: rendering of a request and strict parsing of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve

from rt_framework.builtin.reflections.guards import Rewrite, objection
from rt_framework.builtin.reflections.prompts import Task, own_texts, question
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.kit.fences import token_of
from rt_framework.kit.form import sampling
from rt_framework.model import Pair, Reply, Request, Turn, Unparsed


class Reflecting:
    """A reflection that a subclass defines by its task and the parts that it rewrites."""

    task: Task
    rewrites: Sequence[str]

    def __init__(self, settings: ReflectionSettings) -> None:
        self._settings = settings

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request for the *index*-th answer. Later ones change temperature, seed and prompt."""
        own = self._settings
        user = question(self.task, pair, token_of(pair), index, structured)
        messages = (Turn("system", self.task.system), Turn("user", user))
        drawn = sampling(index, own.max_tokens, own.temperature, own.retry_temperature)
        schema = self.task.form.schema() if structured else None
        return Request(self.task.name, pair.hash, index, messages, drawn, schema)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:
        """Return the new pair, complete, or the reason why the answer cannot be used."""
        token = token_of(pair)
        answer = self.task.form.read(reply, token, structured=request.schema is not None)
        if isinstance(answer, Unparsed):
            return answer
        new = _rewritten(pair, answer.texts)
        texts = tuple(answer.texts[part] for part in self.rewrites)
        return objection(Rewrite(pair, new, texts, token, own_texts(self.task))) or new


def _rewritten(pair: Pair, texts: Mapping[str, str]) -> Pair:
    """Return the pair with the texts of an answer. A new instruction stands alone, so the old input is dropped."""
    if "instruction" not in texts:
        return evolve(pair, response=texts["response"])
    return evolve(pair, instruction=texts["instruction"], input="", response=texts["response"])

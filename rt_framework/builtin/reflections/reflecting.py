"""The common part of all reflections: rendering of a request and strict parsing of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from rt_framework.builtin.reflections.guards import Proposal, objection
from rt_framework.builtin.reflections.prompts import Prompt
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.kit.fences import token_of
from rt_framework.kit.form import Answer, sampling
from rt_framework.model import Pair, Range, Reply, Request, Rewrite, Turn, Unparsed


class Reflecting:
    """A reflection that asks by a prompt.

    Args:
        name: name of the reflection in its requests.
        prompt: the question.
        settings: sampling parameters.
        in_conversation: the question about a pair with earlier turns, if it is another one of the same form.
    """

    def __init__(
        self, name: str, prompt: Prompt, settings: ReflectionSettings, in_conversation: Prompt | None = None
    ) -> None:
        self._name = name
        self._prompt = prompt
        self._in_conversation = in_conversation or prompt
        self._settings = settings
        self.provides: Mapping[str, Range] = {
            name: Range(at_least=min(part.numbers), at_most=max(part.numbers))
            for name, part in prompt.form.parts.items()
            if part.numbers
        }
        changed = ("instruction" if text == "input" else text for text in prompt.rewrites)
        self.rewrites: Sequence[str] = tuple(dict.fromkeys(changed))

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request for the *index*-th answer. Later ones change temperature, seed and prompt."""
        own = self._settings
        prompt = self._prompt_for(pair)
        user = prompt.question(pair, token_of(pair), index, structured)
        messages = (Turn("system", prompt.system), Turn("user", user))
        drawn = sampling(index, own.max_tokens, own.temperature, own.retry_temperature)
        schema = self._prompt.form.schema() if structured else None
        return Request(self._name, pair.hash, index, messages, drawn, schema)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Rewrite | Unparsed:
        """Return the new pair, complete and with the numbers of the answer, or why the answer cannot be used."""
        token = token_of(pair)
        answer = self._prompt.form.read(reply, token, structured=request.schema is not None)
        if isinstance(answer, Unparsed):
            return answer
        new = self._rewritten(pair, answer)
        texts = tuple(answer.texts[part] for part in self._prompt.rewrites.values())
        return objection(Proposal(pair, new, texts, token, self._prompt_for(pair).own_texts)) or (
            Rewrite(new, answer.numbers) if answer.numbers else new
        )

    def _prompt_for(self, pair: Pair) -> Prompt:
        return self._in_conversation if pair.history else self._prompt

    def _rewritten(self, pair: Pair, answer: Answer) -> Pair:
        """Return the pair with the texts of an answer."""
        texts: dict[str, Any] = {target: answer.texts[part] for target, part in self._prompt.rewrites.items()}
        if "instruction" in texts:  # a new instruction stands alone, so the old input is dropped
            texts.setdefault("input", "")
        return evolve(pair, **texts)

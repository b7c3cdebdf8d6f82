"""The plain question: the sample's own conversation, whose answer becomes the response."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from rt_framework.builtin.reflections.settings import AnswerSettings
from rt_framework.kit.form import incomplete, sampling
from rt_framework.model import Pair, Reply, Request, Unparsed


class AnswerReflection:
    """Reflection that asks what the user of the conversation asks, without a critique or a form.

    The answer is taken as it is, so that it shows how the model answers: no guard judges it.

    Args:
        settings: sampling parameters.
    """

    rewrites: Sequence[str] = ("response",)

    def __init__(self, settings: AnswerSettings) -> None:
        self._settings = settings

    def render(self, pair: Pair, index: int, structured: bool) -> Request:  # noqa: ARG002 - an answer has no form
        """Return the system prompt, the earlier turns, and the instruction followed by its input."""
        own = self._settings
        drawn = sampling(index, own.max_tokens, own.temperature, own.retry_temperature)
        return Request("answer", pair.hash, index, pair.before, drawn)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:  # noqa: ARG002
        """Return the pair with the answer as its response, or why there is none."""
        ended = evolve(reply, finish_reason="stop") if self._keeps(reply) else reply
        return incomplete(ended) or evolve(pair, response=reply.text.strip())

    def _keeps(self, reply: Reply) -> bool:
        return self._settings.keep_cut and reply.finish_reason == "length"

"""A question in steps, for runs with fake teachers and with servers."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from rt_framework import Pair, Reply, Request, Turn, Unparsed
from rt_framework.kit.fences import token_of
from rt_framework.kit.form import Form, Part, sampling

FORM = Form({"response": Part("the new response")})


@frozen
class RoundsSettings:
    """Options of ``rounds``."""

    steps: int = 3
    """Most requests."""
    words: str = "Improve it once more, in the same form."
    """What the further requests say."""
    temperature: float = 0.0


class Rounds:
    """Asks for a better response and then for a better one than that; the last one counts."""

    rewrites = ("response",)

    def __init__(self, settings: RoundsSettings) -> None:
        self._settings = settings
        self.steps = settings.steps

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """The pair as it is, and the form."""
        user = "\n\n".join([pair.question, pair.response, *FORM.ask(token_of(pair), index, structured)])
        asked = sampling(index, first=self._settings.temperature, max_tokens=256)
        return Request("rounds", pair.hash, index, (Turn("user", user),), asked, FORM.schema() if structured else None)

    def follow(self, pair: Pair, request: Request, reply: Reply) -> Request | None:
        """As long as there are steps and answers that can be read."""
        if request.step + 1 == self._settings.steps or isinstance(self._read(pair, request, reply), Unparsed):
            return None
        return request.then(reply, self._settings.words)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Any:
        """The last answer, with the number of those before it."""
        answer = self._read(pair, request, reply)
        if isinstance(answer, Unparsed):
            return answer
        return evolve(pair, response=f"{answer.texts['response']} After {len(request.said)} others.")

    def _read(self, pair: Pair, request: Request, reply: Reply) -> Any:
        return FORM.read(reply, token_of(pair), request.schema is not None)

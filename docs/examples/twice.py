"""A reflection in steps: a solution and its result, asked for twice, and kept if both results agree."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from rt_framework import Pair, Reply, Request, Turn, Unparsed, hookimpl
from rt_framework.hookspecs import Register
from rt_framework.kit.fences import earlier, fenced_question, token_of
from rt_framework.kit.form import Form, Part, sampling

_FORM = Form({"response": Part("the solution, step by step"), "result": Part("the result alone")})
_AGAIN = "Solve it again in another way, without relying on the first solution. Answer in the same form."


class Twice:
    """Solves the task, and solves it once more in the same conversation."""

    rewrites: Sequence[str] = ("response",)
    steps = 2

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the first request."""
        token = token_of(pair)
        texts = [*earlier(pair, token), *fenced_question(pair, token), *_FORM.ask(token, index, structured)]
        turns = (Turn("user", "\n\n".join(["Solve this task.", *texts])),)
        return Request("twice", pair.hash, index, turns, sampling(index), _FORM.schema() if structured else None)

    def follow(self, pair: Pair, request: Request, reply: Reply) -> Request | None:
        """Return the second request; an answer that cannot be read ends the conversation."""
        unread = isinstance(_FORM.read(reply, token_of(pair), request.schema is not None), Unparsed)
        return None if request.step or unread else request.then(reply, _AGAIN)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:
        """Return the pair with the second solution, if both have one result."""
        replies = (*map(Reply, request.said), reply)
        answers = [_FORM.read(one, token_of(pair), request.schema is not None) for one in replies]
        read = [answer for answer in answers if not isinstance(answer, Unparsed)]
        if len(read) < self.steps:
            return next(answer for answer in answers if isinstance(answer, Unparsed))
        if len({answer.texts["result"] for answer in read}) > 1:
            return Unparsed("format", "the two results differ")
        return evolve(pair, response=read[-1].texts["response"])


@hookimpl
def rt_register_reflections(register: Register) -> None:
    """Offer ``twice``."""
    register("twice", "twice:Twice", help="a solution whose result was found twice")

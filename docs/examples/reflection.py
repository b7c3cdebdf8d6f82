"""A reflection: the response in plain words. One question to the teacher, and the strict reading of its answer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import evolve

from rt_framework import Pair, Reply, Request, Sampling, Turn, Unparsed, hookimpl
from rt_framework.hookspecs import Register

_SYSTEM = "You rewrite answers in plain words for a reader of twelve. Keep every fact."
_SCHEMA = {
    "type": "object",
    "properties": {"response": {"type": "string"}},
    "required": ["response"],
    "additionalProperties": False,
}


class Plain:
    """Asks for JSON and accepts no other form, whether or not the teacher supports schemas."""

    rewrites: Sequence[str] = ("response",)

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request. A later request differs from an earlier one by its temperature and seed."""
        example = json.dumps({"question": pair.question, "answer": pair.response}, ensure_ascii=False)
        form = 'Answer with one JSON object with the single key "response" and nothing else.'
        return Request(
            reflection="plain",
            pair_hash=pair.hash,
            index=index,
            messages=(Turn("system", _SYSTEM), Turn("user", f"{example}\n\n{form}")),
            sampling=Sampling(temperature=0.7 if index else 0.0, seed=index or None),
            schema=_SCHEMA if structured else None,
        )

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:
        """Return the pair with its new response, or the reason why the answer cannot be used."""
        if reply.finish_reason == "length":
            return Unparsed("truncated", "the answer was cut off by the token limit")
        try:
            answer = json.loads(reply.text)
        except (ValueError, RecursionError):
            return Unparsed("format", "the answer is not JSON")
        if not isinstance(answer, dict) or set(answer) != {"response"} or not isinstance(answer["response"], str):
            return Unparsed("format", "the answer is not an object with the single key response")
        text = answer["response"].strip()
        return evolve(pair, response=text) if text else Unparsed("empty", "the new response is empty")


@hookimpl
def rt_register_reflections(register: Register) -> None:
    """Offer ``plain``."""
    register("plain", "reflection:Plain", help="the response in plain words")

"""A good reflection and broken ones."""

from __future__ import annotations

import itertools
import json
from types import MappingProxyType
from typing import Any

from attrs import evolve

from rt_framework import Pair, Range, Request, Rewrite, Sampling, Turn, Unparsed
from rt_framework.testing.contracts import ReflectionContract
from tests.testing_kit.making import good, mutant

_SCHEMA = {"type": "object", "properties": {"response": {"type": "string"}}}
_UNREAD = Unparsed("format", "not the form asked for")


@good(ReflectionContract)
class Better:
    rewrites: Any = ("response",)

    def render(self, pair, index, structured):
        turn = Turn("user", f"Improve: {pair.question} {pair.response}")
        schema = _SCHEMA if structured else None
        return Request("better", pair.hash, index, (turn,), Sampling(temperature=index / 2), schema)

    def parse(self, pair, request, reply):
        if reply.finish_reason == "length":
            return Unparsed("truncated", "cut off")
        try:
            answer = json.loads(reply.text, object_pairs_hook=lambda items: dict(items) if len(items) == 1 else None)
            text = answer["response"].strip()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return _UNREAD
        return evolve(pair, response=text) if text else _UNREAD


@good(ReflectionContract)
class BetterTwice(Better):
    """Asks for a better answer once more; the last one counts."""

    steps = 2

    def follow(self, pair, request, reply):
        if request.step or isinstance(self.parse(pair, request, reply), Unparsed):
            return None
        return request.then(reply, "Improve it once more.")


@mutant(ReflectionContract, "test_a_conversation_keeps_its_bounds")
class Endless(BetterTwice):
    def follow(self, pair, request, reply):
        return super().follow(pair, evolve(request, step=0), reply)


@mutant(ReflectionContract, "test_a_conversation_keeps_its_bounds")
class Boundless(BetterTwice):
    steps: Any = None


@mutant(ReflectionContract, "test_a_conversation_keeps_its_bounds")
class Forgetful(BetterTwice):
    """Begins a conversation of its own."""

    def follow(self, pair, request, reply):
        further = super().follow(pair, request, reply)
        return further and evolve(further, messages=further.messages[-1:])


@mutant(ReflectionContract, "test_a_conversation_keeps_its_bounds")
class Wordy(BetterTwice):
    """Says more than the quote has room for."""

    def follow(self, pair, request, reply):
        further = super().follow(pair, request, reply)
        return further and evolve(further, messages=(*further.messages, Turn("user", "Do it well. " * 1000)))


@mutant(ReflectionContract, "test_a_conversation_keeps_its_bounds")
class Longer(BetterTwice):
    def follow(self, pair, request, reply):
        further = super().follow(pair, request, reply)
        return further and evolve(further, sampling=evolve(further.sampling, max_tokens=10**5))


@mutant(ReflectionContract, "test_following_is_pure")
class Counting(BetterTwice):
    calls = itertools.count()

    def follow(self, pair, request, reply):
        further = super().follow(pair, request, reply)
        return further and request.then(reply, f"Improve it, as I asked {next(self.calls)} times.")


@mutant(ReflectionContract, "test_no_request_follows_an_empty_answer")
class Insisting(BetterTwice):
    def follow(self, pair, request, reply):
        return None if request.step else request.then(reply, "Improve it once more.")


@good(ReflectionContract)
class Marked(Better):
    """Gives each new response a score of its own."""

    provides: Any = MappingProxyType({"words": Range(at_least=1)})

    def parse(self, pair, request, reply):
        new = super().parse(pair, request, reply)
        return Rewrite(new, {"words": float(len(new.response.split()))}) if isinstance(new, Pair) else new


@mutant(ReflectionContract, "test_scores_of_an_answer_are_declared")
class Undeclared(Marked):
    provides = MappingProxyType({})


@mutant(ReflectionContract, "test_rewrites_name_parts")
class Everything(Better):
    rewrites = ("response", "everything")


@mutant(ReflectionContract, "test_rendering_is_pure")
class Numbered(Better):
    calls = itertools.count()

    def render(self, pair, index, structured):
        request = super().render(pair, index, structured)
        return evolve(request, messages=(*request.messages, Turn("user", f"Question {next(self.calls)}.")))


@mutant(ReflectionContract, "test_rendering_is_pure")
class Encoding(Better):
    def render(self, pair, index, structured):
        pair.response.encode()
        return super().render(pair, index, structured)


@mutant(ReflectionContract, "test_another_process_asks_the_same")
class Hashing(Better):
    """Draws a seed for each pair, with a hash that Python salts anew in each process."""

    def render(self, pair, index, structured):
        request = super().render(pair, index, structured)
        return evolve(request, sampling=evolve(request.sampling, seed=hash(pair.instruction) % 2**31))


@mutant(ReflectionContract, "test_the_request_names_its_pair")
class OtherHash(Better):
    def render(self, pair, index, structured):
        return evolve(super().render(pair, index, structured), pair_hash=Pair(pair.instruction).hash)


@mutant(ReflectionContract, "test_a_later_request_differs")
class Same(Better):
    def render(self, pair, index, structured):
        return evolve(super().render(pair, index, structured), sampling=Sampling())


@mutant(ReflectionContract, "test_a_good_answer_is_read")
class Choosy(Better):
    def parse(self, pair, request, reply):
        return Unparsed("format", "never good enough")


@mutant(ReflectionContract, "test_only_what_it_rewrites_is_changed")
class Tidying(Better):
    def parse(self, pair, request, reply):
        new = super().parse(pair, request, reply)
        return evolve(new, system=None) if isinstance(new, Pair) else new


@mutant(ReflectionContract, "test_only_what_it_rewrites_is_changed")
class Lessening(Better):
    def parse(self, pair, request, reply):
        new = super().parse(pair, request, reply)
        return Pair(new.instruction, new.input, new.response) if isinstance(new, Pair) else new


@mutant(ReflectionContract, "test_parsing_is_pure")
class Alternating(Better):
    def __init__(self):
        self.calls = 0

    def parse(self, pair, request, reply):
        self.calls += 1
        new = super().parse(pair, request, reply)
        return evolve(new, response=f"{new.response} {self.calls}") if isinstance(new, Pair) else new


@mutant(ReflectionContract, "test_a_cut_off_answer_is_not_read")
class Patient(Better):
    def parse(self, pair, request, reply):
        return super().parse(pair, request, evolve(reply, finish_reason="stop"))


@mutant(ReflectionContract, "test_an_empty_answer_is_not_read")
class Content(Better):
    def parse(self, pair, request, reply):
        return super().parse(pair, request, reply) if reply.text.strip() else pair


@mutant(ReflectionContract, "test_an_echo_is_not_read")
class Echoing(Better):
    def parse(self, pair, request, reply):
        if reply.text.startswith("Improve: "):
            return evolve(pair, response=reply.text)
        return super().parse(pair, request, reply)


@mutant(ReflectionContract, "test_a_refusal_is_not_read")
class Trusting(Better):
    def parse(self, pair, request, reply):
        return (
            evolve(pair, response=reply.text) if reply.text.startswith("I'm") else super().parse(pair, request, reply)
        )


@mutant(ReflectionContract, "test_awkward_answers_never_raise")
class Shallow(Better):
    def parse(self, pair, request, reply):
        if reply.text == "null":
            raise TypeError("no object")
        return super().parse(pair, request, reply)


@mutant(ReflectionContract, "test_what_is_not_read_has_a_known_kind")
class Inventing(Better):
    def parse(self, pair, request, reply):
        found = super().parse(pair, request, reply)
        return Unparsed("odd", "what is this?") if found == _UNREAD else found

"""The contract of reflections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

from attrs import evolve

from rt_framework.errors import KINDS
from rt_framework.model import Pair, Reply, Request, Rewrite, Turn, Unparsed
from rt_framework.teacher import followed
from rt_framework.testing.awkward import awkward_pairs, awkward_replies
from rt_framework.testing.contracts.base import PluginContract, outcome
from rt_framework.testing.fakes import rewriting

_PAIR = Pair(
    "Name a river.", "In one line.", "The Rhine.", "You are brief.", (Turn("user", "Hi."), Turn("assistant", "Hello."))
)
_REFUSAL = "I'm sorry, but I can't help with that."
_PARTS = {"instruction": ("instruction", "input"), "response": ("response",)}
"""Fields of a pair that belong to each part: a new instruction may absorb the input."""


class ReflectionContract(PluginContract):
    """Contract of a reflection: a question to the teacher, and the strict reading of its answer."""

    kind = "reflections"

    def good_reply(self, request: Request) -> str:
        """Return a good answer to a structured request.

        Override it if the answer is no flat JSON object of texts and of values that the schema lists.

        Raises:
            SkipTest: the request has a schema that this default cannot serve.
        """
        try:
            return rewriting(request)
        except (KeyError, TypeError) as error:
            raise SkipTest(f"the schema is not known here ({error}); override good_reply(request)") from None

    # --- the question -------------------------------------------------------------------------

    def test_rewrites_name_parts(self) -> None:
        """``rewrites`` lists ``instruction``, ``response`` or both."""
        rewrites = self.make().rewrites
        good = not isinstance(rewrites, str) and rewrites and set(rewrites) <= set(_PARTS)
        assert good, f"expected rewrites to list instruction, response or both, found {rewrites!r}"

    def test_rendering_is_pure(self) -> None:
        """The same pair gives the same request, asked again and by another instance; no pair makes it raise."""
        reflection, other = self.make(), self.make()
        for pair in (_PAIR, *awkward_pairs()):
            for structured in (True, False):
                requests = [
                    outcome(instance.render, pair, 0, structured) for instance in (reflection, reflection, other)
                ]
                assert isinstance(requests[0], Request), f"render gave {requests[0]!r:.200} for {pair!r:.200}"
                assert requests[0] == requests[1] == requests[2], (
                    f"render gave two different requests for {pair!r:.200}; a resumed run would pay again: "
                    "use nothing but the pair and the index"
                )

    def rendered(self) -> list[str]:
        """Return the requests about some pairs, as digests."""
        reflection = self.make()
        pairs, indexes = (_PAIR, *awkward_pairs()), (0, 1)
        requests = [
            outcome(reflection.render, pair, index, structured)
            for pair in pairs
            for index in indexes
            for structured in (True, False)
        ]
        if hasattr(reflection, "follow"):
            first = self._request()
            requests += [outcome(reflection.follow, _PAIR, first, reply) for reply in self._replies(first)]
        return [hashlib.sha256(repr(request).encode("utf-8", "backslashreplace")).hexdigest() for request in requests]

    def test_another_process_asks_the_same(self) -> None:
        """Another process renders the same requests, because a resumed run must find the answers that were paid for."""
        digests = self.rendered()
        if digests != self.rendered():
            raise SkipTest("it renders another request each time")
        assert digests == self.elsewhere("rendered"), (
            "another process renders other requests for the same pairs; hash() of a text and the order of a set differ "
            "there: use hashlib, and sort"
        )

    def test_the_request_names_its_pair(self) -> None:
        """A request carries the hash of its pair, its index, and the reflection's name."""
        for index in (0, 1):
            request = self._request(index)
            identity = (request.pair_hash, request.index, bool(request.reflection))
            assert identity == (_PAIR.hash, index, True), (
                f"expected pair_hash {_PAIR.hash}, index {index} and a name, found {request.pair_hash}, "
                f"{request.index} and {request.reflection!r}"
            )

    def test_a_later_request_differs(self) -> None:
        """The request after an unusable answer differs from the one before it."""
        sent = [evolve(self._request(index), index=0) for index in range(3)]
        for index, request in enumerate(sent[1:], 1):
            assert request != sent[0], f"request {index} equals the first one; vary temperature, seed or prompt"

    # --- further requests ---------------------------------------------------------------------

    def test_a_conversation_keeps_its_bounds(self) -> None:
        """A question in steps goes on with its conversation and ends within ``steps``, whatever is answered."""
        question = self._in_steps()
        for structured in (True, False):
            first = self._request(structured=structured)
            for reply in self._replies(first):
                further: Any = first
                while isinstance(further, Request):
                    further = outcome(followed, question, _PAIR, first, further, reply)
                assert further is None, f"after the answer {reply.text!r:.100} follow gave {further}"

    def test_following_is_pure(self) -> None:
        """The same answer leads to the same further request, asked again and by another instance."""
        question, other, first = self._in_steps(), self.make(), self._request()
        for reply in self._replies(first):
            said = [outcome(one.follow, _PAIR, first, reply) for one in (question, question, other)]
            assert said[0] == said[1] == said[2], (
                f"the answer {reply.text!r:.100} led to {said[0]!r:.200}, then to {said[1]!r:.200}; a resumed run "
                "would pay again: use nothing but the arguments"
            )

    def test_no_request_follows_an_empty_answer(self) -> None:
        """After an answer without text the conversation ends, because many providers refuse an empty turn."""
        question, first = self._in_steps(), self._request()
        for text in ("", "  \n\t "):
            further = outcome(question.follow, _PAIR, first, Reply(text))
            assert further is None, (
                f"an empty answer was followed by {further!r:.200}; return None, and let parse refuse"
            )

    # --- the answer ---------------------------------------------------------------------------

    def test_a_good_answer_is_read(self) -> None:
        """A good answer is parsed into a pair, or into a ``Rewrite``: a pair with scores."""
        read = self._parse(self._good())
        assert isinstance(read, Pair | Rewrite), (
            f"expected a Pair from {self._good().text!r:.300}, found {read!r}; where the answer has another form, "
            "override good_reply(request)"
        )

    def test_scores_of_an_answer_are_declared(self) -> None:
        """A ``Rewrite`` has only scores that ``provides`` names; with another one its sample would fail."""
        read, provides = self._parse(self._good()), getattr(self.make(), "provides", {})
        if not isinstance(read, Rewrite):
            raise SkipTest("its answers have no scores")
        undeclared = ", ".join(sorted(read.scores.keys() - provides.keys()))
        assert not undeclared, f"an answer has the score {undeclared}, which provides does not name; declare its range"

    def test_only_what_it_rewrites_is_changed(self) -> None:
        """The new pair differs from the old one only in the parts that ``rewrites`` names."""
        rewrite = _pair(self._parse(self._good()))
        if rewrite is None:
            raise SkipTest("a good answer is not read")
        parts = [field for part in self.make().rewrites for field in _PARTS.get(part, ())]
        for field in ("instruction", "input", "response", "system", "history"):
            before, after = getattr(_PAIR, field), getattr(rewrite, field)
            assert field in parts or before == after, (
                f"{field} changed from {before!r} to {after!r}, and rewrites does not name it; use attrs.evolve"
            )

    def test_parsing_is_pure(self) -> None:
        """The same answer is parsed in the same way again, and by another instance."""
        reflection, other, request = self.make(), self.make(), self._last()
        for reply in (self._good(), Reply("no form at all")):
            read = [outcome(instance.parse, _PAIR, request, reply) for instance in (reflection, reflection, other)]
            assert read[0] == read[1] == read[2], f"the same answer was read as {read[0]!r}, then as {read[1]!r}"

    def test_a_cut_off_answer_is_not_read(self) -> None:
        """An answer that ended at the token limit is not used, even if it looks complete."""
        self._refused(evolve(self._good(), finish_reason="length"), "was cut off (finish_reason length)")

    def test_an_empty_answer_is_not_read(self) -> None:
        """An empty answer, or one of white space only, is not used."""
        for text in ("", "  \n\t "):
            self._refused(Reply(text), "is empty")

    def test_an_echo_is_not_read(self) -> None:
        """An answer that repeats the prompt is not used."""
        for structured in (True, False):
            turns = [turn.content for turn in self._last(structured).messages]
            for text in (turns[-1], "\n".join(turns)):
                self._refused(Reply(text), "is the prompt again", structured)

    def test_a_refusal_is_not_read(self) -> None:
        """An answer in which the teacher declines is not used."""
        for structured in (True, False):
            self._refused(Reply(_REFUSAL), "is a refusal", structured)

    def test_awkward_answers_never_raise(self) -> None:
        """Every answer gives a pair or a reason; an exception would stop the run."""
        for reply, structured in self._awkward():
            try:
                parsed = self.make().parse(_PAIR, self._last(structured), reply)
            except Exception as error:
                raise AssertionError(
                    f"parse raised {type(error).__name__}: {error!s:.200} for {reply.text!r:.100}; return Unparsed"
                ) from error
            assert isinstance(parsed, Pair | Rewrite | Unparsed), (
                f"expected a Pair, a Rewrite or Unparsed, found {parsed!r:.200}"
            )

    def test_what_is_not_read_has_a_known_kind(self) -> None:
        """``Unparsed`` has a known kind of failure and a reason."""
        for reply, structured in self._awkward():
            parsed = self._parse(reply, structured)
            if isinstance(parsed, Unparsed):
                assert parsed.kind in KINDS and parsed.reason, (
                    f"expected a kind and a reason, found {parsed!r}; kinds: truncated, empty, format, refused"
                )

    def _request(self, index: int = 0, structured: bool = True) -> Request:
        request: Any = outcome(self.make().render, _PAIR, index, structured)
        if not isinstance(request, Request):
            raise SkipTest(f"render gives no request: {request!r}")
        return request

    def _last(self, structured: bool = True) -> Request:
        """Return the last request of a conversation with good answers: the first one, unless it has steps."""
        question, first = self.make(), self._request(structured=structured)
        further: Any = first
        while isinstance(further, Request):
            last = further
            further = outcome(followed, question, _PAIR, first, last, Reply(self.good_reply(last)))
        return last

    def _in_steps(self) -> Any:
        question = self.make()
        if not hasattr(question, "follow"):
            raise SkipTest("it has no follow: each answer stands alone")
        return question

    def _replies(self, request: Request) -> list[Reply]:
        return [Reply(self.good_reply(request)), Reply(_REFUSAL), *awkward_replies()]

    def _good(self) -> Reply:
        return Reply(self.good_reply(self._last()))

    def _parse(self, reply: Reply, structured: bool = True) -> Any:
        return outcome(self.make().parse, _PAIR, self._last(structured), reply)

    def _refused(self, reply: Reply, what: str, structured: bool = True) -> None:
        parsed = self._parse(reply, structured)
        assert _pair(parsed) is None, f"an answer that {what} was accepted as {parsed!r:.200}; return Unparsed"

    def _awkward(self) -> Iterator[tuple[Reply, bool]]:
        good = self._good().text
        odd = [Reply(text) for text in (good[: len(good) // 2], f"Sure: {good}", good + good, f"```json\n{good}\n```")]
        return ((reply, structured) for reply in (*awkward_replies(), *odd) for structured in (True, False))


def _pair(parsed: object) -> Pair | None:
    """Return the pair that was read from an answer, with scores or without."""
    read = parsed.pair if isinstance(parsed, Rewrite) else parsed
    return read if isinstance(read, Pair) else None

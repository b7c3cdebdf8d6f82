"""The contract of students."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from operator import mul
from typing import Any
from unittest import SkipTest

from attrs import evolve

from rt_framework.model import Reply, Request, Sampling, Turn, digest
from rt_framework.protocols import EmbeddingStudent, GeneratingStudent, TurnStudent, answers_served, is_served
from rt_framework.spans import EncodedSpan, Span, SpanLoss
from rt_framework.testing.awkward import awkward_pairs, typed_spans
from rt_framework.testing.contracts.base import PluginContract, fresh, outcome
from rt_framework.testing.contracts.loop import each, run

_LOADED: dict[tuple[str, str, str], Any] = {}
"""The student that is being checked, by plugin, name and options; never more than one."""

_TEXTS = (
    "A cork, a leaf and a boat float on water.",
    "Two of them float.",
    "The Rhine flows through Switzerland, Germany and the Netherlands before it reaches the sea.",
    "Blue, white and red.",
)
_ASKED = "Name things that float. "
_SCHEMA = {"type": "object", "properties": {"floats": {"enum": ["yes", "no"]}}, "required": ["floats"]}
_LOOK = """\
import json, sys
from rt_framework.config.builder import Builder
from rt_framework.testing.contracts.base import load
made = Builder(load(sys.argv[1]))("students", sys.argv[2], json.loads(sys.argv[3]))
found = made.fingerprint
print("\\n" + json.dumps([found, sorted({"torch", "litellm", "datasets"} & set(sys.modules))]))
"""


class StudentContract(PluginContract):
    """Contract of a student: texts become token ids, and token ids become losses."""

    kind = "students"
    tolerance: float = 1e-5
    """Nats per token by which a loss may differ with the other sequences of its batch, because of float noise."""

    def student(self) -> Any:
        """Return one student for all checks with these options, since a model takes long to load."""
        key = (self.plugin, self.name, repr(self.options))
        if key not in _LOADED:
            _LOADED.clear()
            _LOADED[key] = self.make()
        return _LOADED[key]

    def test_the_fingerprint_is_a_name(self) -> None:
        """``fingerprint`` is a text, and the same for two instances."""
        fingerprint, other = self.make().fingerprint, self.make().fingerprint
        assert isinstance(fingerprint, str) and fingerprint.strip(), (
            f"expected a fingerprint in words, found {fingerprint!r}"
        )
        assert fingerprint == other, (
            f"two instances with the same options have the fingerprints {fingerprint!r} and {other!r}: losses would "
            "never be found again; make it of weights, tokenizer, number format and encoding alone"
        )

    def test_the_fingerprint_loads_no_model(self) -> None:
        """Reading ``fingerprint`` loads no model, because a resumed run may need none."""
        self.make()
        fingerprint, loaded = json.loads(fresh(_LOOK, self.plugin, self.name, json.dumps(self.options)))
        assert not loaded, (
            f"reading the fingerprint {fingerprint!r} imports {', '.join(loaded)}; load the model at the first score"
        )

    def test_each_span_is_encoded_or_says_why_not(self) -> None:
        """Each span gets one result, in order: token ids, or a loss without a number that has a status and a reason."""
        spans = self._awkward()
        encoded: Any = outcome(self.student().encode, spans)
        assert isinstance(encoded, Sequence), (
            f"encode raised {encoded} for awkward texts; give a SpanLoss with a status"
        )
        assert len(encoded) == len(spans), f"{len(spans)} spans were given {len(encoded)} answers"
        for span, encoding in zip(spans, encoded, strict=True):
            if isinstance(encoding, SpanLoss):
                good = encoding.nll is None and encoding.status != "ok" and encoding.reason
                assert good, f"expected a loss without a number, with a status and a reason, found {encoding!r:.200}"
            else:
                self._check_ids(span, encoding)

    def test_no_target_is_empty(self) -> None:
        """A target without text has the status ``empty``."""
        (loss,) = self.student().encode([Span(_ASKED, "")])
        assert isinstance(loss, SpanLoss) and loss.status == "empty", f"expected status empty, found {loss!r:.200}"

    def test_two_passes_score_the_same_tokens(self) -> None:
        """With ``join='ids'`` the passes with and without a context have the same number of target tokens."""
        for text in _TEXTS[::2]:
            pairs = [Span(_ASKED, text, "ids", ""), Span("", text, "ids", _ASKED)]
            first, second = (self._encoded([span])[0] for span in pairs)
            counts = [len(encoded.positions) for encoded in (first, second)]
            assert counts[0] == counts[1], (
                f"the two passes over {text!r} score {counts[0]} and {counts[1]} tokens; leave the first one out of "
                "both where one of them has nothing before it"
            )

    def test_what_is_cut_is_counted(self) -> None:
        """A sequence keeps to ``max_tokens``, and ``cut`` is the number of target tokens that it lost at the end."""
        for span in (Span(_ASKED, text, join, by_token=True) for text in _TEXTS[::2] for join in ("text", "ids")):
            (whole,) = self._encoded([span])
            limit = len(whole.ids) - 2
            (short,) = self._encoded([evolve(span, max_tokens=limit)])
            assert len(short.ids) <= limit and short.ids == whole.ids[: len(short.ids)], (
                f"with max_tokens {limit} a sequence of {len(whole.ids)} tokens has {len(short.ids)}; cut it at the end"
            )
            lost = whole.cut + len(whole.positions) - len(short.positions)
            # Without losses of single tokens nothing is compared token by token.
            by_token = self._losses([short])[0].token_nll is not None
            assert short.cut == lost or not by_token, (
                f"with join '{span.join}' {lost} target tokens were left out, and cut says {short.cut}: "
                "two passes would be compared at other tokens"
            )

    def test_losses_are_finite(self) -> None:
        """Each sequence gets one loss: a finite, non-negative sum of nats over as many tokens as there are targets."""
        batch = self._encoded(self._plain())
        losses = self._losses(batch)
        assert len(losses) == len(batch), f"{len(batch)} sequences were given {len(losses)} losses"
        for span, loss in zip(batch, losses, strict=True):
            assert loss.nll is not None and math.isfinite(loss.nll) and loss.nll >= 0, (
                f"expected a finite sum of nats, found {loss.nll}; where there is none give the status nonfinite"
            )
            targets = len(span.positions)
            assert loss.tokens == targets, f"a sequence with {targets} target tokens has a loss over {loss.tokens}"

    def test_batch_mates_do_not_matter(self) -> None:
        """A sequence has the same loss alone, in a batch, and in another order."""
        batch = self._encoded(self._plain())
        together = self._losses(batch)
        turned = self._losses(batch[::-1])[::-1]
        for position, span in enumerate(batch):
            (alone,) = self._losses([span])
            for other, how in ((together[position], "in a batch"), (turned[position], "in another order")):
                gap = abs((alone.nll or 0) - (other.nll or 0)) / max(alone.tokens, 1)
                assert gap <= self.tolerance, (
                    f"a sequence has {alone.nll} nats alone and {other.nll} {how}; no padding or neighbour may be seen"
                )

    def test_losses_of_tokens_add_up(self) -> None:
        """Losses by token add up to the sum, with one loss and a rank of 1 or more for each target."""
        batch = self._encoded([evolve(span, by_token=True) for span in self._plain()])
        losses = self._losses(batch)
        if not any(loss.token_nll for loss in losses):
            raise SkipTest("it gives no losses of single tokens; metrics that need them will have no value")
        for loss in losses:
            nll, ranks = loss.token_nll or (), loss.token_ranks or ()
            assert len(nll) == len(ranks) == loss.tokens, (
                f"{loss.tokens} tokens, {len(nll)} losses and {len(ranks)} ranks"
            )
            gap = abs(math.fsum(nll) - (loss.nll or 0)) / max(loss.tokens, 1)
            assert gap <= 1e-4, f"the losses of tokens add up to {math.fsum(nll)}, not to {loss.nll}"
            assert min(ranks) >= 1, f"the likeliest token has rank 1; found {min(ranks)}"

    def test_parts_of_a_target_add_up(self) -> None:
        """The losses of disjoint parts that cover a target, of its tokens too, are those of the whole target."""
        for text in _TEXTS[:2]:
            span = Span(_ASKED, text, "ids", by_token=True)
            encoded, (all_of_it,) = self._of_parts(_with_parts(span)), self._encoded([span])
            assert encoded[0].positions == all_of_it.positions, (
                f"of a target that is scored as one part {len(encoded[0].positions)} tokens count, and without parts "
                f"{len(all_of_it.positions)}"
            )
            loss, *losses = self._losses(encoded)
            tokens, nats = sum(part.tokens for part in losses), math.fsum(part.nll or math.nan for part in losses)
            assert tokens == loss.tokens, (
                f"three parts that cover a target of {loss.tokens} tokens have {tokens}; a token counts where its "
                "first character that is no white space lies"
            )
            assert abs(nats - (loss.nll or math.nan)) <= 10 * self.tolerance * tokens, (
                f"three parts of a target have {nats} nats, and the whole has {loss.nll}; sum over the positions of "
                "the encoded span"
            )
            by_token = [nll for part in losses for nll in part.token_nll or ()]
            theirs = loss.token_nll or ()
            gaps = [abs(nll - other) for nll, other in zip(by_token, theirs, strict=False)]
            assert len(by_token) == len(theirs) and max(gaps, default=0) <= 10 * self.tolerance, (
                "the losses of single tokens in the parts are not those in the whole target; give those of the scored "
                "tokens, in order"
            )

    def test_no_scored_token_is_empty(self) -> None:
        """A target without a token in its scored part has the status ``empty``, as one without text has."""
        self._of_parts(_with_parts(Span(_ASKED, _TEXTS[0])))
        for part in ((), ((1, 2),)):
            (loss,) = self.student().encode([Span(_ASKED, "A cork", scored=part)])
            assert isinstance(loss, SpanLoss) and loss.status == "empty", (
                f"where no token of the target is scored, expected status empty, found {loss!r:.200}"
            )

    def test_two_passes_score_the_same_parts(self) -> None:
        """With ``join='ids'`` the passes with and without a context score the same tokens of a part, cut or not."""
        given = Span(_ASKED, _TEXTS[0], "ids", "", scored=((2, 9), (15, 41)))
        (whole,) = self._of_parts([given])
        for limit in (None, len(whole.ids) - 2):
            passes = [given, evolve(given, context="", paired_context=_ASKED)]
            encoded = self._of_parts([evolve(span, max_tokens=limit) for span in passes])
            scored = [[one.ids[position] for position in one.positions] for one in encoded]
            assert scored[0] == scored[1], (
                f"the two passes over parts of {_TEXTS[0]!r} score {len(scored[0])} and {len(scored[1])} tokens; cut "
                "and skip tokens as for the whole target, then take the scored ones"
            )

    def test_what_is_cut_of_parts_is_counted(self) -> None:
        """With parts of a target, ``cut`` is the number of their tokens that the sequence lost at its end."""
        for part in (((0, 10),), ((20, 41),)):
            span = Span(_ASKED, _TEXTS[0], "ids", scored=part, by_token=True)
            (whole,) = self._of_parts([span])
            (short,) = self._of_parts([evolve(span, max_tokens=len(whole.ids) - 2)])
            lost = len(whole.positions) - len(short.positions)
            assert short.cut == lost, (
                f"{lost} scored tokens were left out, and cut says {short.cut}: two passes would be compared at other "
                "tokens"
            )

    def test_answers_come_in_order(self) -> None:
        """A student that answers gives each request one ``Reply``, in order, which is the same alone and in a batch."""
        self._answering()
        requests = [_request(f"{_ASKED}{text}") for text in _TEXTS[:3]]
        replies = self._replies(requests)
        assert len(replies) == len(requests) and all(isinstance(reply, Reply) for reply in replies), (
            f"{len(requests)} requests were given {replies!r:.200}; give one Reply for each"
        )
        turned = self._replies(requests[::-1])[::-1]
        for request, reply, other in zip(requests, replies, turned, strict=True):
            (alone,) = self._replies([request])
            assert alone.text == reply.text == other.text, (
                f"a request is answered {alone.text!r} alone, {reply.text!r} in a batch and {other.text!r} in another "
                "order; keep replies in order, and let no neighbour or padding be seen"
            )

    def test_answers_keep_to_the_schema(self) -> None:
        """A student that is ``structured`` answers a request with a JSON schema by JSON of that schema."""
        student = self._answering()
        if not student.structured:
            raise SkipTest("it is not structured, so prompts ask for markers")
        (reply,) = self._replies([evolve(_request("Does a cork float?", 16), schema=_SCHEMA)])
        try:
            answer = json.loads(reply.text)
        except ValueError:
            answer = None
        assert isinstance(answer, dict) and answer.get("floats") in ("yes", "no"), (
            f"expected JSON of the schema, found {reply.text!r:.200}; set structured to False if nothing enforces it"
        )

    def test_answering_changes_no_loss(self) -> None:
        """A student has the same losses after it has answered, since both come from one model."""
        self._answering()
        (span,) = self._encoded([Span(_ASKED, _TEXTS[0], "ids", "")])
        (before,) = self._losses([span])
        self._replies([_request(_ASKED)])
        (after,) = self._losses([span])
        assert before.nll == after.nll, (
            f"a sequence has {before.nll} nats before an answer and {after.nll} after it; leave the model as it was"
        )

    def test_each_sequence_has_a_vector(self) -> None:
        """A student that embeds gives each sequence one vector, all of one length, of finite numbers."""
        student, batch = self._embedding(), self._encoded(self._plain())
        vectors = [list(vector) for vector in student.embed(batch)]
        lengths = {len(vector) for vector in vectors}
        assert len(vectors) == len(batch) and len(lengths) == 1 and lengths != {0}, (
            f"{len(batch)} sequences were given {len(vectors)} vectors of lengths {sorted(lengths)}"
        )
        assert all(math.isfinite(number) for vector in vectors for number in vector), (
            "a vector has numbers that are not finite"
        )

    def test_vectors_are_those_of_their_texts(self) -> None:
        """A sequence has the same vector alone and in a batch, in any order, and another target has another vector."""
        student, batch = self._embedding(), self._encoded(self._plain())
        together = student.embed(batch)
        turned = student.embed(batch[::-1])[::-1]
        for position, span in enumerate(batch):
            (alone,) = student.embed([span])
            size = max(map(abs, alone)) or 1.0
            for other, how in ((together[position], "in a batch"), (turned[position], "in another order")):
                gap = max(abs(x - y) for x, y in zip(alone, other, strict=True)) / size
                assert gap <= 10 * self.tolerance, (
                    f"a sequence has another vector {how} than alone; no padding or neighbour may be seen"
                )
        assert list(together[0]) != list(together[2]), "two targets have one vector; take the mean over the target"

    def test_vectors_of_parts_are_means_over_them(self) -> None:
        """The vectors of disjoint parts that cover a target have the target's vector as their mean over all tokens."""
        student = self._embedding()
        encoded = self._of_parts(_with_parts(Span(_ASKED, _TEXTS[0], "ids")))
        vector, *others = student.embed(encoded)
        tokens, *counts = (len(one.positions) for one in encoded)
        if sum(counts) != tokens or {len(vector)} != set(map(len, others)):
            raise SkipTest("its parts of a target do not add up, or its vectors have no common length")
        mean = [math.fsum(map(mul, counts, column)) / tokens for column in zip(*others, strict=True)]
        gap = max(abs(x - y) for x, y in zip(mean, vector, strict=True)) / (max(map(abs, vector)) or 1.0)
        assert gap <= 100 * self.tolerance, (
            "the vectors of three parts do not have the vector of the whole target as their mean; take the mean over "
            "the positions of the encoded span"
        )

    def _losses(self, batch: Sequence[EncodedSpan]) -> Sequence[SpanLoss]:
        """Return the losses of a batch, as core asks for them: of a student behind a server all at once."""
        student = self.student()
        return run(each(student, student.loss, batch)) if is_served(student) else student.score(batch)

    def _replies(self, requests: Sequence[Request]) -> Sequence[Reply]:
        student = self.student()
        if answers_served(student):
            return run(each(student, student.answer, requests))
        replies: Sequence[Reply] = student.generate(requests)
        return replies

    def _of_parts(self, spans: Sequence[Span]) -> list[EncodedSpan]:
        """Return the encodings of spans that name parts of their target."""
        encoded: Any = outcome(self.student().encode, list(spans))
        given = list(encoded) if isinstance(encoded, list | tuple) else []
        if any(getattr(one, "status", "") == "no_parts" or getattr(one, "scored", 0) is None for one in given):
            raise SkipTest("it scores no parts of a target; metrics that ask for them will have no value")
        assert given and all(isinstance(one, EncodedSpan) for one in given), f"parts of a target give {encoded!r:.200}"
        return given

    def _embedding(self) -> Any:
        student = self.student()
        if not isinstance(student, EmbeddingStudent):
            raise SkipTest("it gives no vectors, so no selector can read them")
        return student

    def _answering(self) -> Any:
        student = self.student()
        if not (answers_served(student) or isinstance(student, GeneratingStudent)):
            raise SkipTest("it answers no questions, so the teacher 'student' cannot ask it")
        return student

    def _check_ids(self, span: Span, encoded: EncodedSpan) -> None:
        least = 0 if span.count_only else 1
        assert least <= encoded.start < len(encoded.ids), (
            f"expected start from {least} to {len(encoded.ids) - 1}, found {encoded.start}: nothing predicts position 0"
        )
        assert encoded.count_only == span.count_only, (
            "count_only of the span is not that of its encoding; carry it over"
        )

    def _awkward(self) -> list[Span]:
        texts = [pair.response for pair in awkward_pairs()]
        messages = (Turn("user", "Name a river."),)
        spans = [Span(context, text, join) for text in texts for context in ("", _ASKED) for join in ("text", "ids")]
        typed = typed_spans() if isinstance(self.student(), TurnStudent) else []
        return [*spans, *typed, Span(messages, "The Rhine.", "ids"), Span(_ASKED, "Two words", count_only=True)]

    def _plain(self) -> list[Span]:
        return [Span(context, text, "ids", "") for text in _TEXTS for context in (_ASKED, "Say: ")]

    def _encoded(self, spans: Sequence[Span]) -> list[EncodedSpan]:
        encoded: Any = outcome(self.student().encode, list(spans))
        if not isinstance(encoded, list | tuple) or not all(isinstance(encoding, EncodedSpan) for encoding in encoded):
            raise SkipTest(f"plain texts are not encoded: {encoded!r:.200}")
        return list(encoded)


def _with_parts(span: Span) -> list[Span]:
    """Return spans with all of a target and with a third of it each, which may begin or end inside of a word."""
    bounds = [len(str(span.target)) * third // 3 for third in range(4)]
    return [evolve(span, scored=(part,)) for part in ((0, bounds[-1]), *pairwise(bounds))]


def _request(text: str, tokens: int = 8) -> Request:
    return Request("question", digest(text), 0, (Turn("user", text),), Sampling(max_tokens=tokens))

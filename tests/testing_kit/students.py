"""A good student and broken ones."""

from __future__ import annotations

import itertools

from attrs import evolve

from rt_framework.spans import EncodedSpan, SpanLoss
from rt_framework.testing import FakeStudent
from rt_framework.testing.contracts import StudentContract
from tests.testing_kit.making import good, mutant

_numbers = itertools.count()


@good(StudentContract)
class Words(FakeStudent): ...


@mutant(StudentContract, "test_the_fingerprint_is_a_name")
class Nameless(Words):
    fingerprint = ""


@mutant(StudentContract, "test_the_fingerprint_is_a_name")
class Anew(Words):
    def __init__(self):
        super().__init__()
        self.fingerprint = f"words {next(_numbers)}"


@mutant(StudentContract, "test_the_fingerprint_loads_no_model")
class Eager(Words):
    @property
    def fingerprint(self):
        import torch

        return f"words {torch.__name__}"


@mutant(StudentContract, "test_each_span_is_encoded_or_says_why_not")
class Silent(Words):
    def encode(self, spans):
        return [one if isinstance(one, EncodedSpan) else evolve(one, reason=None) for one in super().encode(spans)]


@mutant(StudentContract, "test_each_span_is_encoded_or_says_why_not")
class Strict(Words):
    def encode(self, spans):
        for span in spans:
            span.target.encode()
        return super().encode(spans)


@mutant(StudentContract, "test_no_target_is_empty")
class Blank(Words):
    def encode(self, spans):
        return [
            evolve(one, status="no_text") if getattr(one, "status", "") == "empty" and span.scored is None else one
            for span, one in zip(spans, super().encode(spans), strict=True)
        ]


@mutant(StudentContract, "test_two_passes_score_the_same_tokens")
class OneMore(Words):
    def encode(self, spans):
        whole = [span.join == "ids" and span.scored is None for span in spans]
        alone = [evolve(span, paired_context=span.context) for span in spans]
        return super().encode([one if wrong else span for span, one, wrong in zip(spans, alone, whole, strict=True)])


@mutant(StudentContract, "test_what_is_cut_is_counted")
class Uncounted(Words):
    """Says of joined texts that nothing was cut."""

    def encode(self, spans):
        return [
            evolve(one, cut=0) if span.join == "text" and isinstance(one, EncodedSpan) else one
            for span, one in zip(spans, super().encode(spans), strict=True)
        ]


@mutant(StudentContract, "test_what_is_cut_is_counted")
class Endless(Words):
    def encode(self, spans):
        return super().encode([evolve(span, max_tokens=None) for span in spans])


@mutant(StudentContract, "test_losses_are_finite")
class Miscounting(Words):
    def score(self, batch):
        return [
            evolve(loss, tokens=loss.tokens + 1, token_nll=None, token_ranks=None) if span.scored is None else loss
            for span, loss in zip(batch, super().score(batch), strict=True)
        ]


@mutant(StudentContract, "test_batch_mates_do_not_matter")
class Sociable(Words):
    def score(self, batch):
        more = len(batch) if all(span.scored is None for span in batch) else 0
        return [evolve(loss, nll=loss.nll + more, token_nll=None) for loss in super().score(batch)]


@mutant(StudentContract, "test_batch_mates_do_not_matter")
class Ordered(Words):
    def score(self, batch):
        found = super().score(batch)
        step = 1 if all(span.scored is None for span in batch) else 0
        return [evolve(loss, nll=loss.nll + step * at, token_nll=None) for at, loss in enumerate(found)]


@mutant(StudentContract, "test_losses_of_tokens_add_up")
class Doubled(Words):
    def score(self, batch):
        return [
            evolve(loss, token_nll=tuple(2 * one for one in loss.token_nll)) if loss.token_nll else loss
            for loss in super().score(batch)
        ]


@mutant(StudentContract, "test_parts_of_a_target_add_up")
class AllOfIt(Words):
    """Counts the tokens of a part, and sums over everything from its start on."""

    def score(self, batch):
        found = super().score([evolve(span, scored=None) for span in batch])
        return [evolve(loss, tokens=len(span.positions)) for span, loss in zip(batch, found, strict=True)]


@mutant(StudentContract, "test_parts_of_a_target_add_up")
class Generous(Words):
    """Scores the token before each part as well."""

    def encode(self, spans):
        return [
            evolve(one, scored=tuple((start - 1, end) for start, end in one.scored))
            if isinstance(one, EncodedSpan) and one.scored
            else one
            for one in super().encode(spans)
        ]


@mutant(StudentContract, "test_parts_of_a_target_add_up")
class Shifted(Words):
    """Gives the losses of single tokens in a part from its end to its beginning."""

    def score(self, batch):
        return [
            evolve(loss, token_nll=loss.token_nll[::-1]) if span.scored and loss.token_nll else loss
            for span, loss in zip(batch, super().score(batch), strict=True)
        ]


@mutant(StudentContract, "test_no_scored_token_is_empty")
class Nothing(Words):
    def encode(self, spans):
        return [
            SpanLoss(None, 0, "nothing", "no token is scored") if span.scored is not None and not span.scored else one
            for span, one in zip(spans, super().encode(spans), strict=True)
        ]


@mutant(StudentContract, "test_two_passes_score_the_same_parts")
class Alone(Words):
    """Without a context it leaves out the first token of each part, which has a prediction if others stand before."""

    def encode(self, spans):
        return [
            evolve(one, scored=tuple((start + 1, end) for start, end in one.scored))
            if isinstance(one, EncodedSpan) and one.scored and not span.context
            else one
            for span, one in zip(spans, super().encode(spans), strict=True)
        ]


@mutant(StudentContract, "test_what_is_cut_of_parts_is_counted")
class CutOfAll(Words):
    """Says how much of the whole target was cut off, whatever is scored."""

    def encode(self, spans):
        whole = super().encode([evolve(span, scored=None) for span in spans])
        return [
            evolve(one, cut=all_of_it.cut) if isinstance(one, EncodedSpan) and one.scored else one
            for one, all_of_it in zip(super().encode(spans), whole, strict=True)
        ]


@mutant(StudentContract, "test_answers_come_in_order")
class Backwards(Words):
    def generate(self, requests):
        return super().generate(requests)[::-1]


@mutant(StudentContract, "test_answers_come_in_order")
class Sharing(Words):
    """Sees its batch mates."""

    def generate(self, requests):
        return [evolve(reply, text=f"{reply.text}{len(requests)}") for reply in super().generate(requests)]

    structured = False


@mutant(StudentContract, "test_answers_keep_to_the_schema")
class Chatty(Words):
    def generate(self, requests):
        return [evolve(reply, text="I think that it does.") for reply in super().generate(requests)]


@mutant(StudentContract, "test_answering_changes_no_loss")
class Learning(Words):
    """Each answer leaves a trace in its weights."""

    def score(self, batch):
        more = len(self.requests)
        return [evolve(loss, nll=loss.nll + more, token_nll=None) for loss in super().score(batch)]


@mutant(StudentContract, "test_each_sequence_has_a_vector")
class Ragged(Words):
    """The longer the target, the longer its vector."""

    def embed(self, batch):
        return [[*vector, *span.ids[span.start :]] for span, vector in zip(batch, super().embed(batch), strict=True)]


@mutant(StudentContract, "test_vectors_are_those_of_their_texts")
class Padded(Words):
    """Takes the mean over the longest sequence of the batch."""

    def embed(self, batch):
        longest = max(len(span.ids) for span in batch)
        return [[number / longest for number in vector] for vector in super().embed(batch)]


@mutant(StudentContract, "test_vectors_of_parts_are_means_over_them")
class Undivided(Words):
    """Takes the mean over the whole target, whatever part of it is scored."""

    def embed(self, batch):
        return super().embed([evolve(span, scored=None) for span in batch])


@mutant(StudentContract, "test_vectors_are_those_of_their_texts")
class Prompted(Words):
    """Takes the mean over what stands before the target."""

    def embed(self, batch):
        return super().embed([evolve(span, ids=span.ids[:1] * 2, start=1, scored=None) for span in batch])

"""The student behind a server of vLLM, which gives the log-probabilities of a prompt's tokens by its own API."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from rt_framework import EncodedSpan, SpanLoss
from rt_vllm.served import ServedStudent, lacking

_NO_NUMBER = -9999.0
"""Log-probability by which vLLM writes minus infinity, which JSON has no number for."""


class VllmStudent(ServedStudent):
    """Student that asks for the completion of token ids with ``prompt_logprobs``; the server tokenises nothing."""

    kind = "vllm"
    version_at = "/version"

    def question(self, span: EncodedSpan) -> tuple[str, Mapping[str, Any]]:
        """Return the request; ``prompt_logprobs: 0`` gives the token that stands in the prompt, with its rank."""
        body = {"model": self.name, "prompt": [span.ids], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        return "/v1/completions", body

    def told(self, span: EncodedSpan, answer: Any) -> SpanLoss:
        """Return the loss in an answer that has an entry for each token of the prompt, with the token's id."""
        try:
            (choice,) = answer["choices"]
            entries = choice["prompt_logprobs"]
            if entries is None:
                return lacking("the server gives no losses of a prompt's tokens; is it vLLM 0.15 or later?")
            if len(entries) != len(span.ids):
                return lacking(f"the answer has {len(entries)} entries for a prompt of {len(span.ids)} tokens")
            # Position 0 has no prediction. All others are looked at, since another text may have been read.
            others = [at for at in range(1, len(span.ids)) if str(span.ids[at]) not in entries[at]]
            if others:
                return lacking(f"the answer is about another token at position {others[0]} of the prompt")
            found = [entries[at][str(span.ids[at])] for at in span.positions]
            logprobs, ranks = [float(one["logprob"]) for one in found], [one.get("rank") for one in found]
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            return lacking(f"the answer has no losses of the prompt's tokens: {error!r}")
        return of_tokens([-one for one in logprobs], ranks, span.by_token)


def of_tokens(nll: list[float], ranks: list[Any], by_token: bool) -> SpanLoss:
    """Return the loss of a sequence from the losses of its target tokens.

    Args:
        nll: negative log-likelihood of each target token, in nats.
        ranks: rank of each; none where the server gives no ranks, without which there are no losses by token either.
        by_token: True if the loss must hold those of each token.
    """
    if any(not math.isfinite(one) or one >= -_NO_NUMBER for one in nll):
        return SpanLoss(None, len(nll), "nonfinite", "the server gives a target token the probability 0")
    loss = SpanLoss(math.fsum(nll), len(nll))
    known = len(ranks) == len(nll) and all(isinstance(rank, int) and rank >= 1 for rank in ranks)
    return evolve(loss, token_nll=tuple(nll), token_ranks=tuple(ranks)) if by_token and known else loss

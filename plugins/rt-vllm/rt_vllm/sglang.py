"""The student behind a server of SGLang, which gives log-probabilities of a prompt's tokens by its own endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from rt_framework import EncodedSpan, SpanLoss
from rt_framework.errors import ModelError
from rt_vllm.served import ServedStudent, lacking
from rt_vllm.vllm import of_tokens


class SglangStudent(ServedStudent):
    """Student that asks ``/generate`` for ``input_token_logprobs``; SGLang gives no ranks.

    The requests follow SGLang's source; no server of it was run with this package.
    """

    kind = "sglang"
    version_at = "/get_server_info"

    @cached_property
    def model(self) -> Mapping[str, Any]:
        """The model that is asked.

        Raises:
            ModelError: as for any server; or it is an adapter, which ``/generate`` would not use.
        """
        found = super().model
        if found.get("parent"):
            raise ModelError(f"'{found['id']}' is an adapter, whose losses are not asked of SGLang; serve it merged")
        return found

    def question(self, span: EncodedSpan) -> tuple[str, Mapping[str, Any]]:
        """Return the request for the losses from the position before the first target token, which comes as null."""
        body = {
            "input_ids": span.ids,
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": span.positions[0] - 1,
        }
        return "/generate", body

    def told(self, span: EncodedSpan, answer: Any) -> SpanLoss:
        """Return the loss in an answer that has an entry for each token from the one before the first target token."""
        start = span.positions[0] - 1
        try:
            entries = answer["meta_info"]["input_token_logprobs"]
            if len(entries) != len(span.ids) - start:
                return lacking(f"the answer has {len(entries)} entries for {len(span.ids) - start} tokens of a prompt")
            others = [at for at, entry in enumerate(entries, start) if at > start and int(entry[1]) != span.ids[at]]
            if others:
                return lacking(f"the answer is about another token at position {others[0]} of the prompt")
            logprobs = [float(entries[at - start][0]) for at in span.positions]
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            return lacking(f"the answer has no losses of the prompt's tokens: {error!r}")
        return of_tokens([-one for one in logprobs], [], span.by_token)

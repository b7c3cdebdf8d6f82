"""Steps of batched generation, in which each row keeps to its own schema, temperature, seed and length."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, hf

from rt_framework.errors import TeacherError
from rt_framework.model import Request, Sampling, digest, keyed


class Grammars:
    """Factory of matchers that hold an answer to a JSON schema, for one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers.
        vocabulary: number of logits; models often have more than the tokenizer has tokens.
        ends: ids that end an answer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._size = max(vocabulary, len(tokenizer))
        self._ends = list(ends)

    @cached_property
    def _tokens(self) -> Any:
        return hf.from_tokenizer(self._tokenizer, n_vocab=self._size, eos_token=self._ends)

    def matcher(self, schema: Mapping[str, Any]) -> LLMatcher:
        """Return a fresh matcher for a schema.

        Raises:
            TeacherError: ``bad_request``: the schema cannot be turned into a grammar.
        """
        matcher = LLMatcher(self._tokens, _grammar(json.dumps(_closed(schema))), log_level=0)
        if matcher.is_error():
            raise TeacherError(
                "bad_request", f"the JSON schema of the answer cannot be enforced: {matcher.get_error()}"
            )
        return matcher


@lru_cache
def _grammar(schema: str) -> str:
    # A small model that is allowed to write white space may write it for ever.
    return str(LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False}))


def _closed(schema: Any) -> Any:
    """Return the schema with further properties forbidden at any depth, unless it states whether they may occur."""
    if isinstance(schema, Mapping):
        closed = {key: _closed(value) for key, value in schema.items()}
        return {"additionalProperties": False, **closed} if "properties" in closed else closed
    return [_closed(item) for item in schema] if isinstance(schema, list | tuple) else schema


class Draw:
    """Logits processor by which greedy generation draws each row's token with its own settings.

    Called once per step with all ids so far [rows × tokens] and the next token's logits [rows × vocabulary]. A draw
    depends on its request alone, never on batch mates.

    Args:
        requests: one request per row.
        matchers: one matcher per row; ``None`` where the request has no schema.
        device: device of the logits.
    """

    def __init__(self, requests: Sequence[Request], matchers: Sequence[LLMatcher | None], device: Any) -> None:
        self._samplings = [request.sampling for request in requests]
        self._matchers = matchers
        self._generators = [torch.Generator(device).manual_seed(seed(request)) for request in requests]
        self._started = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return logits whose largest is the token to take."""
        if self._started:
            self._consume(input_ids[:, -1].tolist())
        self._started = True
        rows = [self._row(index, logits) for index, logits in enumerate(scores.float())]
        return torch.stack(rows)

    def _consume(self, tokens: Sequence[int]) -> None:
        for matcher, token in zip(self._matchers, tokens, strict=True):
            # Padding follows the end of an answer; it does not matter what a matcher makes of it.
            if matcher is not None:
                matcher.consume_token(token)

    def _row(self, index: int, logits: torch.Tensor) -> torch.Tensor:
        matcher = self._matchers[index]
        if matcher is not None:
            logits = logits.masked_fill(~_allowed(matcher, len(logits)).to(logits.device), -torch.inf)
        sampling = self._samplings[index]
        return logits if sampling.temperature == 0 else _perturbed(logits, sampling, self._generators[index])


class Lengths:
    """Stopping criterion by which each row ends after its own number of new tokens.

    Args:
        limits: most new tokens of each row.
        prompt: length of the padded prompts.
        device: device of the ids.
    """

    def __init__(self, limits: Sequence[int], prompt: int, device: Any) -> None:
        self._ends = torch.tensor(limits, device=device) + prompt

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_options: Any) -> torch.Tensor:
        """Return which rows are done, [rows]."""
        return self._ends <= input_ids.shape[1]


def seed(request: Request) -> int:
    """Return the seed of a request's draw: a hash of all of it, its own seed included. Equal requests repeat."""
    return int(digest(keyed(request))[:15], 16)


def _allowed(matcher: LLMatcher, vocabulary: int) -> torch.Tensor:
    """Return which tokens the grammar allows next, [vocabulary]."""
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
    return torch.from_numpy(bits[:vocabulary].astype(bool))


def _perturbed(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """Return logits plus Gumbel noise, whose largest is a draw from softmax(logits / T) (the Gumbel-max trick)."""
    scaled = _nucleus(logits / sampling.temperature, sampling.top_p)
    noise = torch.empty_like(scaled).exponential_(generator=generator).log()
    return scaled - noise


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return the logits of the smallest set of tokens that holds *top_p* of the probability; −∞ elsewhere."""
    if top_p >= 1:
        return logits
    ordered, order = logits.softmax(-1).sort(descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    outside[0] = False
    return logits.masked_fill(outside[order.argsort()], -torch.inf)

"""Answers of a causal language model of transformers to batches of requests, for the local teacher and the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rt_framework.errors import TeacherError, Unscorable
from rt_framework.kit.tokenizing import leading_ids, render
from rt_framework.model import Reply, Request, Usage

if TYPE_CHECKING:
    from rt_framework.builtin.decoding import Grammars

_PADDING = 0
"""Id of padding. Any id will do, since padding is masked before a prompt and cut off after an answer."""


class Generation:
    """The way in which one loaded model answers.

    Args:
        name: name of the model.
        model: the model, in inference mode.
        tokenizer: its tokenizer.
        window: most tokens of a prompt with its answer.
        foreign: tokens of the tokenizer that the model does not have, by id.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, window: int, foreign: Mapping[int, str]) -> None:
        from transformers import GenerationConfig

        self._name = name
        self._model = model
        self._tokenizer = tokenizer
        self._foreign = foreign
        self._window = window
        stated = model.generation_config.eos_token_id
        listed = stated if isinstance(stated, list) else [stated]
        self._ends = list(dict.fromkeys(i for i in (tokenizer.eos_token_id, *listed) if i is not None))
        """Ids that end an answer, the tokenizer's first."""
        # The request determines the sampling, so the checkpoint's own penalties and defaults must not apply.
        model.generation_config = GenerationConfig(eos_token_id=stated)

    def replies(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer a batch, in order. A prompt that fills the window gets a reply that ends with ``too_long``.

        Raises:
            TeacherError: ``bad_request``: the chat template or the grammar does not accept a request.
        """
        prompts = [self._prompt(request) for request in requests]
        fitting = [index for index, prompt in enumerate(prompts) if len(prompt) < self._window]
        answers = self._generate([requests[i] for i in fitting], [prompts[i] for i in fitting])
        generated = dict(zip(fitting, answers, strict=True))
        return [self._reply(prompt, generated.get(index)) for index, prompt in enumerate(prompts)]

    def _prompt(self, request: Request) -> list[int]:
        """Return the ids of the rendered messages; without a chat template, of their texts with blank lines between."""
        if not self._tokenizer.chat_template:
            text = "\n\n".join(turn.content for turn in request.messages)
            return [*leading_ids(self._tokenizer), *self._ids(text)]
        try:
            return self._ids(render(self._tokenizer, request.messages))
        except Unscorable as error:
            raise TeacherError("bad_request", error.reason) from error

    def _ids(self, text: str) -> list[int]:
        # No tokenizer can read a lone surrogate.
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids = list(self._tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"])
        met = self._foreign.keys() & set(ids) if self._foreign else ()
        for id_ in met:
            raise TeacherError(
                "bad_request", f"the text has the token {self._foreign[id_]!r}, which is not in the model's vocabulary"
            )
        return ids

    def _generate(self, requests: Sequence[Request], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the new ids of each row, with the end token if the row has one."""
        if not requests:
            return []
        import torch
        from transformers import GenerationConfig

        from rt_framework.builtin.decoding import Draw, Lengths

        device = self._model.device
        matchers = [self._grammars.matcher(r.schema) if r.schema is not None else None for r in requests]
        limits = [min(r.sampling.max_tokens, self._window - len(p)) for r, p in zip(requests, prompts, strict=True)]
        longest = max(map(len, prompts))
        ids = torch.tensor([[_PADDING] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            output = self._model.generate(
                ids.to(device),
                attention_mask=mask.to(device),
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=max(limits),
                    eos_token_id=self._ends or None,
                    pad_token_id=_PADDING,
                ),
                logits_processor=[Draw(requests, matchers, device)],
                stopping_criteria=[Lengths(limits, longest, device)],
            )
        return [self._cut(row[longest:][:limit].tolist()) for row, limit in zip(output, limits, strict=True)]

    def _cut(self, ids: list[int]) -> list[int]:
        """Return the ids up to the first end token, which padding may follow."""
        end = next((index for index, token in enumerate(ids) if token in self._ends), len(ids))
        return ids[: end + 1]

    def _reply(self, prompt: Sequence[int], ids: Sequence[int] | None) -> Reply:
        if ids is None:
            return Reply("", "too_long", model=self._name)
        ended = bool(ids) and ids[-1] in self._ends
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        usage = Usage(len(prompt), len(ids))
        return Reply(text, "stop" if ended else "length", usage, self._name)

    @cached_property
    def _grammars(self) -> Grammars:
        from rt_framework.builtin.decoding import Grammars

        return Grammars(self._tokenizer, self._model.get_output_embeddings().weight.shape[0], self._ends)

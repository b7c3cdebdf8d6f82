"""The published scoring procedure, plainly: one sample at a time, full logits, labels of −100 before the target."""

from __future__ import annotations

from typing import Any

import torch

from rt_framework.model import Span


def mean_loss(model: Any, tokenizer: Any, context: str, target: str, max_length: int, twin: str | None = None) -> float:
    """Mean token loss in nats of *target* after *context*, encoded as one text and truncated.

    With *twin*, the other pass's prompt, the text is cut so that the target would fit behind that one.
    """
    if twin is not None:
        max_length = max_length - len(tokenizer.encode(twin)) + 1
    ids = tokenizer(context + target, truncation=True, max_length=max_length, return_tensors="pt")["input_ids"]
    labels = ids.clone()
    labels[:, : len(tokenizer.encode(context))] = -100
    with torch.no_grad():
        return float(model(ids, labels=labels).loss)


def oracle_spans(file: dict[str, Any], row: dict[str, str]) -> dict[str, Span]:
    """The spans of one row, by hand from the prompts in an oracle file."""

    def prompt(instruction: str, more: str = "") -> str:
        text = file["prompt_input" if more else "prompt_no_input"]
        return text.replace("{instruction}", instruction).replace("{input}", more)

    def both(names: tuple[str, str], context: str, target: str) -> dict[str, Span]:
        header, limit = file.get("response_header"), file["max_length"]
        alone = Span(header, target) if header else Span("", target, twin=context)
        return {
            name: Span(span.context, span.target, twin=span.twin, max_tokens=limit)
            for name, span in zip(names, (alone, Span(context, target)), strict=True)
        }

    spans = both(("y", "y|x"), prompt(row["instruction"], row["input"]), row["output"])
    if "reverse_instruction" in file:
        guess = file["reverse_instruction"].replace("{response}", row["output"])
        spans |= both(("x", "x|y"), prompt(guess), row["instruction"] + row["input"])
    return spans

"""The published scoring procedure, plainly: one sample at a time, full logits, labels of −100 before the target.

Written from the papers' description (Selective Reflection-Tuning, arXiv 2402.10110; Superfiltering,
arXiv 2402.00530), to hold the product's numbers and its speed against.
"""

from __future__ import annotations

from typing import Any

import torch


def mean_loss(
    model: Any, tokenizer: Any, context: str, target: str, max_length: int, paired_context: str | None = None
) -> float:
    """Mean token loss in nats of *target* after *context*, encoded as one text and truncated.

    With *paired_context*, the other pass's prompt, the text is cut so that the target would fit behind that one.
    """
    if paired_context is not None:
        max_length = max_length - len(tokenizer.encode(paired_context)) + 1
    ids = tokenizer(context + target, truncation=True, max_length=max_length, return_tensors="pt")["input_ids"]
    labels = ids.clone()
    labels[:, : len(tokenizer.encode(context))] = -100
    with torch.no_grad():
        return float(model(ids, labels=labels).loss)

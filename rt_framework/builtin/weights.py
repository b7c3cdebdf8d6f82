"""Whether a model that was loaded is the model of its files: no weight made up, an embedding for every token."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from rt_framework.errors import ModelError
from rt_framework.text import shown

_log = logging.getLogger("rt_framework")


def whole_model(name: str, load: Callable[[], tuple[Any, Any]]) -> tuple[Any, str]:
    """The model, and in words what its files hold besides: further heads, a vision tower; empty where all is used.

    transformers fills with random numbers what a checkpoint does not hold. A head that is tied to the embeddings
    counts as held.

    Args:
        name: of the model, for messages.
        load: gives the model and the loading report of transformers.

    Raises:
        ModelError: weights are missing, or have other sizes than the config states.
    """
    try:
        model, report = load()
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ModelError(
            f"model '{name}': weights have other sizes than its config.json states; take the one that belongs to them"
        ) from error
    missing = _named({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if missing:
        raise ModelError(
            f"model '{name}' is not complete: its files lack {missing}, which would be random numbers, and so would "
            "every score; take a complete checkpoint, and the config.json that belongs to it"
        )
    unused = _named(report["unexpected_keys"])
    note = f"in the files, not in the model: {unused}" if unused else ""
    if note:
        _log.warning(shown(f"model '{name}': {note}"))
    return model, note


def without_embedding(name: str, size: int | None, tokenizer: Any) -> dict[int, str]:
    """The special tokens that the model has no embedding for, by number. Some models have such, padding for one.

    No text needs them, so that only a text in which one stands is refused.

    Args:
        name: of the model, for messages.
        size: of the model's vocabulary, as far as it is known.
        tokenizer: of transformers.

    Raises:
        ModelError: another token has none either.
    """
    if size is None:
        return {}
    added, framing = tokenizer.added_tokens_decoder, {tokenizer.bos_token_id, tokenizer.eos_token_id}
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= size}
    for number, token in beyond.items():
        if number in framing or number not in added or not added[number].special:
            raise ModelError(
                f"model '{name}': its tokenizer knows {len(tokenizer)} tokens, one of them {token!r} with the number "
                f"{number}, but the model only those below {size}; take the tokenizer that belongs to the weights"
            )
    return beyond


def _named(keys: Iterable[str]) -> str:
    """How many tensors, and the names of the first three; empty for none."""
    names = sorted(keys)
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(names[:3])}{more})" if names else ""

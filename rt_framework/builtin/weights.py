"""Checks that a loaded model is complete: all weights are from its files, and every token has an embedding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from rt_framework.errors import ModelError
from rt_framework.text import shown

_log = logging.getLogger("rt_framework")


def check_plain(name: str, config: Any) -> None:
    """Check that a checkpoint is not quantised.

    Its losses are those of another student, and how far they may be from the full model's was never measured here.

    Args:
        name: name of the model, for messages.
        config: the configuration of the model.

    Raises:
        ModelError: it is.
    """
    quantised = getattr(config, "quantization_config", None)
    method = quantised.get("quant_method") if isinstance(quantised, dict) else getattr(quantised, "quant_method", None)
    if quantised is not None and str(method or "").rpartition(".")[2].lower() != "gguf":
        raise ModelError(
            f"model '{name}' is quantised ({method or 'by a method that it does not name'}), and models here run with "
            "full weights or from a GGUF file: take the model that it was made from, or serve it and score with the "
            "student 'vllm' (package rt-vllm, dtype: other)"
        )


def whole_model(name: str, load: Callable[[], tuple[Any, Any]]) -> tuple[Any, str]:
    """Return the model, and in words the unused weights of its files: further heads, a vision tower; else empty.

    transformers fills weights that a checkpoint lacks with random numbers. A head that is tied to the embeddings does
    not count as missing.

    Args:
        name: name of the model, for messages.
        load: returns the model and the loading report of transformers.

    Raises:
        ModelError: weights are missing, or have other sizes than the config states.
    """
    try:
        model, report = load()
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ModelError(
            f"model '{name}': its weights do not have the sizes that its config.json states; "
            "use the config.json that belongs to them"
        ) from error
    missing = _named({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if missing:
        raise ModelError(
            f"model '{name}' is not complete: its files lack {missing}, which would be random numbers, and so would "
            "every score; take a complete checkpoint, and the config.json that belongs to it"
        )
    unused = _named(report["unexpected_keys"])
    note = f"weights in the files that the model does not use: {unused}" if unused else ""
    if note:
        _log.warning(shown(f"model '{name}': {note}"))
    return model, note


def without_embedding(name: str, size: int | None, tokenizer: Any) -> dict[int, str]:
    """Return the special tokens without an embedding in the model, by id. An example is a padding token.

    No ordinary text contains them, so that only a text in which one of them occurs is refused.

    Args:
        name: name of the model, for messages.
        size: size of the model's vocabulary, if it is known.
        tokenizer: a tokenizer of transformers.

    Raises:
        ModelError: an ordinary token has no embedding either.
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
    """Return the number of tensors and the names of the first three; an empty text for no tensor."""
    names = sorted(keys)
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(names[:3])}{more})" if names else ""

"""Which way to run a model: the fastest whose losses are the model's own on a probe.

Architectures differ in more ways than a list of names can tell. So each way is tried once, when the
model is loaded, and one that does not give what the model gives alone, with full logits, is not taken.
"""

from __future__ import annotations

from typing import Any

import torch
from attrs import frozen
from torch.nn.functional import cross_entropy

from rt_framework.builtin.students.attention import RowAttention, RunAttention, VarlenAttention
from rt_framework.builtin.students.forward import Attention, TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.products import OneDnnProducts, worthwhile
from rt_framework.kit.packing import PrefixRow
from rt_framework.spans import EncodedSpan

_FULL, _SLIDING = "full_attention", "sliding_attention"


@frozen
class Way:
    """How losses are computed."""

    losses: TargetLosses
    packs: bool
    path: str
    """In words: packed or padded, head on targets or full logits; the slower one with its reason."""


def choose(model: Any, attention: str | None) -> Way:
    """The fastest way that is right.

    Args:
        model: a causal language model of transformers, in inference mode.
        attention: the implementation that the user asked for, which rules packed rows out.
    """
    probe = Probe(model)
    head, head_path = _head(model, probe)
    rows, rows_path = _rows(model, attention, head, probe)
    plain, fast = TargetLosses(model, head, rows), TargetLosses(model, head, rows, OneDnnProducts)
    if worthwhile(model) and probe.obstacle(fast) is None:
        return Way(fast, rows is not None, f"{rows_path}; {head_path}; products by oneDNN")
    return Way(plain, rows is not None, f"{rows_path}; {head_path}")


class Probe:
    """A few short sequences and what the model alone gives for them."""

    def __init__(self, model: Any) -> None:
        self._batch = _sequences(model.config.get_text_config().vocab_size)
        with torch.inference_mode():
            self._own = [_own_loss(model, span) for span in self._batch]
        # In half precision another order of sums shows; a token too much or too few shows far more.
        self._tolerance = 1e-4 if model.dtype == torch.float32 else 5e-2

    def obstacle(self, losses: TargetLosses) -> str | None:
        """Why *losses* are not the model's own; none if they are."""
        try:
            sums = losses.sums(self._batch)
        except Exception as error:
            return f"does not run ({type(error).__name__})"
        means = [nll / (len(span.ids) - span.start) for nll, span in zip(sums, self._batch, strict=True)]
        gaps = [abs(mean - own) for mean, own in zip(means, self._own, strict=True)]
        # Put this way round, a gap that is no number is an obstacle.
        if all(gap <= self._tolerance for gap in gaps):
            return None
        return f"differs from the model by {max(gaps):.2g} nats a token"


def _sequences(vocabulary: int) -> list[EncodedSpan]:
    """Sequences that share prefixes of several lengths, or none."""
    ids = tuple((at * 97 + 3) % vocabulary for at in range(60))
    one, two, three = ids[:24], ids[:16] + ids[40:52], ids[:7] + ids[30:38]
    # The last repeats the first behind another start: a model that saw the first would know it.
    last = ids[50:] + one
    return [EncodedSpan(one, 5), EncodedSpan(two, 17), EncodedSpan(three, 1), EncodedSpan(last, 12)]


def _own_loss(model: Any, span: EncodedSpan) -> float:
    """Mean token loss by the model alone."""
    ids = torch.tensor(span.ids, device=model.device)
    logits = model(ids[None], use_cache=False).logits[0].float()
    return float(cross_entropy(logits[span.start - 1 : -1], ids[span.start :]))


def _head(model: Any, probe: Probe) -> tuple[TargetHead | None, str]:
    layer = model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        return None, f"full logits: the head is not linear but {type(layer).__name__}"
    head = TargetHead(layer, model.config.get_text_config())
    obstacle = probe.obstacle(TargetLosses(model, head, None))
    return (head, "head on targets") if obstacle is None else (None, f"full logits: without its head it {obstacle}")


def _rows(model: Any, asked: str | None, head: TargetHead | None, probe: Probe) -> tuple[Attention | None, str]:
    if asked is not None:
        return None, f"padded batches: attention '{asked}' is asked for"
    half = model.device.type == "cuda" and model.dtype in (torch.bfloat16, torch.float16)
    obstacle = _row_obstacle(model, VarlenAttention, head, probe) if half else "is not in half precision on CUDA"
    if obstacle is None:
        return VarlenAttention, "packed rows, flash attention"
    why = f"; flash attention: it {obstacle}" if half else ""
    obstacle = _row_obstacle(model, RunAttention, head, probe)
    if obstacle is None:
        return RunAttention, f"packed rows, attention by run{why}"
    return None, f"padded batches: as a packed row it {obstacle}"


def _row_obstacle(model: Any, kind: Attention, head: TargetHead | None, probe: Probe) -> str | None:
    used: list[RowAttention] = []

    def attention(row: PrefixRow, device: torch.device) -> RowAttention:
        used.append(kind(row, device))
        return used[-1]

    obstacle = probe.obstacle(TargetLosses(model, head, attention))
    windows = {window for one in used for window in one.windows}
    return obstacle or _window_obstacle(model.config.get_text_config(), windows)


def _window_obstacle(config: Any, windows: set[int | None]) -> str | None:
    """A probe is shorter than any window, so that windows are told has to be seen another way."""
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {_FULL, _SLIDING}:
        return f"has layers of the kind {', '.join(sorted(kinds - {_FULL, _SLIDING}))}"
    sliding = _SLIDING in kinds or (not kinds and getattr(config, "sliding_window", None))
    return "does not tell its attention the sliding window" if sliding and windows == {None} else None

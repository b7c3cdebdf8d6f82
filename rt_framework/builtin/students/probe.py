"""Choice of the way to run a model: the fastest whose losses equal the model's own on a probe.

Architectures differ in more ways than a list of names can cover. So each way is tried once, when the model is loaded,
and is not used if its losses differ from those of the plain model with full logits.
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
from rt_framework.builtin.students.room import tokens_with_room
from rt_framework.builtin.students.transfer import Outgoing
from rt_framework.kit.packing import PrefixRow
from rt_framework.spans import EncodedSpan

_FULL, _SLIDING = "full_attention", "sliding_attention"


@frozen
class Way:
    """A way to compute losses."""

    losses: TargetLosses
    packs: bool
    path: str
    """Description in words: packed or padded, head on targets or full logits; for the slower alternative with its
    reason."""

    def tokens_with_room(self, model: Any, window: int) -> int:
        """Return the most tokens of a batch, by the memory of the GPUs that the model is on."""
        return tokens_with_room(self.losses, model, window)


def choose(model: Any, attention: str | None) -> Way:
    """Return the fastest way whose losses are right.

    Args:
        model: a causal language model of transformers, in inference mode.
        attention: the implementation that the user asked for, which excludes packed rows.
    """
    probe = Probe(model)
    head, head_path = _head(model, probe)
    rows, rows_path = _rows(model, attention, head, probe)
    plain, fast = TargetLosses(model, head, rows), TargetLosses(model, head, rows, OneDnnProducts)
    if worthwhile(model) and probe.obstacle(fast) is None:
        return Way(fast, rows is not None, f"{rows_path}; {head_path}; products by oneDNN")
    return Way(plain, rows is not None, f"{rows_path}; {head_path}")


class Probe:
    """A few short sequences and the losses that the model by itself gives for them.

    Args:
        model: a causal language model of transformers, in inference mode.
        half: largest difference of a loss in half precision, in nats a token.
    """

    def __init__(self, model: Any, half: float = 5e-2) -> None:
        self._batch = _sequences(model.config.get_text_config().vocab_size)
        with torch.inference_mode():
            self._own = [_own_loss(model, span) for span in self._batch]
        # In half precision the order of summation has a visible effect; one token too many or too few has a far larger
        # one.
        self._tolerance = 1e-4 if model.dtype == torch.float32 else half

    def obstacle(self, losses: TargetLosses) -> str | None:
        """Return why *losses* are not the model's own; ``None`` if they are."""
        try:
            sums = losses.sums(self._batch)
        except Exception as error:
            return f"does not run ({type(error).__name__})"
        means = [nll / (len(span.ids) - span.start) for nll, span in zip(sums, self._batch, strict=True)]
        gaps = [abs(mean - expected) for mean, expected in zip(means, self._own, strict=True)]
        # In this form of the comparison a gap that is NaN counts as an obstacle.
        if all(gap <= self._tolerance for gap in gaps):
            return None
        return f"gives losses that differ by {max(gaps):.2g} nats a token"


def _sequences(vocabulary: int) -> list[EncodedSpan]:
    """Return sequences that share prefixes of several lengths, or none."""
    ids = tuple((number * 97 + 3) % vocabulary for number in range(60))
    first, second, third = ids[:24], ids[:16] + ids[40:52], ids[:7] + ids[30:38]
    # The last sequence repeats the first after another start: a leak from the first would show in its loss.
    last = ids[50:] + first
    return [EncodedSpan(first, 5), EncodedSpan(second, 17), EncodedSpan(third, 1), EncodedSpan(last, 12)]


def _own_loss(model: Any, span: EncodedSpan) -> float:
    """Return the mean token loss computed by the model alone."""
    ids = torch.tensor(span.ids, device=model.device)
    logits = model(ids[None], use_cache=False).logits[0].float()
    return float(cross_entropy(logits[span.start - 1 : -1], ids[span.start :]))


def _head(model: Any, probe: Probe) -> tuple[TargetHead | None, str]:
    layer = model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        return None, f"full logits: the head is not linear but {type(layer).__name__}"
    head = TargetHead(layer, model.config.get_text_config())
    obstacle = probe.obstacle(TargetLosses(model, head, None))
    return (
        (head, "head on targets") if obstacle is None else (None, f"full logits: without its head the model {obstacle}")
    )


def _rows(
    model: Any, implementation: str | None, head: TargetHead | None, probe: Probe
) -> tuple[Attention | None, str]:
    if implementation is not None:
        return None, f"padded batches: attention '{implementation}' is asked for"
    half = model.device.type == "cuda" and model.dtype in (torch.bfloat16, torch.float16)
    obstacle = _row_obstacle(model, VarlenAttention, head, probe) if half else "is not in half precision on CUDA"
    if obstacle is None:
        return VarlenAttention, "packed rows, flash attention"
    why = f"; no flash attention: the model {obstacle}" if half else ""
    obstacle = _row_obstacle(model, RunAttention, head, probe)
    if obstacle is None:
        return RunAttention, f"packed rows, attention by run{why}"
    return None, f"padded batches: with packed rows the model {obstacle}"


def _row_obstacle(model: Any, kind: Attention, head: TargetHead | None, probe: Probe) -> str | None:
    used: list[RowAttention] = []

    def attention(row: PrefixRow, outgoing: Outgoing) -> RowAttention:
        used.append(kind(row, outgoing))
        return used[-1]

    obstacle = probe.obstacle(TargetLosses(model, head, attention))
    windows = {window for row in used for window in row.windows}
    return obstacle or _window_obstacle(model.config.get_text_config(), windows)


def _window_obstacle(config: Any, windows: set[int | None]) -> str | None:
    """Return why sliding windows do not work with packed rows; ``None`` if they do.

    The probe is shorter than any window and cannot show this. So the layer types of the configuration are compared with
    the windows that the layers passed to their attention.
    """
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {_FULL, _SLIDING}:
        return f"has layers of the kind {', '.join(sorted(kinds - {_FULL, _SLIDING}))}"
    sliding = _SLIDING in kinds or (not kinds and getattr(config, "sliding_window", None))
    return "does not pass its sliding window to attention" if sliding and windows == {None} else None

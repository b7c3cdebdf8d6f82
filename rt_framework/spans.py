"""What a metric asks of the student, and what comes back: frozen, plain, and free of any machine-learning import."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from rt_framework.errors import Unscorable
from rt_framework.model import Pair, Turn

Context = str | tuple[Turn, ...]
"""What stands before a target: text, or messages that the student's chat template renders."""


@frozen
class Span:
    """A target to be scored after a context: what a metric asks of the student."""

    context: Context
    target: str
    join: str = "text"
    """``text``: context and target are one string, encoded whole, and the boundary is the length of
    the encoded context. ``ids``: both are encoded apart and their token ids are joined."""
    paired_context: Context | None = None
    """The context of the other pass that this one is compared with. With ``text`` the target is cut
    so that the paired context still fits; with ``ids`` both passes score the same target tokens."""
    max_tokens: int | None = None
    """Longest sequence in tokens; ``None`` is the model's own limit."""
    count_only: bool = False
    """Only the number of target tokens is wanted: no forward pass."""
    by_token: bool = False
    """The loss and the rank of each target token are wanted too: see :func:`by_token`."""


def by_token(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same spans, with the loss and the rank of each target token: ``Loss.token_nll`` and ``Loss.token_ranks``."""
    return tuple(evolve(span, by_token=True) for span in spans)


@frozen
class EncodedSpan:
    """A span as token ids. Positions ``start … len(ids)-1`` are its targets."""

    ids: tuple[int, ...]
    start: int
    """First target position that is scored, ≥ 1: position 0 has no prediction."""
    count_only: bool = False
    by_token: bool = False
    """Whether the loss must hold ``token_nll`` and ``token_ranks``."""
    cut: int = 0
    """Target tokens left out at the end, because the sequence would be too long with them."""


@frozen
class SpanLoss:
    """What the student found for one span."""

    nll: float | None
    """Sum of the target tokens' negative log-likelihoods, in nats; ``None`` when there is no number."""
    tokens: int
    """Number of target tokens scored."""
    status: str = "ok"
    reason: str | None = None
    token_nll: tuple[float, ...] | None = None
    """Negative log-likelihood of each target token in nats (float32), where the span asks for it."""
    token_ranks: tuple[int, ...] | None = None
    """Rank of each target token among the whole vocabulary, 1 for the likeliest, where the span asks for it."""
    cut: int = 0
    """With ``token_nll``: the target tokens left out at the end. Core takes it from the encoded span."""

    @property
    def has_tokens(self) -> bool:
        """Whether each token has its own loss and rank."""
        return self.token_nll is not None and self.token_ranks is not None


@frozen
class Loss:
    """The loss that a metric reads: one span, or the sum over all turns of a conversation."""

    nll: float | None
    tokens: int
    status: str = "ok"
    reason: str | None = None
    parts: tuple[SpanLoss, ...] = ()
    """The turns one by one, oldest first."""

    @property
    def mean(self) -> float:
        """Mean token loss L in nats (float64).

        Raises:
            Unscored by contract: core never hands a metric a loss without a number.
        """
        if self.nll is None:
            raise ValueError(f"no loss: {self.reason}")
        return self.nll / self.tokens

    @property
    def token_nll(self) -> tuple[float, ...]:
        """Loss of each target token in nats, of spans asked for :func:`by_token`; turns end to end."""
        return tuple(nll for part in self.parts for nll in part.token_nll or ())

    @property
    def token_ranks(self) -> tuple[int, ...]:
        """Rank of each target token, 1 for the likeliest, of spans asked for :func:`by_token`; turns end to end."""
        return tuple(rank for part in self.parts for rank in part.token_ranks or ())

    @property
    def has_tokens(self) -> bool:
        """Whether each token has its own loss and rank."""
        return all(part.has_tokens for part in self.parts)


def total(parts: Sequence[SpanLoss]) -> Loss:
    """Token-weighted sum over the turns of a conversation; the first turn without a number decides the status."""
    tokens = sum(part.tokens for part in parts)
    bad = next((part for part in parts if part.status != "ok"), None)
    if bad is not None:
        return Loss(None, tokens, bad.status, bad.reason, tuple(parts))
    nll = None if any(part.nll is None for part in parts) else math.fsum(part.nll or 0.0 for part in parts)
    return Loss(nll, tokens, parts=tuple(parts))


def aligned(one: Loss, other: Loss) -> Iterator[tuple[float, float]]:
    """The losses in nats of each target token that two passes over the same texts both score, turn by turn.

    Both have to be asked for :func:`by_token`. Tokens are matched from the end of the target: a pass without
    anything before it has no prediction for the first one, and each pass may be cut off elsewhere.
    """
    for mine, its in zip(one.parts, other.parts, strict=True):
        end = max(mine.cut, its.cut)
        left, right = (_until(part.token_nll or (), end - part.cut) for part in (mine, its))
        common = min(len(left), len(right))
        yield from zip(left[len(left) - common :], right[len(right) - common :], strict=True)


def _until(losses: tuple[float, ...], left_out: int) -> tuple[float, ...]:
    return losses[: max(len(losses) - left_out, 0)]


def turns(pair: Pair) -> Iterator[Pair]:
    """Each assistant turn as a pair of its own, with what came before it as history; the last is *pair*.

    Raises:
        Unscorable: an assistant turn does not follow a user turn.
    """
    for position, turn in enumerate(pair.history):
        if turn.role != "assistant":
            continue
        if position == 0 or pair.history[position - 1].role != "user":
            raise Unscorable("conversation", "an assistant turn does not follow a user turn")
        asked = pair.history[position - 1].content
        yield evolve(pair, instruction=asked, input="", response=turn.content, history=pair.history[: position - 1])
    yield pair


def shared(one: EncodedSpan, other: EncodedSpan) -> int:
    """Tokens at the start that are fed for both."""
    low, high = 0, min(len(one.ids), len(other.ids)) - 1
    while low < high:
        middle = (low + high + 1) // 2
        # Slices are compared in C: for prompts of some hundred tokens that is much faster than a loop.
        if one.ids[low:middle] == other.ids[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

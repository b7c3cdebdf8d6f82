"""Spans, which metrics ask of the student, and the losses that come back: frozen data, no machine-learning imports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from operator import index
from typing import Literal

from attrs import evolve, field, frozen

from rt_framework.errors import Unscorable
from rt_framework.model import Turn


@frozen
class Messages:
    """Messages with the tools that they may call."""

    turns: tuple[Turn, ...]
    """The messages, oldest first."""
    tools: tuple[str, ...]
    """JSON schema of each tool, as text."""


def messages(turns: tuple[Turn, ...], tools: tuple[str, ...]) -> tuple[Turn, ...] | Messages:
    """Return turns as the context of a span, together with the tools if there are any."""
    return Messages(turns, tools) if tools else turns


Context = str | tuple[Turn, ...] | Messages
"""Text before a target: a string, or messages that the student's chat template renders. Messages without tools are a
tuple of turns."""

Ranges = tuple[tuple[int, int], ...]
"""Ranges in order, each from its first place up to the place behind its last: ``((0, 5), (9, 12))``."""


def _as_ranges(ranges: Iterable[Sequence[int]] | None) -> Ranges | None:
    return None if ranges is None else tuple((index(start), index(end)) for start, end in ranges)


@frozen
class Span:
    """A target text after a context, whose loss a metric asks of the student."""

    context: Context
    """Text before the target, or messages; an empty text where the target is scored alone."""
    target: str | Turn
    """Text whose loss is wanted; or an assistant turn with reasoning or calls of tools, which follows messages. The
    chat template renders such a turn, and the target is the text from where the answer begins up to the end of the
    turn's own text, without the tokens that end a turn."""
    join: str = "text"
    """Encoding of context and target. ``text``: both are encoded as one string, and the target starts after as many
    tokens as the context has when it is encoded alone. ``ids``: both are encoded separately and their token ids are
    joined."""
    paired_context: Context | None = None
    """Context of the other pass that this pass is compared with. With ``text`` the target is cut so that it would fit
    behind the paired context too; with ``ids`` both passes score the same target tokens."""
    max_tokens: int | None = None
    """Longest sequence in tokens; ``None`` is the model's own limit."""
    count_only: bool = False
    """True if only the number of target tokens is wanted, which needs no forward pass."""
    by_token: bool = False
    """True if the loss and the rank of each target token are wanted too: see :func:`by_token`."""
    scored: Ranges | None = field(default=None, converter=_as_ranges)
    """Ranges of characters of the target that count, ``((start, end), …)`` in order and without overlap; ``None`` for
    the whole target. The tokens that lie in them are the target tokens of the loss, in both passes: the rest of the
    target is read and not scored. A token counts where its first character that is no white space lies; white space at
    the end of the target belongs to the last character. Without a token in the ranges the status is ``empty``."""
    part: Literal["whole", "answer", "reasoning"] = "whole"
    """Part of a target turn that counts: all of it, its text (``content``), or its reasoning. The rest of the target is
    read and not scored, in both passes. For a text it is always ``whole``."""
    within: tuple[Turn, ...] | Messages | None = None
    """Whole conversation in which a model is trained on the target, where turns follow it. The chat template has to
    render it with the context and the target at its beginning, else the status is ``rendered_otherwise``: training
    would see another text than the one that is scored."""

    @property
    def is_typed(self) -> bool:
        """True if the target or a context has more than texts: tools, calls and results of tools, or reasoning."""
        if isinstance(self.target, Turn):
            return True
        return any(_is_typed(context) for context in (self.context, self.paired_context, self.within))

    def __attrs_post_init__(self) -> None:
        if isinstance(self.target, Turn):
            if isinstance(self.context, str) or isinstance(self.paired_context, str):
                raise ValueError("a turn is a target after messages only, since a chat template has to render it")
            if self.scored is not None:
                # A metric of ranges has no number for such a row, and goes on with the others.
                raise Unscorable("no_parts", "a turn with reasoning or calls of tools has parts, and no ranges of text")
        elif self.part != "whole":
            raise ValueError(f"a text has no part '{self.part}'; give the ranges of its characters in 'scored'")
        elif self.scored is not None:
            _check_ranges(self.scored, len(self.target))


def _is_typed(context: Context | None) -> bool:
    if context is None or isinstance(context, str):
        return False
    if isinstance(context, Messages):
        return True
    return any(turn.reasoning or turn.tool_calls or turn.role == "tool" for turn in context)


def _check_ranges(ranges: Ranges, length: int) -> None:
    """Check the ranges of a target of *length* characters.

    Raises:
        ValueError: a range is empty or outside the target, or two of them overlap or are out of order.
    """
    for start, end in ranges:
        if not 0 <= start < end <= length:
            what = "is empty" if start == end else f"is not inside the target, which has {length} characters"
            raise ValueError(f"the scored range {start} to {end} {what}; give 0 <= start < end <= {length}")
    for (start, end), (following, its_end) in pairwise(ranges):
        if following < end:
            raise ValueError(
                f"the scored ranges {start} to {end} and {following} to {its_end} overlap or are out of order; "
                "give them from the beginning of the target to its end"
            )


def by_token(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the same spans, which also ask for ``Loss.token_nll`` and ``Loss.token_ranks`` of each target token."""
    return tuple(evolve(span, by_token=True) for span in spans)


@frozen
class EncodedSpan:
    """A span as token ids, of which positions ``start … len(ids)-1``, or those in ``scored``, are the targets."""

    ids: tuple[int, ...]
    """Token ids of context and target."""
    start: int
    """First position that is scored, at least 1, since the token at position 0 has no prediction."""
    count_only: bool = False
    """True if only the number of target tokens is wanted; such a span is not scored."""
    by_token: bool = False
    """True if the loss must hold ``token_nll`` and ``token_ranks``."""
    cut: int = 0
    """Number of target tokens that were left out at the end because the sequence would have been too long with them."""
    scored: Ranges | None = None
    """Ranges of positions in ``ids`` that are scored, where the span names parts of its target; ``None`` for all from
    ``start``."""

    @property
    def ranges(self) -> Ranges:
        """Ranges of the positions in ``ids`` that are scored, in order."""
        return ((self.start, len(self.ids)),) if self.scored is None else self.scored

    @property
    def positions(self) -> Sequence[int]:
        """Positions in ``ids`` of the target tokens: those whose losses are wanted, in order."""
        first, *others = (range(*one) for one in self.ranges)
        return tuple(chain(first, *others)) if others else first


def only_scored(span: Span, encoded: EncodedSpan, places: Sequence[int], first: int) -> EncodedSpan | SpanLoss:
    """Return the encoding of a span, with only those target tokens that lie in ``span.scored``.

    For students: encode the whole target by the rules for the two passes, then take the scored part of it.

    Args:
        span: the span; without ``scored`` its encoding is returned as it is.
        encoded: the encoding of the whole target.
        places: character of the target at which each of its tokens starts, also of those that were cut off.
        first: position in ``encoded.ids`` of the first target token, whether or not it has a prediction.
    """
    if span.scored is None or isinstance(span.target, Turn):
        return encoded
    inside = [at for at, counts in enumerate(_inside(span.target, span.scored, places), first) if counts]
    fitting = [at for at in inside if at < len(encoded.ids)]
    kept = [at for at in fitting if at >= encoded.start]
    if not inside:
        return SpanLoss(None, 0, "empty", "the scored part of the target has no token")
    if not fitting:
        return SpanLoss(None, 0, "no_room", f"the scored part of the target is cut off at {len(encoded.ids)} tokens")
    if not kept:
        return SpanLoss(None, 0, "too_short", "the scored part of the target is one token without a prediction")
    # Consecutive positions have one difference to their rank among all.
    runs = [[at for _, at in run] for _, run in groupby(enumerate(kept), lambda one: one[1] - one[0])]
    scored = tuple((run[0], run[-1] + 1) for run in runs)
    return evolve(encoded, start=kept[0], scored=scored, cut=len(inside) - len(fitting))


def _inside(target: str, ranges: Ranges, places: Sequence[int]) -> list[bool]:
    """Return of each token, which starts at a place in the target, whether it counts.

    Tokenizers differ in whether the white space before a word is a part of the word's token, and in whether they say
    so. By the first character that is no white space, a range that begins with a word has the whole word with all.
    """
    scored, counts = False, [False] * len(target)
    for start, end in ranges:
        counts[start:end] = [True] * (end - start)
    for at in range(len(target) - 1, -1, -1):
        if not target[at].isspace() or at == len(target) - 1:
            scored = counts[at]
        counts[at] = scored
    return [counts[min(max(place, 0), len(target) - 1)] for place in places]


LASTING = frozenset(
    {
        "ok",
        "empty",
        "too_short",
        "no_room",
        "bad_text",
        "no_template",
        "template_error",
        "rendered_otherwise",
        "nonfinite",
    }
)
"""Statuses of a loss that follow from the span and the student alone, so that the same student would give them again.

Only losses with these statuses are stored. With any other status, such as ``oom`` or ``unreachable``, the student may
do better next time, so a later run asks it again.
"""


@frozen
class SpanLoss:
    """The student's result for one span."""

    nll: float | None
    """Sum of the target tokens' negative log-likelihoods, in nats; ``None`` when there is no number."""
    tokens: int
    """Number of target tokens scored; with ``Span.scored`` of those that lie in the ranges."""
    status: str = "ok"
    """``ok``, or why there is no number: one of :data:`LASTING`, or the student's own word for a passing cause."""
    reason: str | None = None
    """Explanation of a status other than ``ok``, for the user."""
    token_nll: tuple[float, ...] | None = None
    """Negative log-likelihood of each target token in nats (float32), where the span asks for it."""
    token_ranks: tuple[int, ...] | None = None
    """Rank of each target token among the whole vocabulary, 1 for the likeliest, where the span asks for it."""
    cut: int = 0
    """Number of target tokens left out at the end, where ``token_nll`` is given. Core copies it from the encoded
    span."""

    @property
    def has_tokens(self) -> bool:
        """Return whether each token has its own loss and rank."""
        return self.token_nll is not None and self.token_ranks is not None


@frozen
class Loss:
    """The loss that a metric reads: of one span, or the sum over all turns of a conversation."""

    nll: float | None
    """Sum of the target tokens' negative log-likelihoods, in nats; ``None`` when there is no number."""
    tokens: int
    """Number of target tokens scored."""
    status: str = "ok"
    """Status of the first turn that has no number; ``ok`` if all have one."""
    reason: str | None = None
    """Explanation of a status other than ``ok``."""
    parts: tuple[SpanLoss, ...] = ()
    """Results of the single turns, oldest first."""

    @property
    def mean(self) -> float:
        """Mean token loss L in nats (float64).

        Raises:
            ValueError: there is no number, which core rules out: it never hands such a loss to a metric.
        """
        if self.nll is None:
            raise ValueError(f"no loss: {self.reason}")
        return self.nll / self.tokens

    @property
    def token_nll(self) -> tuple[float, ...]:
        """Loss of each target token in nats, for spans made by :func:`by_token`; turns concatenated."""
        return tuple(nll for part in self.parts for nll in part.token_nll or ())

    @property
    def token_ranks(self) -> tuple[int, ...]:
        """Rank of each target token, 1 for the likeliest, for spans made by :func:`by_token`; turns concatenated."""
        return tuple(rank for part in self.parts for rank in part.token_ranks or ())

    @property
    def has_tokens(self) -> bool:
        """Return whether each token has its own loss and rank."""
        return all(part.has_tokens for part in self.parts)


def total(parts: Sequence[SpanLoss]) -> Loss:
    """Return the sum over the turns of a conversation; the first turn without a number decides the status.

    The sum of the token losses over the sum of the token counts is a mean in which every token weighs the same.
    """
    tokens = sum(part.tokens for part in parts)
    bad = next((part for part in parts if part.status != "ok"), None)
    if bad is not None:
        return Loss(None, tokens, bad.status, bad.reason, tuple(parts))
    nll = None if any(part.nll is None for part in parts) else math.fsum(part.nll or 0.0 for part in parts)
    return Loss(nll, tokens, parts=tuple(parts))


def aligned(loss: Loss, other: Loss) -> Iterator[tuple[float, float]]:
    """Yield both losses, in nats, of each target token that two passes over the same texts score, turn by turn.

    Both passes have to be asked for :func:`by_token`. Tokens are matched from the end of the target, because a pass
    with an empty context has no prediction for the first target token, and the two passes may be cut off at different
    lengths.
    """
    for mine, its in zip(loss.parts, other.parts, strict=True):
        end = max(mine.cut, its.cut)
        left, right = (_until(part.token_nll or (), end - part.cut) for part in (mine, its))
        common = min(len(left), len(right))
        yield from zip(left[len(left) - common :], right[len(right) - common :], strict=True)


def _until(losses: tuple[float, ...], left_out: int) -> tuple[float, ...]:
    return losses[: max(len(losses) - left_out, 0)]


def shared(span: EncodedSpan, other: EncodedSpan) -> int:
    """Return the length of the longest common prefix of the two sequences, among the tokens that are fed to the model.

    The last token of a sequence predicts nothing and is not fed.
    """
    low, high = 0, min(len(span.ids), len(other.ids)) - 1
    while low < high:
        middle = (low + high + 1) // 2
        # Slices are compared in C, which is much faster than a loop for prompts of some hundred tokens.
        if span.ids[low:middle] == other.ids[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

"""The canary of a student behind a server: fixed texts whose losses show that the same weights answer, and soundly.

The name of a model says nothing of its weights, and a server may be started again with others. So the losses of the
fixed texts are kept in the ledger, and compared before the first loss of each run and after each failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rt_framework.errors import ConfigError, ModelError
from rt_framework.ledger import Ledger
from rt_framework.model import Turn
from rt_framework.spans import EncodedSpan, Span, SpanLoss

_PREFIX = (
    "The following notes were taken on a walk along the river. It was a cold morning in early spring, and the water "
    "stood high after a week of rain. Two herons waited by the old mill, and nobody else was out. "
)
"""Text that three of the fixed texts begin with: long enough that servers share its computation."""

TEXTS = (
    f"{_PREFIX}A barge passed at nine, loaded with gravel.",
    f"{_PREFIX}By noon the sun came out, and the ice on the puddles melted.",
    f"{_PREFIX}def area(width, height): return width * height",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Die Hauptstadt von Norwegen ist Oslo.",
    '{"name": "Ada", "born": 1815, "fields": ["mathematics", "computing"]}',
    "To be, or not to be, that is the question.",
    "1, 1, 2, 3, 5, 8, 13, 21, 34, 55",
)
"""The fixed texts."""

Encode = Callable[[Sequence[Span]], Awaitable[Sequence[EncodedSpan | SpanLoss]]]
Ask = Callable[[EncodedSpan], Awaitable[SpanLoss]]


class Canary:
    """The losses of the fixed texts of one student, in nats per token.

    Args:
        fingerprint: the student's identity.
        noise: nats per token by which a loss may differ between two requests.
        ledger: where the losses of the first run are kept.
        encode: encodes the fixed texts.
    """

    def __init__(self, fingerprint: str, noise: float, ledger: Ledger, encode: Encode) -> None:
        self._key = canary_key(fingerprint)
        self._noise = noise
        self._ledger = ledger
        self._encode = encode
        self._encoded: list[EncodedSpan] = []
        self._whole = False
        """True when all texts have been compared in this run."""

    async def check(self, ask: Ask) -> None:
        """Compare the losses of the fixed texts with those that the ledger holds; the first ones are stored.

        The first check of a run asks all texts, and looks for losses that depend on the requests before and beside
        them. A further check, after a failure, asks the first text alone.

        Raises:
            ConfigError: the losses depend on other requests, or differ from the stored ones.
            ModelError: the student gives no losses of these texts.
        """
        if not self._encoded:
            self._encoded = [one for one in await self._encode(_SPANS) if isinstance(one, EncodedSpan)]
        if not self._encoded:
            raise ModelError("the student encodes none of the fixed texts by which it is checked")
        losses = [await self._loss(one, ask) for one in self._encoded[: 1 if self._whole else None]]
        if not self._whole:
            await self._check_order(losses, ask)
        known = self._ledger.meta(self._key)
        if known is None:
            await self._ledger.set_meta(self._key, {"noise": self._noise, "losses": losses})
        elif (gap := _gap(known["losses"][: 1 if self._whole else None], losses)) > self._noise:
            raise ConfigError(
                f"the student's weights are not those that the run directory was begun with: its losses of fixed texts "
                f"differ by up to {gap:.2g} nats a token. Serve the same model, or begin a new run directory"
            )
        self._whole = True

    async def _check_order(self, alone: Sequence[float], ask: Ask) -> None:
        for order in (1, -1):
            together = await asyncio.gather(*(self._loss(one, ask) for one in self._encoded[::order]))
            if (gap := _gap(alone, together[::order])) > self._noise:
                raise ConfigError(
                    f"the student's losses depend on the requests before and beside them: those of fixed texts differ "
                    f"by up to {gap:.2g} nats a token. Switch off the server's cache of prefixes (vLLM: "
                    "--no-enable-prefix-caching, SGLang: --disable-radix-cache), and start it again"
                )

    @staticmethod
    async def _loss(span: EncodedSpan, ask: Ask) -> float:
        loss = await ask(span)
        if loss.nll is None:
            raise ModelError(f"the student gives no loss of a fixed text: {loss.status}: {loss.reason}")
        return loss.nll / max(loss.tokens, 1)


_SPANS = [
    *(Span("", text, "ids") for text in TEXTS),
    # Shows another chat template; a tokenizer without one encodes the others alone.
    Span((Turn("system", "Answer."), Turn("user", "Name a river.")), "The Rhine.", "ids"),
]


def canary_key(fingerprint: str) -> str:
    """Return the key of a ledger's note of a student's losses of the fixed texts."""
    return f"canary {fingerprint}"


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two notes of the losses of the fixed texts may be of the same weights."""
    return _gap(one["losses"], other["losses"]) <= max(float(one["noise"]), float(other["noise"]))


def _gap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest difference between two lists of losses; infinite if they have not the same length."""
    if len(one) != len(other):
        return float("inf")
    return max(abs(first - second) for first, second in zip(one, other, strict=True))

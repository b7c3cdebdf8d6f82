"""The tokens by which provider batches are found again after a crash, and what they say about a batch."""

from __future__ import annotations

import re
import secrets
from typing import Self

from attrs import frozen

_FORM = re.compile(r"([0-9a-f]{1,9})-([0-9a-f]{1,6})-[0-9a-f]{16}")


@frozen
class BatchToken:
    """Time and size of a batch, which a teacher can read from its token.

    A provider whose batches carry no mark can only be searched for batches of the same size and time.
    """

    created: float
    """Time at which the batch was about to be submitted, in whole seconds since 1970, by the clock of this machine."""
    questions: int
    """Number of questions in the batch."""

    @classmethod
    def of(cls, token: str) -> Self | None:
        """Return what a token says; ``None`` for one of another form, as earlier releases made them."""
        match = _FORM.fullmatch(token)
        return None if match is None else cls(float(int(match[1], 16)), int(match[2], 16))

    def new(self) -> str:
        """Return a new token for such a batch: both numbers and 64 random bits.

        It has at most 31 characters for up to a million questions, so that token and key fit into 64 of an id.
        """
        return f"{int(self.created):x}-{self.questions:x}-{secrets.token_hex(8)}"

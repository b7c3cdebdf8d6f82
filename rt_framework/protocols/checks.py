"""The protocols of parts that can be looked at before a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from rt_framework.model import Finding


@runtime_checkable
class CheckedPart(Protocol):
    """A teacher or student that can say before a run what keeps it from working. The member is optional."""

    def look(self) -> Iterable[Finding]:
        """Yield what is right and what is wrong with this part, such as its key, its address and its files.

        ``rt doctor CONFIG`` prints it. No question is sent, no weights are loaded, and it takes a few seconds at most.
        """


@runtime_checkable
class StoredPart(Protocol):
    """A student that can say whether its tokenizer is at hand. The member is optional."""

    def stored(self) -> bool:
        """Return whether ``encode`` works with the files on this machine, so that it downloads nothing.

        ``rt init`` then tells lengths in tokens, and else in characters.
        """

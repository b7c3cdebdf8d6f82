"""Everything that can go wrong, by name: what it costs, whether to try again, how the command ends."""

from __future__ import annotations

import enum
import math
from typing import ClassVar

from attrs import frozen

from rt_framework.text import without_secrets


class Retry(enum.Enum):
    """What may be tried after a failed attempt."""

    NO = "no"
    RESEND = "resend"
    """The same request again, after a pause: nothing usable was received."""
    CHANGE = "change"
    """A changed request (other temperature, a repair prompt): this one's answer is known to be unusable."""


@frozen
class ErrorKind:
    """One way in which a teacher call ends badly."""

    name: str
    billed: str
    """``"no"``, ``"yes"`` or ``"maybe"``: whether the provider charges for it."""
    retry: Retry
    fatal: bool
    """A fatal kind stops the run: no other call can succeed either."""
    meaning: str


_ALL = (
    ErrorKind("rate_limited", "no", Retry.RESEND, False, "the provider asked to slow down"),
    ErrorKind("overloaded", "no", Retry.RESEND, False, "the provider had a server error"),
    ErrorKind("timeout", "maybe", Retry.RESEND, False, "no answer within the deadline"),
    ErrorKind("connection", "maybe", Retry.RESEND, False, "the connection failed or broke"),
    ErrorKind("paid_unreadable", "yes", Retry.RESEND, False, "an answer arrived and could not be read"),
    ErrorKind("refused", "yes", Retry.NO, False, "the teacher or its content filter refused"),
    ErrorKind("truncated", "yes", Retry.CHANGE, False, "the answer was cut off by the token limit"),
    ErrorKind("empty", "yes", Retry.CHANGE, False, "the answer was empty"),
    ErrorKind("format", "yes", Retry.CHANGE, False, "the answer did not have the form that was asked for"),
    ErrorKind("too_long", "no", Retry.NO, False, "the request does not fit the teacher's context window"),
    ErrorKind("no_answer", "no", Retry.NO, False, "the replay file has no answer for this request"),
    ErrorKind("auth", "no", Retry.NO, True, "the provider did not accept the key"),
    ErrorKind("quota", "no", Retry.NO, True, "the account has no credit left"),
    ErrorKind("model_missing", "no", Retry.NO, True, "the provider does not know this model"),
    ErrorKind("bad_request", "no", Retry.NO, False, "the provider did not accept the request"),
    ErrorKind("redirected", "maybe", Retry.NO, True, "the provider's address sends requests on to another one"),
    ErrorKind("budget", "no", Retry.NO, True, "the budget does not allow another call"),
    ErrorKind("interrupted_unknown", "maybe", Retry.RESEND, False, "the run was killed while the call was under way"),
    ErrorKind("expired", "no", Retry.RESEND, False, "a batch ended without an answer to this, or was never submitted"),
    ErrorKind("batch_failed", "no", Retry.NO, True, "the provider ended the batch without answering it"),
    ErrorKind("batch_lost", "maybe", Retry.NO, True, "the provider no longer has the batch or its answers"),
    ErrorKind("plugin_bug", "maybe", Retry.NO, False, "a plugin raised an exception"),
)

KINDS: dict[str, ErrorKind] = {kind.name: kind for kind in _ALL}
"""Every kind of failure of a teacher call or a sample, by name."""

ERRORS = frozenset(kind.name for kind in _ALL if kind.retry is Retry.RESEND) | {"bad_request", "plugin_bug"}
"""Kinds that say nothing of the sample or the teacher's answer: something did not work."""


class RtError(Exception):
    """An error the user can act on: shown as one line, without a traceback."""

    exit_code: ClassVar[int] = 2


class ConfigError(RtError):
    """A configuration that cannot be used."""


class DataError(RtError):
    """Input data that cannot be read."""


class PluginError(RtError):
    """A plugin that is unknown, ambiguous or failed to load."""


class ModelError(RtError):
    """A model that cannot be found or loaded."""


class FatalTeacherError(RtError):
    """The provider will refuse every further call."""

    exit_code = 3


class LockedError(RtError):
    """Another run owns the run directory."""

    exit_code = 4


class DiskError(RtError):
    """The ledger or an output could not be written."""

    exit_code = 5


class BudgetReached(RtError):
    """The budget allows no further call; the run can be resumed with a larger one."""

    exit_code = 6


class Interrupted(RtError):
    """The user stopped the run; it goes on when it is started again."""

    exit_code = 130


class TeacherError(Exception):
    """One attempt of a teacher failed.

    Args:
        kind: a name in :data:`KINDS`.
        message: what happened, in one line. Secrets of the environment are taken out of it.
        retry_after: seconds the provider asked to wait, if it did.
        billed: ``"no"``, ``"yes"`` or ``"maybe"``, where this attempt is not billed as its kind usually is.
        raw: body of an answer that was paid for and cannot be read; it is kept.
        nano_dollars: what that answer says it cost, if it does.

    Raises:
        KeyError: *kind* is not a known kind.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        retry_after: float | None = None,
        *,
        billed: str | None = None,
        raw: bytes | None = None,
        nano_dollars: int | None = None,
    ) -> None:
        # It is stored and shown, and may quote what a provider or library said.
        self.message = without_secrets(message)
        super().__init__(self.message)
        self.kind = KINDS[kind]
        # A provider may say anything; no pause is endless by accident, or negative.
        self.retry_after = None if retry_after is None or math.isnan(retry_after) else max(0.0, retry_after)
        self.billed = billed or self.kind.billed
        self.raw = raw
        self.nano_dollars = nano_dollars or 0


class OutOfMemory(Exception):
    """A student's batch did not fit the device; core tries again with half of it."""


LONGEST_PAUSE = 3600.0
"""Seconds. A provider that asks for more stops the run, with its cause, instead of letting it seem to hang."""


def too_long_a_pause(error: TeacherError) -> bool:
    """Whether a provider asks to wait for longer than a run does."""
    return error.retry_after is not None and error.retry_after > LONGEST_PAUSE


def fatal(error: TeacherError) -> FatalTeacherError:
    """The error that ends a run whose teacher failed in a way that no other call can escape."""
    if too_long_a_pause(error) and not error.kind.fatal:
        return FatalTeacherError(
            f"teacher: {error.kind.meaning}: {error.message}; it asks for no calls for longer than "
            f"{LONGEST_PAUSE:g} s (Retry-After), and a run does not wait so long: the same command goes on later"
        )
    return FatalTeacherError(
        f"teacher: {error.kind.meaning}: {error.message}; when that is mended the same command goes on"
    )


class Unscorable(Exception):
    """A span that has no loss; becomes a status and a reason, never a number.

    Args:
        status: ``empty``, ``no_room``, ``too_short``, ``conversation``, …
        reason: what to tell the user.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

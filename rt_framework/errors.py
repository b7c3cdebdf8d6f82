"""All errors by name: whether a failed call is charged, whether it is tried again, and the exit code of the command."""

from __future__ import annotations

import enum
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from rt_framework.text import without_secrets


class Retry(enum.Enum):
    """The follow-up that is allowed after a failed attempt."""

    NO = "no"
    RESEND = "resend"
    """Send the same request again after a pause, because nothing usable was received."""
    CHANGE = "change"
    """Send a changed request (other temperature, a repair prompt), because this request's answer is known to be
    unusable."""


@frozen
class ErrorKind:
    """A kind of failure of a teacher call."""

    name: str
    billed: str
    """Charge of the provider for the failed call: ``"no"``, ``"yes"`` or ``"maybe"``."""
    retry: Retry
    fatal: bool
    """True if the failure stops the run, because no other call can succeed either."""
    meaning: str


_ALL = (
    ErrorKind("rate_limited", "no", Retry.RESEND, False, "the provider asked to slow down"),
    ErrorKind("overloaded", "no", Retry.RESEND, False, "the provider had a server error"),
    ErrorKind("timeout", "maybe", Retry.RESEND, False, "no answer within the deadline"),
    ErrorKind("connection", "maybe", Retry.RESEND, False, "the connection failed or broke"),
    ErrorKind("paid_unreadable", "yes", Retry.RESEND, False, "an answer arrived and could not be read"),
    ErrorKind("refused", "yes", Retry.NO, False, "the teacher or its content filter refused"),
    ErrorKind("all_reasoning", "yes", Retry.NO, False, "the model spent all tokens of the answer on reasoning"),
    ErrorKind("truncated", "yes", Retry.CHANGE, False, "the answer was cut off by the token limit"),
    ErrorKind("empty", "yes", Retry.CHANGE, False, "the answer was empty"),
    ErrorKind("format", "yes", Retry.CHANGE, False, "the answer did not have the form that was asked for"),
    ErrorKind("too_long", "no", Retry.NO, False, "the request does not fit the teacher's context window"),
    ErrorKind("no_answer", "no", Retry.NO, False, "the replay file has no answer for this request"),
    ErrorKind("auth", "no", Retry.NO, True, "the provider did not accept the key"),
    ErrorKind("quota", "no", Retry.NO, True, "the account has no credit left"),
    ErrorKind("model_missing", "no", Retry.NO, True, "the provider does not know this model"),
    ErrorKind("bad_request", "no", Retry.NO, False, "the provider did not accept the request"),
    ErrorKind("redirected", "maybe", Retry.NO, True, "the provider's address redirects requests to another one"),
    ErrorKind("budget", "no", Retry.NO, True, "the budget does not allow another call"),
    ErrorKind("interrupted_unknown", "maybe", Retry.RESEND, False, "the run was killed while the call was under way"),
    ErrorKind(
        "expired",
        "no",
        Retry.RESEND,
        False,
        "a provider batch ended without an answer to the question, or was never submitted",
    ),
    ErrorKind("batch_failed", "no", Retry.NO, True, "the provider ended the batch without answering it"),
    ErrorKind("batch_lost", "maybe", Retry.NO, True, "the provider no longer has the batch or its answers"),
    ErrorKind("plugin_bug", "maybe", Retry.NO, False, "a plugin raised an exception"),
)

KINDS: dict[str, ErrorKind] = {kind.name: kind for kind in _ALL}
"""Every kind of failure of a teacher call or a sample, by name."""

STUDENT_KINDS: dict[str, ErrorKind] = {
    **{
        name: KINDS[name]
        for name in (
            *("rate_limited", "overloaded", "timeout", "connection"),
            *("auth", "model_missing", "redirected", "bad_request"),
        )
    },
    "unreadable": ErrorKind("unreadable", "no", Retry.RESEND, False, "an answer arrived and could not be read"),
}
"""Every kind of failure of a student behind a server, by name."""

ERRORS = frozenset(kind.name for kind in _ALL if kind.retry is Retry.RESEND) | {"bad_request", "plugin_bug"}
"""Kinds that say nothing about the sample or the teacher's answer: something technical did not work."""


FALLBACK_KINDS = frozenset({"refused", "too_long", "all_reasoning", "truncated", "empty", "format"})
"""Kinds of a teacher's final failure after which its fallback is asked: the teacher took the question and cannot do it.

All others may show a broken setup, such as a wrong key: with a fallback it would go unnoticed, and all be paid there.
"""


class RtError(Exception):
    """An error that the user can act on, shown as one line without a traceback."""

    exit_code: ClassVar[int] = 2
    """Exit code of the command that the error ends."""


class ConfigError(RtError):
    """A configuration that cannot be used."""


class DataError(RtError):
    """Input data that cannot be read."""


class ErrorList(DataError):
    """An error whose message has a line for each thing that it is about, after a line about all of them."""

    def __init__(self, head: str, lines: Sequence[str] = ()) -> None:
        super().__init__(head, lines)
        self.head = head
        self.lines = tuple(lines)

    def __str__(self) -> str:
        return "\n  ".join((self.head, *self.lines))


class UnreadableRows(ErrorList):
    """Rows of a data set that cannot be read: their number with the way out, and a line for each kind of fault."""


class PluginError(RtError):
    """A plugin that is unknown, ambiguous or failed to load."""


class ModelError(RtError):
    """A model that cannot be found or loaded."""


class FatalTeacherError(RtError):
    """A failure after which the provider will refuse every further call."""

    exit_code = 3


class FatalStudentError(RtError):
    """A failure after which the student's server will give no further loss."""

    exit_code = 3


class LockedError(RtError):
    """A run directory that another run owns."""

    exit_code = 4


class DiskError(RtError):
    """A ledger or an output that could not be written."""

    exit_code = 5


class BudgetReached(RtError):
    """A budget that allows no further call; the run can be resumed with a larger budget."""

    exit_code = 6


class Interrupted(RtError):
    """A stop of the run by the user; the same command resumes the run."""

    exit_code = 130


class TeacherError(Exception):
    """A failed attempt of a teacher.

    Args:
        kind: a name in :data:`KINDS`.
        message: description of the failure, in one line. Secrets of the environment are removed from it.
        retry_after: seconds that the provider asked to wait, if it did.
        billed: ``"no"``, ``"yes"`` or ``"maybe"``, where the charge for this attempt differs from the usual charge
            of its kind.
        raw: body of an answer that was paid for and cannot be read; it is kept.
        nano_dollars: cost of that answer by its own statement, if it states one.

    Raises:
        ValueError: *kind* is not a known kind.
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
        # The message is stored and shown, and may quote text of a provider or library.
        self.message = without_secrets(message)
        super().__init__(self.message)
        if kind not in KINDS:
            raise ValueError(f"'{kind}' is no kind of failure; use one of {', '.join(KINDS)}")
        self.kind = KINDS[kind]
        self.retry_after = _seconds(retry_after)
        self.billed = billed or self.kind.billed
        self.raw = raw
        self.nano_dollars = nano_dollars or 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts from which another process makes the same error."""
        made = partial(TeacherError, billed=self.billed, raw=self.raw, nano_dollars=self.nano_dollars)
        return made, (self.kind.name, self.message, self.retry_after)


class StudentError(Exception):
    """A failed attempt of a student behind a server.

    Args:
        kind: a name in :data:`STUDENT_KINDS`.
        message: description of the failure, in one line. Secrets of the environment are removed from it.
        retry_after: seconds that the server asked to wait, if it did.

    Raises:
        ValueError: *kind* is not a known kind.
    """

    def __init__(self, kind: str, message: str, retry_after: float | None = None) -> None:
        self.message = without_secrets(message)
        super().__init__(self.message)
        if kind not in STUDENT_KINDS:
            raise ValueError(f"'{kind}' is no kind of failure; use one of {', '.join(STUDENT_KINDS)}")
        self.kind = STUDENT_KINDS[kind]
        self.retry_after = _seconds(retry_after)


class OutOfMemory(Exception):
    """A student's batch that did not fit into the memory of the device; core tries again with half of the batch."""


LONGEST_PAUSE = 3600.0
"""Longest pause in seconds. If a provider asks for more, the run stops and names the cause, instead of seeming to
hang."""


def _seconds(retry_after: float | None) -> float | None:
    """Return the pause of a header, whose value is arbitrary: a NaN or a negative number must not become a pause."""
    return None if retry_after is None or math.isnan(retry_after) else max(0.0, retry_after)


def too_long_a_pause(error: TeacherError | StudentError) -> bool:
    """Return whether the provider asks for a longer pause than a run waits for."""
    return error.retry_after is not None and error.retry_after > LONGEST_PAUSE


def fatal(error: TeacherError) -> FatalTeacherError:
    """Return the error that ends a run after a failure of the teacher that every further call would meet too."""
    if too_long_a_pause(error) and not error.kind.fatal:
        return FatalTeacherError(
            f"teacher: {error.kind.meaning}: {error.message}; the pause that it asks for (Retry-After) is longer than "
            f"{LONGEST_PAUSE:g} s, the most that a run waits: give the same command again later"
        )
    return FatalTeacherError(
        f"teacher: {error.kind.meaning}: {error.message}; correct that and give the same command again"
    )


class Unscorable(Exception):
    """A span that has no loss. Core turns it into a status and a reason, never into a number.

    Args:
        status: ``empty``, ``no_room``, ``too_short``, ``conversation``, …
        reason: explanation for the user.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


# --- exceptions of plugins --------------------------------------------------------------------


_BETWEEN = sys.stdlib_module_names | {"attr", "attrs", "cattrs", "click", "pluggy"}
"""Libraries through which core calls plugins: the code that core calls first may be theirs, and is never blamed."""

_INSTALLED = r".*[/\\](?:site|dist)-packages[/\\]"
_RAISED_AT = "rt_raised_at"
"""Attribute of an exception with its place. A traceback stays in its process; attributes are sent to another one."""


def described(error: BaseException) -> str:
    """Return a plugin's exception as text for a message: its type, its own message, its place in the plugin's code.

    The place, ``(at my_metric.py:12)``, is left out if the exception passed through no code of a plugin.
    """
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    place = vars(error).get(_RAISED_AT) or _place(error)
    return f"{message} (at {place})" if place else message


@contextmanager
def place_kept() -> Iterator[None]:
    """Note on an exception of a plugin where it was raised, because the work may be done in another process."""
    try:
        yield
    except Exception as error:
        vars(error).setdefault(_RAISED_AT, _place(error))
        raise


def _place(error: BaseException) -> str:
    """Return file and line of the plugin at which an exception was raised, ``my_metric.py:12``; empty if there is none.

    The plugin is the package or module that core called last, with all code beside it that is not installed. So an
    error that numpy raises is blamed on the line of the plugin that called numpy.
    """
    plugin, place, trace = "", "", error.__traceback__
    while trace is not None:
        file, module = trace.tb_frame.f_code.co_filename, trace.tb_frame.f_globals.get("__name__") or ""
        package = module.partition(".")[0]
        if package == "rt_framework":
            plugin = ""
        elif package and package not in _BETWEEN and not file.startswith("<"):  # <string> is generated code
            plugin = plugin or package
            if package == plugin or not re.match(_INSTALLED, file):
                place = f"{_short(file)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _short(file: str) -> str:
    """Return the path of a file below the installed packages, or below the current directory, or as it is."""
    try:
        return re.sub(_INSTALLED, "", str(Path(file).relative_to(Path.cwd())))
    except (ValueError, OSError):  # it is elsewhere, or there is no current directory any more
        return re.sub(_INSTALLED, "", file)

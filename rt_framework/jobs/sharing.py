"""The answers that a run directory has bought, as a file to share, and the comparison of such a file with a run.

A line of the file holds a whole call: who was asked, everything that was sent, and what came back. Neither the address
of a server nor a key is part of it, since the ledger has none in a call. The teacher ``replay`` reads the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.config import Builder
from rt_framework.data import Destination, HashSet64, claim, paths_in, whole
from rt_framework.errors import DataError
from rt_framework.ledger import Call, Ledger
from rt_framework.model import stored
from rt_framework.plugin import Host
from rt_framework.protocols import Format
from rt_framework.rundir import LEDGER, look, read_config_of

_KEYED = {"key": str, "text": str}
"""Columns that a comparison reads."""


def export_answers(host: Host, run_dir: Path, out: Path, overwrite: bool = False) -> int:
    """Write the answers that are in use in a run directory as JSON lines, and return their number.

    Equal answers give equal bytes, whenever and in whichever order they were bought. One answer is in memory at a time.

    Args:
        host: finds the format ``jsonl``.
        run_dir: the run directory; a run may be at work in it.
        out: file to write, packed if its name ends with ``.gz``.
        overwrite: whether an existing file may be replaced.

    Raises:
        DataError: there is no ledger, or no answer in it.
        ConfigError: *out* is a destination that must not be written.
        DiskError: the ledger is damaged, or *out* cannot be written.
    """
    destination = Destination(out, "--export", overwrite=overwrite)
    claim([destination], inputs=[run_dir / LEDGER, *_inputs(run_dir)])
    form: Format = Builder(host)("formats", "jsonl")
    with look(run_dir) as ledger:
        keys = ledger.calls.keys_in_use()
        if not keys:
            raise DataError(f"{run_dir}: holds no answer of a teacher, so there is nothing to write")
        priced = not ledger.meta("unpriced")
        with whole(destination) as part:
            form.write(part, (_line(call, priced) for key in keys for call in ledger.calls.find([key]).values()))
    return len(keys)


def _inputs(run_dir: Path) -> Iterator[Path]:
    """Yield the files and folders that the config of the last run names, its data among them; none before its end."""
    with suppress(DataError):
        yield from paths_in(read_config_of(run_dir))


def _line(call: Call, priced: bool) -> Mapping[str, Any]:
    """Return the line of a call, under the names that the teacher ``replay`` reads."""
    request, reply = call.request, call.reply
    assert reply is not None
    named = {
        "key": call.key,
        "teacher": call.teacher,
        "reflection": request.reflection,
        "pair": request.pair_hash,
        "index": request.index,
        "draw": request.draw,
        "step": request.step,
    }
    asked = {name: value for name, value in stored(request).items() if name in ("messages", "sampling", "schema")}
    said = {"text": reply.text, "finish_reason": reply.finish_reason, "model": reply.model}
    said |= {} if reply.reasoning is None else {"reasoning": reply.reasoning}
    # An unknown price is stored as 0, and must not look like an answer for nothing.
    cost = reply.nano_dollars if priced or reply.nano_dollars else None
    return {**named, **asked, **said, **stored(reply.usage), "nano_dollars": cost}


@frozen
class Agreement:
    """The comparison of the answers in a file with those in use in a run directory, call by call."""

    same: int
    """Number of calls with the same text in both."""
    differing: int
    """Number of calls with another text in the file."""
    only_in_file: int
    """Number of calls that are answered in the file alone."""
    only_in_run: int
    """Number of calls that are answered in the run directory alone."""
    first: str | None
    """Description of the first call with another text, or ``None``."""

    @property
    def complete(self) -> bool:
        """True if both hold the same answers to the same calls."""
        return not (self.differing or self.only_in_file or self.only_in_run)


def compare_answers(host: Host, run_dir: Path, path: Path) -> Agreement:
    """Compare the answers in a file of :func:`export_answers` with those in use in a run directory.

    Calls are matched by their keys: the same teacher was asked the same.

    Args:
        host: finds the format ``jsonl``.
        run_dir: the run directory.
        path: the file.

    Raises:
        DataError: there is no ledger, or the file cannot be read, is no such file or answers a call twice.
        DiskError: the ledger is damaged.
    """
    with look(run_dir) as ledger:
        same = differing = only_in_file = 0
        first = None
        for key, text in _texts(host, path):
            reply = ledger.calls.reply(key)
            if reply is None:
                only_in_file += 1
            elif reply.text == text:
                same += 1
            else:
                differing += 1
                first = first or _named(ledger, key)
        return Agreement(same, differing, only_in_file, len(ledger.calls.keys_in_use()) - same - differing, first)


def _texts(host: Host, path: Path) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of each line of a file."""
    form: Format = Builder(host)("formats", "jsonl")
    seen = HashSet64()
    for number, row in enumerate(form.read(path)):
        place = f"{path}, row {number} (from 0)"
        for name, kind in _KEYED.items():
            if not isinstance(row.get(name), kind):
                raise DataError(
                    f"{place}: has no '{name}' that is a text; give a file of 'rt answers RUN_DIR --export'"
                )
        if not seen.add(hash(row["key"]) & 0xFFFF_FFFF_FFFF_FFFF):
            raise DataError(f"{place}: a second answer to the call {row['key']}; keep one of them")
        yield row["key"], row["text"]


def _named(ledger: Ledger, key: str) -> str:
    """Return a call in words."""
    call = ledger.calls.find([key])[key]
    asked = call.request
    return (
        f"reflection {asked.reflection}, pair {asked.pair_hash}, index {asked.index}, draw {asked.draw}, "
        f"step {asked.step} of teacher {call.teacher}"
    )

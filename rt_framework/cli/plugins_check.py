"""The checks of ``rt plugins check``, and how they are printed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rt_framework.cli.plugins_show import found
from rt_framework.errors import PluginError
from rt_framework.hookspecs import singular
from rt_framework.plugin import Entry, Host
from rt_framework.terminal.printing import line, stdout, table
from rt_framework.testing.checking import Checked, check


def show_checks(host: Host, name: str, options: Any, only: str | None = None) -> bool:
    """Check the plugin called *name*, or every part of that name; return whether all parts were checked and passed.

    Args:
        host: finds the plugin.
        name: name of a plugin or of a part.
        options: options for the parts that need some.
        only: the one kind to check, such as ``metric``.

    Raises:
        PluginError: nothing has that name and kind, or the plugin failed to load.
    """
    entries = _of_kind(found(host, name), only)
    console, left, failed = stdout(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for checked in check(host, entries, options, Path(folder)):
            title = f"{singular(checked.entry.kind)} {checked.entry.name}"
            if not checked.outcomes:
                console.print(line(f"{title}: not checked: {checked.why_not}"))
                left += 1
                continue
            console.print(table(title, ("check", "result", "why"), _rows(checked)))
            failed += sum(one.status == "failed" for one in checked.outcomes)
    console.print(line(f"{failed} checks failed, {left} of {len(entries)} parts were not checked"))
    return not failed and not left


def _of_kind(entries: list[Entry], only: str | None) -> list[Entry]:
    kinds = dict.fromkeys(singular(entry.kind) for entry in entries)
    if only is not None and only not in kinds:
        raise PluginError(f"--only {only}: no part of this kind was found, only {', '.join(kinds)}")
    return [entry for entry in entries if only in (None, singular(entry.kind))]


def _rows(checked: Checked) -> list[tuple[str, str, str]]:
    return [
        (one.check.removeprefix("test_").replace("_", " "), one.status, "" if one.status == "ok" else one.reason)
        for one in checked.outcomes
    ]

"""What ``rt plugins check`` prints."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rt_framework.cli.describe import found
from rt_framework.console import line, stdout, table
from rt_framework.host import Host
from rt_framework.testing.checking import Checked, check


def show_checks(host: Host, name: str, options: Any) -> bool:
    """Check the plugin called *name*, or every part of that name; whether nothing was held against it.

    Raises:
        PluginError: nothing is called so, or the plugin failed to load.
    """
    entries = found(host, name)
    console, left, failed = stdout(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for checked in check(host, entries, options, Path(folder)):
            title = f"{checked.entry.kind[:-1]} {checked.entry.name}"
            if not checked.outcomes:
                console.print(line(f"{title}: not checked: {checked.why_not}"))
                left += 1
                continue
            console.print(table(title, ("check", "result", "why"), _rows(checked)))
            failed += sum(one.status == "failed" for one in checked.outcomes)
    console.print(line(f"{failed} checks failed, {left} of {len(entries)} parts were not checked"))
    return not failed and not left


def _rows(checked: Checked) -> list[tuple[str, str, str]]:
    return [
        (one.check.removeprefix("test_").replace("_", " "), one.status, "" if one.status == "ok" else one.reason)
        for one in checked.outcomes
    ]

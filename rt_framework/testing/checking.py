"""Contract checks without pytest: everything that a plugin offers is checked by the contract of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import NOTHING, fields, frozen

from rt_framework.config import Builder
from rt_framework.errors import RtError
from rt_framework.plugin import Entry, Host, key_of
from rt_framework.testing import contracts
from rt_framework.testing.contracts import Outcome, PluginContract, run_checks

_CONTRACTS: dict[str, type[PluginContract]] = {
    "teachers": contracts.TeacherContract,
    "students": contracts.StudentContract,
    "metrics": contracts.MetricContract,
    "reflections": contracts.ReflectionContract,
    "templates": contracts.TemplateContract,
    "formats": contracts.FormatContract,
    "stages": contracts.StageContract,
    "executors": contracts.ExecutorContract,
    "reporters": contracts.ReporterContract,
}


@frozen
class Checked:
    """Outcomes of the checks of one part of a plugin."""

    entry: Entry
    outcomes: tuple[Outcome, ...]
    """One outcome per check; empty if the part was not checked."""
    why_not: str = ""


def check(host: Host, entries: list[Entry], options: Any, where: Path) -> Iterator[Checked]:
    """Check the parts that *entries* name.

    Args:
        host: host that has loaded the plugins of the parts.
        entries: registered parts of one plugin or of several.
        options: options for the parts that need some.
        where: an empty directory.
    """
    for number, entry in enumerate(entries):
        given = options if entry.settings is not None else None
        missing = _missing(entry) if given is None else []
        if missing:
            yield Checked(entry, (), f"it needs {', '.join(missing)}: give --options")
            continue
        try:
            built = Builder(host)(entry.kind, entry.name, given)
        except RtError as error:
            yield Checked(entry, (), str(error))
            continue
        attributes = {"plugin": entry.plugin, "name": entry.name, "options": given}
        contract = type("Contract", (_contract(entry, built),), attributes)
        yield Checked(entry, tuple(run_checks(contract, where / str(number))))


def _contract(entry: Entry, built: Any) -> type[PluginContract]:
    if entry.kind == "selectors":
        return contracts.DatasetSelectorContract if hasattr(built, "select") else contracts.SelectorContract
    if entry.kind == "metrics" and not hasattr(built, "spans"):
        return contracts.TextMetricContract
    return _CONTRACTS[entry.kind]


def _missing(entry: Entry) -> list[str]:
    """Return the names of the options without a default."""
    settings: Any = entry.settings
    return (
        []
        if settings is None
        else [key_of(field) for field in fields(settings) if field.init and field.default is NOTHING]
    )

"""Decorators for good plugins and deliberately broken ones, each of which differs from a good one in one thing."""

from __future__ import annotations

import sys
from typing import Any

from rt_framework import hookimpl
from rt_framework.plugin.registry import Entry

MUTANTS: dict[str, type] = {}
"""Contract of each mutant, by ``check`` of it: ``MetricContract.test_direction_is_known`` or with ``/more`` behind."""

GOOD: dict[str, type] = {}
"""Contract of each good plugin, by its name."""


class Offer:
    """A plugin that registers one name."""

    def __init__(self, entry: Entry) -> None:
        def register(register: Any) -> None:
            register(entry.name, entry.target, help=entry.help, settings=entry.declared)

        setattr(self, f"rt_register_{entry.kind}", hookimpl(register))


def offer(contract: type, target: type, settings: type | None = None, **more: Any) -> str:
    """A plugin with that target; returns what to load it by. *more* beats what it registers."""
    told = {
        "name": "sound",
        "target": f"{target.__module__}:{target.__name__}",
        "help": "a plugin",
        "declared": settings,
    }
    entry = Entry(contract.kind, plugin="", **(told | more))
    plugin = f"plugin_{target.__name__}"
    setattr(sys.modules[target.__module__], plugin, Offer(entry))
    return f"{target.__module__}:{plugin}"


def tested(contract: type, plugin: str, **attributes: Any) -> type:
    """The contract, told which plugin to check."""
    return type(f"{contract.__name__}Of", (contract,), {"plugin": plugin, "name": "sound", **attributes})


def good(contract: type, settings: type | None = None, **attributes: Any) -> Any:
    """Marks a class that keeps the contract."""

    def mark(target: type) -> type:
        GOOD[f"{contract.__name__}/{target.__name__}"] = tested(
            contract, offer(contract, target, settings), **attributes
        )
        return target

    return mark


def mutant(contract: type, check: str, settings: type | None = None, **attributes: Any) -> Any:
    """Marks a class that is caught by one check of the contract."""

    def mark(target: type) -> type:
        owner = next(one for one in contract.__mro__ if check in vars(one))
        key = f"{owner.__name__}.{check}/{target.__name__}"
        assert key not in MUTANTS
        MUTANTS[key] = tested(contract, offer(contract, target, settings), **attributes)
        return target

    return mark

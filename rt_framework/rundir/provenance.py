"""The parts that a run was made with, as its manifest holds them, and in words for a report or a data card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rt_framework.config import MAIN_TEACHER
from rt_framework.hookspecs import singular
from rt_framework.plugin import Host, origin_of
from rt_framework.text import masked


def parts_used(host: Host, plain: Callable[[object], Any]) -> list[dict[str, Any]]:
    """Return every part that was built for the run, with its settings and the origin of its code.

    Args:
        host: knows which parts were built.
        plain: turns settings into plain values.
    """
    return [
        {
            "kind": singular(part.entry.kind),
            "name": part.entry.name,
            "plugin": part.entry.plugin,
            "package": part.package,
            "version": part.version,
            "target": part.entry.target,
            # A settings class may read a key from the environment, which no config then holds.
            "settings": {} if part.settings is None else masked(plain(part.settings)),
            "commit": part.origin.commit,
            "dirty": part.origin.dirty,
            "sha256": part.origin.sha256,
        }
        for part in host.used()
    ]


def own_checkout() -> dict[str, Any] | None:
    """Return the commit of the checkout that the framework runs from; ``None`` for an installed copy."""
    origin = origin_of(Path(__file__))
    return {"commit": origin.commit, "dirty": origin.dirty} if origin.commit else None


def teachers_in(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the teachers of a manifest's config by name, ``teacher`` for the main one, each with ``part`` and more."""
    main = config.get("teacher")
    teachers = {} if main is None else {MAIN_TEACHER: main if "part" in main else {"part": main}}
    return teachers | (config.get("teachers") or {})


def fallbacks_in_words(config: Mapping[str, Any]) -> str:
    """Return which teacher's fallback is which, in one line; empty if none has one."""
    named = ((name, one.get("fallback")) for name, one in teachers_in(config).items())
    return ", ".join(f"{name} → {fallback}" for name, fallback in named if fallback)


def origins_in_words(manifest: Mapping[str, Any]) -> str:
    """Return which plugins a run used besides the built-in ones, and which commit of the framework, in one line.

    The text is empty for an installed framework without plugins, and for a manifest of before this was recorded.
    """
    return "; ".join(dict.fromkeys(_origins(manifest)))


def _origins(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("checkout"):
        yield f"rt-framework ({_code(manifest['checkout'])})"
    for part in manifest.get("plugins") or ():
        if part["plugin"] != "builtin":
            told = (f"{part['package']} {part['version']}".strip(), _code(part))
            yield f"{part['plugin']} ({', '.join(filter(None, told))})".removesuffix(" ()")


def _code(part: Mapping[str, Any]) -> str:
    commit, sha256 = part.get("commit"), part.get("sha256")
    changed = " with changes" if part.get("dirty") else ""
    told = (commit and f"commit {commit[:12]}{changed}", sha256 and f"SHA-256 {sha256[:12]}")
    return ", ".join(filter(None, told))

"""Tables of what was run: parts, scoring, plugins, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

import yaml

from rt_framework.kit.places import in_words
from rt_framework.report.texts import fit
from rt_framework.results import FinishedRun
from rt_framework.rundir import fallbacks_in_words, origins_in_words, teachers_in


def briefly(run: FinishedRun, spent: str) -> Iterator[tuple[str, str]]:
    """Yield what was run, in five lines at most: data, teacher, student, when, and the cost."""
    config = run.manifest["config"]
    yield "data", fit(PurePath(config["data"]["path"]).name)
    teachers = [_named(teacher["part"]) for teacher in teachers_in(config).values()]
    if any(bill.calls for bill in run.cost.bills):
        yield "teacher" if len(teachers) == 1 else "teachers", fit(", ".join(teachers))
    if config.get("student"):
        yield "student", fit(_named(config["student"]))
    if run.efforts:
        took = timedelta(seconds=round(sum(effort["seconds"] for effort in run.efforts)))
        ended = run.efforts[-1].get("ended")
        yield "run", f"{datetime.fromisoformat(ended):%-d %B %Y}, {took}" if ended else str(took)
    yield "cost", fit(spent)


def _named(part: Any) -> str:
    """Return a part in a few words: its plugin, and the model or file that its first option names."""
    if isinstance(part, str):
        return part
    name, options = next(iter(part.items()))
    if isinstance(options, Mapping):
        options = next((value for value in options.values() if isinstance(value, str)), None)
    return f"{name}: {PurePath(options).name if PurePath(options).is_absolute() else options}" if options else name


def _parts(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the teachers and the student of a config, by the names of their frozen facts."""
    for name, teacher in teachers_in(config).items():
        yield "teacher" if name == "teacher" else f"teacher {name}", teacher["part"]
    yield "student", config.get("student")


def fully(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was run in full: name and value."""
    config, frozen_facts = manifest["config"], manifest["frozen"]
    data = frozen_facts.get("data", {})
    yield "data", f"{config['data']['path']}, {data.get('shape', '?')} columns, content {str(data.get('content'))[:12]}"
    for name, part in _parts(config):
        if name in frozen_facts:
            yield name, f"{_short(part)} — {frozen_facts[name]}"
    if fallbacks := fallbacks_in_words(config):
        yield "fallbacks", fallbacks
    if manifest.get("places"):
        yield "teacher asked at", fit(in_words(manifest["places"]))
    scoring = frozen_facts.get("scoring", {})
    if scoring:
        most = scoring.get("max_tokens") or "the model's limit of"
        yield "scoring", f"preset {scoring.get('preset')}, template {scoring.get('template')}, {most} tokens at most"
    for path in manifest.get("forward_paths", ()):
        yield "forward path", path
    if origins := origins_in_words(manifest):
        yield "plugins", fit(origins)
    yield "versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version)


def _short(part: Any) -> str:
    """Return a plugin and its options, on one line."""
    return as_yaml(part, flow=True).removesuffix(": null")


def as_yaml(value: Any, flow: bool | None = False) -> str:
    """Return a value as YAML, fit for the page; with *flow* on one line."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=1000)
    return fit(text).strip().removeprefix("{").removesuffix("}") if flow else fit(text).strip()

"""The writer of a complete plugin package into a new folder, for ``rt plugins new``."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from collections.abc import Container
from importlib import metadata, resources
from pathlib import Path
from string import Template

from rt_framework.data import Destination, whole
from rt_framework.errors import ConfigError
from rt_framework.hookspecs import API

KINDS = (
    "metric",
    "selector",
    "reflection",
    "template",
    "format",
    "stage",
    "teacher",
    "student",
    "executor",
    "reporter",
)
"""Kinds of plugin that have a template here."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_FILES = {
    "pyproject": "pyproject.toml",
    "readme": "README.md",
    "test": "tests/test_{module}.py",
    "workflow": ".github/workflows/test.yml",
    "gitignore": ".gitignore",
}
"""Files of every package, by the name of the template."""


def write_package(name: str, kind: str, folder: Path, known: Container[str] = ()) -> list[Path]:
    """Write a package called *name* with one plugin of that kind into a new folder; return its files.

    Args:
        name: name of the package and, without ``rt-`` in front, of the plugin and its part.
        kind: one of :data:`KINDS`.
        folder: folder to write; it must not exist.
        known: names that plugins and parts of that kind have already.

    Raises:
        ConfigError: the name is unfit for a package or taken already, or the folder exists.
        DiskError: the folder cannot be written.
    """
    part = name.removeprefix("rt-")
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module) or not _NAME.fullmatch(part):
        raise ConfigError(f"'{name}' cannot be the name of a package: use small letters, digits and single hyphens")
    if os.path.lexists(folder):
        raise ConfigError(f"{folder}: exists already; choose another name, or remove it")
    if part in known:
        raise ConfigError(f"'{part}' is the name of a plugin or of a {kind} already; choose another name")
    if _is_installed(module):
        raise ConfigError(f"'{module}' is the name of an installed module already; choose another name")
    words = {
        "name": name,
        "part": part,
        "module": module,
        "cls": "".join(word.capitalize() for word in part.split("-")),
        "kind": kind,
        "api": str(API),
        "range": _range(metadata.version("rt-framework")),
    }
    texts = {target.format(module=module): _text(source, words) for source, target in _FILES.items()}
    code, _, test = _text(kind, words).partition("# --- tests ---\n")
    texts[f"{module}.py"] = code.rstrip() + "\n"
    texts[_FILES["test"].format(module=module)] += test
    with whole(Destination(folder, "NAME", "folder"), marked=False) as whole_folder:
        for path, text in texts.items():
            (whole_folder / path).parent.mkdir(parents=True, exist_ok=True)
            (whole_folder / path).write_text(text, "utf-8")
    return [folder / path for path in sorted(texts)]


def _is_installed(module: str) -> bool:
    """Return whether Python finds a module of that name; a folder without code does not count."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def _text(template: str, words: dict[str, str]) -> str:
    source = resources.files(__name__).joinpath(f"{template}.txt").read_text("utf-8")
    return Template(source).substitute(words)


def _range(version: str) -> str:
    """Return the range of releases compatible with *version*: before 1.0 those with the same minor number."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"

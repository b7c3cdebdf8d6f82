"""The writer of a package into a new folder."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from rt_framework.errors import ConfigError
from rt_framework.jobs.scaffold.package import Package, Part

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_package(
    name: str, parts: Sequence[Part], folder: Path, taken: Mapping[str, Container[str]] | None = None
) -> list[Path]:
    """Write a package called *name* with these parts into a new folder; return its files.

    Args:
        name: name of the package and, without ``rt-`` in front, of its plugin.
        parts: the parts, at least one, each with a name of its own.
        folder: folder to write; it must not exist.
        taken: names that are in use, by kind of part; those of plugins under ``plugin``.

    Raises:
        ConfigError: a name is unfit or in use, or the folder exists.
        DiskError: the folder cannot be written.
    """
    from rt_framework.data import Destination, whole
    from rt_framework.jobs.scaffold.files import files_of

    package = Package(name, parts)
    _check(package, folder, taken or {})
    texts = files_of(package)
    with whole(Destination(folder, "NAME", "folder"), marked=False) as whole_folder:
        for path, text in texts.items():
            (whole_folder / path).parent.mkdir(parents=True, exist_ok=True)
            (whole_folder / path).write_text(text, "utf-8")
    return [folder / path for path in sorted(texts)]


def _check(package: Package, folder: Path, taken: Mapping[str, Container[str]]) -> None:
    """Check that the package can be written.

    Raises:
        ConfigError: it cannot; the message names the way out.
    """
    own = [("plugin", package.plugin)] if package.offered else []
    own += [(part.kind, part.name) for part in package.parts]
    for what, name in (("package", package.name), *own):
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise ConfigError(f"'{name}' cannot be the name of a {what}: use small letters, digits and single hyphens")
    if os.path.lexists(folder):
        raise ConfigError(f"{folder}: exists already; choose another name, or remove it")
    for kind, name in own:
        if name in taken.get(kind, ()):
            raise ConfigError(f"'{name}' is the name of a {kind} already; choose another name")
    names = [part.name for part in package.parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two parts would be called '{twice}'; name each, as in --kind metric:NAME")
    if _is_installed(package.module):
        raise ConfigError(f"'{package.module}' is the name of an installed module already; choose another name")


def _is_installed(module: str) -> bool:
    """Return whether Python finds a module of that name; a folder without code does not count."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None

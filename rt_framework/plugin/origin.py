"""The code that a plugin was imported from: the commit of its checkout, and the hash of its file.

What reads them is imported where it is used, since help and lists ask for no origin.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

_PATIENCE = 10.0
"""Seconds after which git is not waited for: a run must not hang on a slow disk for the sake of its manifest."""

_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed copies. A virtual environment may lie inside a checkout and is no part of it."""


@frozen
class Origin:
    """The origin of a module's code, as far as it is known."""

    commit: str | None = None
    """Commit of the checkout that the module was imported from."""
    dirty: bool | None = None
    """True if files of the checkout that git tracks had been changed since that commit."""
    sha256: str | None = None
    """Hash of the module's file."""


@cache
def origin_of(file: Path) -> Origin:
    """Return the origin of a module by its file.

    The answer is kept, since a module stays what it was when it was imported, though its file is edited later.
    """
    import hashlib

    try:
        file = file.resolve(strict=True)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return Origin()
    if _INSTALLED.intersection(file.parts) or not any((folder / ".git").exists() for folder in file.parents):
        return Origin(sha256=sha256)
    # A file that git does not track is not what the commit holds.
    tracked = _git(file.parent, "ls-files", "--error-unmatch", "--", file.name)
    status = _git(file.parent, "status", "--porcelain=v2", "--branch", "--untracked-files=no") if tracked else ""
    head, *lines = status.splitlines() or [""]
    commit = head.removeprefix("# branch.oid ")
    if commit in ("", "(initial)"):
        return Origin(sha256=sha256)
    return Origin(commit, any(not line.startswith("#") for line in lines), sha256)


def origin_of_plugin(plugin: Any) -> Origin:
    """Return the origin of a plugin object: a module, or an attribute of one."""
    module = sys.modules.get(getattr(plugin, "__module__", ""), plugin)
    file = getattr(module, "__file__", None)
    return origin_of(Path(file)) if file else Origin()


def of_package(origin: Origin, package: str) -> Origin:
    """Return the origin of a plugin that an installed package brought.

    A package that pip installed from a repository notes the commit. The hash of one of its files says little.
    """
    import json

    commit = origin.commit
    try:
        direct_url = json.loads(metadata.distribution(package).read_text("direct_url.json") or "{}")
        commit = commit or direct_url.get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError, OSError):
        pass  # the note of another installer, or a damaged one: the commit is not known
    return evolve(origin, commit=commit, sha256=None)


def _git(folder: Path, *arguments: str) -> str:
    """Return what git answers in a folder; an empty text where there is no git or it refuses to answer."""
    import shutil
    import subprocess

    git = shutil.which("git")
    # Variables such as GIT_DIR would make git answer for another checkout, and a file monitor is a program of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [str(git), "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout

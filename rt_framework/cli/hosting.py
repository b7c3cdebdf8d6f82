"""The host of one call of the command line."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rt_framework.errors import PluginError
from rt_framework.host import Host


def make_host(plugins: Sequence[str], strict: bool) -> Host:
    """The host that the options and the environment ask for."""
    # A plugin in the user's own repository is found where the command is called.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    only = os.environ.get("RT_LOAD_PLUGINS")
    return Host(
        blocked=[name.removeprefix("no:") for name in plugins if name.startswith("no:")],
        only=None if only is None else [name.strip() for name in only.split(",") if name.strip()],
        modules=[_module(name) for name in plugins if not name.startswith("no:")],
        strict=strict,
    )


def _module(plugin: str) -> str:
    """The module that ``-p`` names: by its name, or by the path of a file, whose folder Python then imports from.

    Raises:
        PluginError: there is no such file, or its name stands for another module.
    """
    if not plugin.endswith(".py") and os.sep not in plugin:
        return plugin
    file = Path(plugin).resolve()
    if not file.is_file():
        raise PluginError(f"-p {plugin}: no such file")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise PluginError(
            f"-p {plugin}: '{file.name}' is no name for a module; use letters, digits, underscores and .py"
        )
    if not _is(file):
        raise PluginError(f"-p {plugin}: '{file.stem}' is already the name of another module; rename the file")
    # Last, so that nothing else in that folder stands before a module that is installed.
    sys.path.append(str(file.parent))
    return file.stem


def _is(file: Path) -> bool:
    """Whether the name of a file is free for it, or its own already."""
    try:
        found = importlib.util.find_spec(file.stem)
    except ValueError:  # a module that was not imported from a file, such as __main__
        return False
    return found is None or (found.origin is not None and Path(found.origin).resolve() == file)

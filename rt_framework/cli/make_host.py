"""The plugin host of one call of the command line."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rt_framework.errors import PluginError
from rt_framework.plugin import Host


def make_host(plugins: Sequence[str], strict: bool) -> Host:
    """Return a host with the plugins that the options and the environment ask for."""
    # `python -c` puts the working directory first. A yaml.py beside the data would then run with the keys of the
    # environment: no file there is code until -p names it.
    sys.path[:] = filter(None, sys.path)
    only = os.environ.get("RT_LOAD_PLUGINS")
    return Host(
        blocked=[name.removeprefix("no:") for name in plugins if name.startswith("no:")],
        only=None if only is None else [name.strip() for name in only.split(",") if name.strip()],
        modules=[_module(name) for name in plugins if not name.startswith("no:")],
        strict=strict,
    )


def _module(plugin: str) -> str:
    """Return the name of the module that ``-p`` gives by name or file path, and make it importable.

    Raises:
        PluginError: the file does not exist, or its name is the name of another module.
    """
    if plugin.endswith(".py") or os.sep in plugin:
        file = _file(plugin)
        _import_from(file, plugin)
        return file.stem
    top = plugin.partition(".")[0]
    if top:
        _import_from(Path.cwd() / f"{top}.py", plugin)
    return plugin


def _file(plugin: str) -> Path:
    file = Path(plugin).resolve()
    if not file.is_file():
        raise PluginError(f"-p {plugin}: no such file")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise PluginError(
            f"-p {plugin}: '{file.name}' is not a valid module name; use letters, digits, underscores and .py"
        )
    return file


def _import_from(file: Path, plugin: str) -> None:
    """Let Python find a module in the folder of *file*, unless it finds another one of that name.

    The folder comes last on ``sys.path``, so that no other file in it hides an installed module. The whole folder is
    added, since a plugin imports the modules beside it and worker processes import the plugin by its name.

    Raises:
        PluginError: the file exists, and its name is the name of another module.
    """
    folder = file.parent
    try:
        found = importlib.util.find_spec(file.stem)
        # A namespace package has no origin, and may have a further part in this folder.
        origin = found.origin if found else None
        other = origin is not None and Path(origin).resolve().parent not in (folder, folder / file.stem)
    except ValueError:  # a module that was not imported from a file, such as __main__
        other = True
    if other and file.is_file():
        raise PluginError(f"-p {plugin}: '{file.stem}' is already the name of another module; rename the file")
    if not other and str(folder) not in sys.path:
        sys.path.append(str(folder))

"""The packages in ``plugins/``: each is written for this plugin API, and keeps the contract of every part it offers."""

from __future__ import annotations

import importlib
import importlib.util
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from rt_framework.hookspecs import API, GROUP
from rt_framework.plugin.host import Host
from rt_framework.plugin.registry import Entry
from rt_framework.testing.contracts import PluginContract, run_checks
from tests.helpers import REPO

PACKAGES = sorted((REPO / "plugins").glob("*/pyproject.toml"))
PLUGINS = [
    (path.parent, module)
    for path in PACKAGES
    for module in tomllib.loads(path.read_text("utf-8"))["project"].get("entry-points", {}).get(GROUP, {}).values()
]
"""The folder of each package that offers parts, and the module with its hooks."""


@pytest.fixture
def plugin(request, monkeypatch) -> tuple[Path, str]:
    """A package that can be imported, as its own tests import it."""
    folder, module = request.param
    for path in (REPO / "docs/examples", folder, folder / "tests"):
        monkeypatch.syspath_prepend(str(path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder, module


each_plugin = pytest.mark.parametrize("plugin", PLUGINS, indirect=True, ids=[module for _, module in PLUGINS])


def offered(module: str) -> list[Entry]:
    """The parts that a package registers; an installed copy of it is left alone."""
    host = Host(modules=[module], only=[], strict=True)
    host.load()
    return [entry for entry in host.registry.entries() if entry.plugin == module]


@each_plugin
def test_a_package_is_written_for_this_api(plugin):
    """It says so, and loads without the libraries that its parts use."""
    _, module = plugin
    assert importlib.import_module(module).RT_PLUGIN_API == API
    assert offered(module)


@each_plugin
def test_every_part_of_a_package_keeps_its_contract(plugin, tmp_path, monkeypatch):
    """As ``rt plugins check`` sees it, with the options by which the package's own tests check the part."""
    folder, module = plugin
    lacking = _lacking(folder)
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    contracts = _contracts(folder)
    assert {(entry.kind, entry.name) for entry in offered(module)} == set(contracts)
    monkeypatch.chdir(tmp_path)
    for (kind, name), contract in contracts.items():
        failed = {
            one.check: one.reason for one in run_checks(contract, tmp_path / kind / name) if one.status == "failed"
        }
        assert failed == {}, name


def _lacking(folder: Path) -> list[str]:
    """The packages that this one needs and that are not installed."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    names = [Requirement(one).name for one in project["dependencies"]]
    return [name for name in names if name != "rt-framework" and not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _contracts(folder: Path) -> dict[tuple[str, str], type[PluginContract]]:
    """The contracts by which a package's own tests check its parts, by kind and name."""
    found: dict[tuple[str, str], type[PluginContract]] = {}
    for path in sorted((folder / "tests").glob("test_contract*.py")):
        for one in vars(_module(path)).values():
            if isinstance(one, type) and issubclass(one, PluginContract) and hasattr(one, "name"):
                found[one.kind, one.name] = one
    return found


def _module(path: Path) -> ModuleType:
    """The tests of a package under a name of their own, since those of another may have the same one."""
    spec: Any = importlib.util.spec_from_file_location(f"{path.parents[1].name}-{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

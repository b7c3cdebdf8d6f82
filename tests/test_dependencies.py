"""Each dependency earns its place, and one that is left out is named with the command that installs it."""

import ast
import re
import sys
import tomllib

import pytest

from rt_framework import cli
from tests.helpers import REPO, Cli, the_error
from tests.test_house import TREES, _imports, _inside

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]

IMPORTED_AS = {"pyyaml": "yaml", "rt-compare": "rt_compare"}
"""Import names of the packages that have another one."""

FOR_GGUF = {"gguf"}
"""Packages that transformers imports, and only where a model is a GGUF file."""

FOR_TRAINER = {"accelerate"}
"""Packages that the trainer of transformers imports."""

BROUGHT = {"yarl": "aiohttp", "markupsafe": "jinja2", "huggingface_hub": "transformers"}
"""Packages that are imported for the interface of a dependency which brings them."""


def names(requirements):
    """Import names of what a list of requirements asks for."""
    packages = (re.match(r"[\w-]+", one)[0] for one in requirements)
    return {IMPORTED_AS.get(package, package) for package in packages}


def imported(inside):
    """The packages that the modules import for which *inside* holds."""
    found = {one.split(".")[0] for name, tree in TREES.items() if inside(name) for one in _imports(tree)}
    return found - sys.stdlib_module_names - {"rt_framework"}


EXTRAS = {
    "adapters": {"builtin.adapters"},
    "hub": {"data.hub", "data.tables"},
    "testing": {"testing"},
}
"""The rooms or modules that alone import the packages of an extra."""


def test_the_base_is_what_it_imports():
    """No package is installed for nothing, and none is imported that was not asked for."""
    base = imported(lambda name: not _inside(name, set.union(*EXTRAS.values())))
    assert base - BROUGHT.keys() == names(PROJECT["dependencies"]) - FOR_GGUF
    assert {BROUGHT[name] for name in BROUGHT} <= base


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_what_its_room_imports(extra):
    """Beside what the base has."""
    packages = imported(lambda name: _inside(name, EXTRAS[extra])) - names(PROJECT["dependencies"])
    assert packages == names(PROJECT["optional-dependencies"][extra])


def test_transformers_loads_no_gguf_file_without_accelerate(tmp_path, monkeypatch):
    """So it is a dependency, though no module imports it. The day this fails it can be left out."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import import_utils

    (tmp_path / "model.gguf").write_bytes(b"never read")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    import_utils.is_accelerate_available.cache_clear()
    try:
        with pytest.raises(ValueError, match="accelerate is required when loading a GGUF file"):
            LlamaForCausalLM.from_pretrained(str(tmp_path), gguf_file="model.gguf", config=LlamaConfig())
    finally:
        monkeypatch.undo()
        import_utils.is_accelerate_available.cache_clear()


@pytest.mark.parametrize(("command", "package"), cli._FROM_PACKAGES.items())
def test_a_command_of_a_package_names_it_where_it_is_missing(command, package, monkeypatch, capfd):
    """It was not installed with the framework: one line has the command that installs it."""
    monkeypatch.setattr("rt_framework.cli.installed_commands", lambda built_in: [])
    for arguments in ([], ["a.json", "b.json"], ["--help"]):
        done = Cli(monkeypatch, capfd)(command, *arguments)
        assert the_error(done) == f"'rt {command}' comes with a package of its own: pip install {package}"


@pytest.mark.parametrize(("command", "package"), cli._FROM_PACKAGES.items())
def test_that_package_is_in_this_repository_and_brings_the_command(command, package):
    """``make install`` installs it from its folder."""
    project = tomllib.loads((REPO / "plugins" / package / "pyproject.toml").read_text("utf-8"))["project"]
    assert command in project["entry-points"]["rt_framework.commands"]
    assert f"-e plugins/{package}" in (REPO / "Makefile").read_text("utf-8")
    assert names(project["dependencies"]) - {"rt-framework"} - FOR_TRAINER == imported_by(package) - BROUGHT.keys()


def imported_by(package):
    """The packages that a package of this repository imports."""
    folder = REPO / "plugins" / package / package.replace("-", "_")
    found = {one.split(".")[0] for path in folder.glob("*.py") for one in _imports(ast.parse(path.read_text("utf-8")))}
    return found - sys.stdlib_module_names - {"rt_framework", folder.name}

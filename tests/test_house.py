"""The rules of the house: who may import whom, what a start-up may cost, how large things get."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.helpers import REPO

PACKAGE = REPO / "rt_framework"

LAYERS = (
    "plain stdout",
    "errors model events batching sequences migrations estimates refusals languages neighbours",
    "bounds places spans fences contrasts seal marks",
    "answers protocols hookspecs matching spec options shapes shards breaker interrupt damage destinations",
    "replacing",
    "pairwise registry records steps plan writer reading budget pace disk scaffold",
    "host presets structuring ledger packing asking",
    "config framing tally rundir account batchbook",
    "batches losses source manifest summary watchdog snapshot card",
    "calls outlet",
    "teaching scoring",
    "pipeline outputs selecting assembly foresight",
    "possible",
    "runner score checks console quote merging salvage compare preferences",
    "judging sanity packs",
    "story pilot report screen side_by_side",
    "spending hub",
    "cli",
)
"""The core, from what everything may import to what imports everything. A module imports from earlier layers only."""

LEVEL = {module: level for level, layer in enumerate(LAYERS) for module in layer.split()}

PUBLIC = {
    "",
    "bounds",
    "places",
    "errors",
    "events",
    "model",
    "spans",
    "protocols",
    "hookspecs",
    "spec",
    "records",
    "shapes",
    "packing",
    "plain",
    "stdout",
    "sequences",
    "matching",
    "fences",
    "answers",
    "refusals",
}
"""Modules of the core that a plugin may import; the empty name is the package itself."""

HEAVY = (
    *("torch", "transformers", "litellm", "datasets", "numpy", "pyarrow", "pandas", "llguidance", "gguf"),
    *("datasketch", "scipy", "py3langid", "httpx", "aiohttp"),
)

WHO_MAY_IMPORT = {
    "rich": {"console", "screen", "side_by_side", "story"},
    "litellm": {"builtin.teachers.litellm", "builtin.teachers.channel"},
    "aiohttp": {"builtin.teachers.transport"},
    "httpx": {"builtin.teachers.transport", "builtin.teachers.channel", "builtin.teachers.litellm_batches"},
    "torch": {
        "builtin.models",
        "builtin.students",
        "builtin.executors.processes",
        "builtin.teachers.hf",
        "builtin.teachers.decoding",
        "checks",
    },
    "transformers": {"builtin.models", "builtin.students", "builtin.teachers.hf"},
    "numpy": {"packing", "builtin.students", "builtin.teachers.decoding"},
    "datasets": {"builtin.formats.dataset"},
    "pyarrow": {"builtin.formats"},
    "datasketch": {"neighbours"},
    "py3langid": {"languages"},
    "click": {"cli"},
    "sqlite3": {"damage", "reading", "writer", "migrations", "merging", "salvage"},
    "yaml": {"card", "config", "report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
}
"""Modules, or packages with all that is in them, that may import a library at all."""


def _name(path: Path) -> str:
    """Module name below the package, as users of it write it."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


TREES = {_name(path): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that a tree imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("rt_framework.")
                yield f"rt_framework.{inner}" if inner in TREES else str(node.module)


def _own(tree: ast.AST) -> set[str]:
    """Modules of this package that a tree imports, without the package's name."""
    own = (name for name in _imports(tree) if name.split(".")[0] == "rt_framework")
    return {name.removeprefix("rt_framework").removeprefix(".") for name in own}


def _inside(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


CORE = {name: tree for name, tree in TREES.items() if name and not _inside(name, {"builtin", "testing"})}


# --- imports ----------------------------------------------------------------------------------


def test_every_module_of_the_core_has_a_layer():
    """And every layer is made of modules that exist."""
    assert {name.split(".")[0] for name in CORE} == set(LEVEL)


@pytest.mark.parametrize("module", sorted(CORE))
def test_a_module_of_the_core_imports_from_earlier_layers_only(module):
    """Never from a later one, nor from its own, nor from the built-in plugins."""
    top = module.split(".")[0]
    for imported in _own(CORE[module]):
        target = imported.split(".")[0]
        if target != top and (top, target) != ("cli", "testing"):  # `rt plugins check` runs the contracts
            assert target in LEVEL, f"{module} imports {imported}"
            assert LEVEL[target] < LEVEL[top], f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(name for name in TREES if _inside(name, {"builtin"})))
def test_a_builtin_plugin_imports_public_names_only(module):
    """As a stranger's would."""
    for imported in _own(TREES[module]):
        assert imported in PUBLIC or _inside(imported, {"builtin"}), imported


@pytest.mark.parametrize("place", ["plugins", "tests/third_party"])
def test_a_plugin_package_imports_public_names_only(place):
    """And nothing of the built-in plugins but what it names by text."""
    for path in (REPO / place).rglob("*.py"):
        for imported in _own(ast.parse(path.read_text("utf-8"))):
            assert imported in PUBLIC | {"testing"}, f"{path} imports {imported}"


@pytest.mark.parametrize("library", WHO_MAY_IMPORT)
def test_a_library_is_imported_where_it_belongs(library):
    """One place for each, so that it can be left unloaded, or changed."""
    users = {name for name, tree in TREES.items() if any(one.split(".")[0] == library for one in _imports(tree))}
    assert users, "nobody imports it any more"
    assert {user for user in users if not _inside(user, WHO_MAY_IMPORT[library])} == set()


@pytest.mark.parametrize(
    "module", sorted([*(CORE.keys() - {"packing"}), *(name for name in TREES if name.endswith(("settings", "hooks")))])
)
def test_nothing_heavy_is_imported_with_a_core_module_or_settings(module):
    """Only inside a function, if at all; ``packing`` is for students, which have loaded more than numpy."""
    for node in TREES[module].body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not {one.split(".")[0] for one in _imports(ast.Module([node], []))} & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import rt_framework",
        "import rt_framework.testing",
        "from rt_framework.host import Host; Host().load()",
        *(
            f"import sys; sys.argv = {['rt', *arguments]}\nfrom rt_framework.cli import main\n"
            "try: main()\nexcept SystemExit as end: assert not end.code"
            for arguments in (
                ["--help"],
                ["plugins", "list"],
                ["plugins", "show", "hf"],
                ["run", "--help"],
                ["pilot", "--help"],
                ["compare", "--help"],
                ["init", "x"],
            )
        ),
    ],
)
def test_a_start_loads_nothing_heavy(code, tmp_path):
    """Help, lists and the package itself come at once."""
    check = f"{code}\nimport sys\nprint('loaded:', sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", check], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"


# --- size -------------------------------------------------------------------------------------


def _functions() -> Iterator[tuple[str, int]]:
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", int(node.end_lineno or 0) - node.lineno + 1


def test_functions_are_small():
    """None over 60 lines, half of them at most 8, docstrings counted."""
    sizes = dict(_functions())
    assert {name: size for name, size in sizes.items() if size > 60} == {}
    assert median(size for _, size in _functions()) <= 8


def test_files_are_small():
    """None over 400 lines, half of them at most 120."""
    sizes = {path.name: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
    assert median(len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")) <= 120


# --- words ------------------------------------------------------------------------------------


def _project_files() -> list[Path]:
    """What belongs to the project: tracked, or new and not ignored."""
    try:
        command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout")
    return [path for name in listed.split("\0") if name and (path := REPO / name).is_file()]


def test_nothing_speaks_of_the_machine_it_was_written_on():
    """No path of a developer's disk in code, documentation or data."""
    # The places are joined here, so that this file does not hold them.
    banned = re.compile("|".join(rf"(?<![\w.])/{place}(?![\w.-])" for place in ("work", "root")))
    found = []
    for path in _project_files():
        lines = path.read_bytes().decode("utf-8", "ignore").splitlines()
        found += [f"{path.relative_to(REPO)}:{number}" for number, line in enumerate(lines, 1) if banned.search(line)]
    assert found == []


def test_commands_are_sorted_into_modules_of_their_own():
    """Each command that the help lists is a module with a command in it, and is short."""
    from rt_framework.cli import _COMMANDS

    modules = {name.removeprefix("cli.") for name in TREES if name.startswith("cli.")}
    assert set(_COMMANDS) <= modules
    assert all(len((PACKAGE / "cli" / f"{name}.py").read_text().splitlines()) <= 100 for name in modules)


def test_layers_are_written_from_the_bottom_up():
    """Each layer is needed: something in it imports from the one before it."""
    for below, above in pairwise(LAYERS):
        imported = {
            one.split(".")[0] for name in CORE if name.split(".")[0] in above.split() for one in _own(CORE[name])
        }
        assert imported & set(below.split()), above

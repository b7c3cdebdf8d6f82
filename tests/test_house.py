"""The rules of the house: who may import whom, what a start-up may cost, how large things get."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from tests.helpers import REPO

PACKAGE = REPO / "rt_framework"

LAYERS: tuple[dict[str, str], ...] = (
    {"text": "text that may come from anywhere, made fit to be shown: no control characters, no secrets"},
    {
        "errors": "what can go wrong, and what each failure of a teacher costs",
        "model": "frozen data: pairs, samples, scores, requests, replies",
        "events": "what reporters are told",
    },
    {
        "spans": "targets after contexts, for which a student gives losses",
        "hookspecs": "how a plugin says what it offers",
    },
    {
        "protocols": "what each kind of plugin promises",
        "kit": "what an author of a plugin may use besides: fences, question forms, packed rows, statistics",
        "concurrency": "gathering into batches, the stop signal, signals of the system",
    },
    {
        "plugin": "plugins: discovery with blame, names to lazy targets, options",
        "ledger": "every answer and loss that was paid for",
    },
    {"config": "what a user writes: YAML to frozen objects, named pipelines, shards"},
    {
        "data": "files to samples and back, and the guard of everything that is written",
        "teacher": "each question paid for once: look-up, budget, rate limit, sending, reading",
        "scoring": "each loss computed once: presets, spans, planning, the forward pass, scores",
    },
    {"rundir": "a run directory: lock, frozen facts, outputs, manifest, summary, heartbeat"},
    {
        "pipeline": "samples through the stages of a job",
        "results": "a finished run, opened for reading",
    },
    {"export": "what leaves a finished run: packs, preferences, the folder for the hub, its card"},
    {"jobs": "what people do, as plain functions: run, score, select, quote, pilot, merge, salvage, check"},
    {"api": "the same jobs for Python programs and notebooks: rows in memory, parts as objects"},
    {"terminal": "everything that is drawn on a terminal"},
    {"testing": "the conformance kit and its fakes", "report": "the report of a run as one page"},
    {"cli": "a thin module a command"},
)
"""What stands in the package, from the bottom up, and what each holds.

A room or module imports from lower layers only; never from its own layer, but for what is inside the same room.
"""

LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}

PUBLIC = {
    *(name for name in LEVEL if (PACKAGE / f"{name}.py").is_file()),
    *("", "model", "protocols", "kit", "jobs", "testing", "cli.options", "terminal.printing"),
}
"""What plugins and other programs may import: the package itself, its top modules, ``model`` by its names, rooms of
which each module is public, and the options of commands. Every other room speaks through its ``__init__`` to the rooms
above it."""

UPWARDS = {("testing", "cli")}
"""Imports from a higher layer that are meant: the kit's fixture calls commands as the installed program does."""

HEAVY = (
    *("torch", "transformers", "litellm", "datasets", "numpy", "pyarrow", "pandas", "llguidance", "gguf"),
    *("datasketch", "scipy", "py3langid", "httpx", "aiohttp", "peft"),
)

WHO_MAY_IMPORT = {
    "rich": {"terminal"},
    "litellm": {"builtin.teachers.litellm", "builtin.teachers.channel"},
    "aiohttp": {"builtin.teachers.transport"},
    "httpx": {f"builtin.teachers.{name}" for name in ("transport", "channel", "batch_apis", "litellm_look")},
    "peft": {"builtin.adapters"},
    "torch": {
        "builtin.models",
        "builtin.placement",
        "builtin.students",
        "builtin.executors.processes",
        "builtin.generation",
        "builtin.decoding",
        "jobs.install_checks",
    },
    "transformers": {"builtin.models", "builtin.adapters", "builtin.students", "builtin.generation"},
    "numpy": {"kit.packing", "builtin.models", "builtin.students", "builtin.decoding"},
    "pyarrow": {"builtin.formats"},
    "datasets": {"data.hub", "data.tables"},
    "huggingface_hub": {"builtin.model_places", "data.downloads"},
    "click": {"cli"},
    "sqlite3": {"ledger"},
    "yaml": {"export.card", "kit.user_files", "report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
}
"""Modules, or packages with all that is in them, that may import a library at all."""


def _name(path: Path) -> str:
    """Module name below the package, as users of it write it."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


TREES = {_name(path): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The modules that a tree imports, anywhere in it, with the name that is taken from each; empty for itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("rt_framework.")
                yield (f"rt_framework.{inner}", "") if inner in TREES else (str(node.module), alias.name)


def _imports(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that a tree imports."""
    yield from (module for module, _ in _imported(tree))


def _own(tree: ast.AST) -> set[str]:
    """Modules of this package that a tree imports, without the package's name."""
    own = (name for name in _imports(tree) if name.split(".")[0] == "rt_framework")
    return {name.removeprefix("rt_framework").removeprefix(".") for name in own}


def _inside(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def _top(module: str) -> str:
    return module.split(".")[0]


def _is_public(module: str) -> bool:
    return module in PUBLIC or (_top(module) in PUBLIC and _top(module) != "")


CORE = {name: tree for name, tree in TREES.items() if name and not _inside(name, {"builtin"})}


# --- imports ----------------------------------------------------------------------------------


def test_every_room_of_the_core_has_a_layer():
    """And every layer is made of rooms and modules that exist: at most 28 of them, with the reference plugins."""
    assert {_top(name) for name in CORE} == set(LEVEL)
    assert len(LEVEL) + len(["__init__", "builtin"]) <= 28


@pytest.mark.parametrize("module", sorted(CORE))
def test_a_module_imports_from_lower_layers_only(module):
    """Never from a higher one or from its own, nor from the built-in plugins."""
    top = _top(module)
    for imported in _own(CORE[module]):
        target = _top(imported)
        if target != top and (top, target) not in UPWARDS:
            assert target in LEVEL or target == "", f"{module} imports {imported}"
            assert LEVEL.get(target, -1) < LEVEL[top], f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(CORE))
def test_rooms_speak_through_their_face(module):
    """From outside, a room that is not public is its ``__init__`` and the names that are listed there."""
    for imported, name in _imported(CORE[module]):
        room, _, inner = imported.removeprefix("rt_framework.").partition(".")
        if not imported.startswith("rt_framework.") or room in {_top(module), ""} or room in PUBLIC:
            continue
        assert not inner or inner in _face(room), f"{module} reaches past {room} to {imported}"
        assert inner or name in _face(room), f"{room} does not list {name}, which {module} imports"


@cache
def _face(room: str) -> set[str]:
    """The names that a room lists in ``__all__``."""
    for node in TREES[room].body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_nothing_imports_itself_by_way_of_another():
    """The modules have an order; a room's ``__init__``, which imports the room's own modules, stands above these."""
    graph: dict[str, set[str]] = {}
    for name, tree in TREES.items():
        graph[name] = {one for one in _own(tree) if one != name and one in TREES and not _is_above(one, name)}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(TREES)


def _is_above(package: str, module: str) -> bool:
    return package == "" or module.startswith(f"{package}.")


@pytest.mark.parametrize("module", sorted(name for name in TREES if _inside(name, {"builtin"})))
def test_a_builtin_plugin_imports_public_names_only(module):
    """As a stranger's would."""
    for imported in _own(TREES[module]):
        assert _is_public(imported) or _inside(imported, {"builtin"}), imported


@pytest.mark.parametrize("place", ["plugins", "tests/third_party", "tests/parts"])
def test_a_plugin_of_others_imports_public_names_only(place):
    """And nothing of the built-in plugins but what it names by text."""
    for path in (REPO / place).rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for imported in _own(tree):
            assert _is_public(imported), f"{path} imports {imported}"
        private = [name for module, name in _imported(tree) if module.startswith("rt_framework") and name[:1] == "_"]
        assert private == [], f"{path} imports {private}"


def test_the_pages_name_what_is_public():
    """The page on stability and the one on the architecture, in their sentence on it."""
    for page in ("stability", "architecture"):
        text = (REPO / "docs" / "explanation" / f"{page}.md").read_text("utf-8").replace("`rt_framework.", "`")
        assert [
            name for name in PUBLIC - {""} if f"`{name}`" not in text and not (PACKAGE / f"{name}.py").is_file()
        ] == []


@cache
def _libraries() -> dict[str, set[str]]:
    """The packages that each module imports, at its top or in a function."""
    return {name: {_top(one) for one in _imports(tree)} for name, tree in TREES.items()}


@pytest.mark.parametrize("library", WHO_MAY_IMPORT)
def test_a_library_is_imported_where_it_belongs(library):
    """One place for each, so that it can be left unloaded, or changed."""
    users = {name for name, libraries in _libraries().items() if library in libraries}
    assert users, "nobody imports it any more"
    assert {user for user in users if not _inside(user, WHO_MAY_IMPORT[library])} == set()


def test_sql_is_written_in_one_room():
    """Every other room asks the ledger by functions and methods with names."""
    sql = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b.*\b(FROM|INTO|SET)\b", re.DOTALL)
    texts = {
        name: [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        for name, tree in TREES.items()
        if not _inside(name, {"ledger"})
    }
    assert [name for name, found in texts.items() if any(map(sql.search, found))] == []


@pytest.mark.parametrize(
    "module",
    sorted([*(CORE.keys() - {"kit.packing"}), *(name for name in TREES if name.endswith(("settings", "hooks")))]),
)
def test_nothing_heavy_is_imported_with_a_core_module_or_settings(module):
    """Only inside a function, if at all; ``packing`` is for students, which have loaded more than numpy."""
    for node in TREES[module].body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not {one.split(".")[0] for one in _imports(ast.Module([node], []))} & set(HEAVY)


def layers_table() -> str:
    """The layers as the page on the architecture shows them."""
    lines = ["| layer | room or module | holds |", "|---|---|---|"]
    for level, layer in enumerate(LAYERS):
        lines += [f"| {level} | `{name}` | {holds} |" for name, holds in layer.items()]
    return "\n".join(lines)


def test_the_page_shows_these_layers():
    """``python -m tests.test_house`` prints the table."""
    assert layers_table() in (REPO / "docs" / "explanation" / "architecture.md").read_text("utf-8")


@pytest.mark.parametrize(
    "code",
    [
        "import rt_framework",
        "import rt_framework.testing",
        "import rt_framework.cli.options",
        "from rt_framework.plugin.host import Host; Host().load()",
        *(
            f"import sys; sys.argv = {['rt', *arguments]}\nfrom rt_framework.cli import main\n"
            "try: main()\nexcept SystemExit as end: assert not end.code"
            for arguments in (
                ["--help"],
                ["plugins", "list"],
                ["plugins", "show", "hf"],
                ["run", "--help"],
                ["pilot", "--help"],
                ["init", "--out", "x", "--prompt", "y"],
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


@pytest.mark.parametrize(("arguments", "more"), [(["--help"], {"rt_framework.plugin"}), (["plugins", "list"], set())])
def test_help_and_the_list_of_plugins_load_next_to_nothing(arguments, more, tmp_path):
    """No class of data, no settings of a part, no table: a user who looks something up waits for none of these."""
    unwanted = {"rich", "cattrs", "asyncio", "yaml", "filelock", "sqlite3", "subprocess", "hashlib", "json", "logging"}
    unwanted |= {"rt_framework.model", "rt_framework.config", "rt_framework.data", "rt_framework.terminal.printing"}
    unwanted |= {"click.shell_completion", "rt_framework.jobs.scaffold.package"}
    unwanted |= {f"rt_framework.builtin.{kind}.settings" for kind in ("stages", "selectors", "students")}
    code = (
        f"import sys; sys.argv = {['rt', *arguments]}\nfrom rt_framework.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "rt_framework.cli" in loaded
    assert loaded & (unwanted | more) == set()


# --- size -------------------------------------------------------------------------------------


def _functions() -> Iterator[tuple[str, int]]:
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", int(node.end_lineno or 0) - node.lineno + 1


def test_nothing_that_waits_for_a_model_is_a_cached_property_with_a_lock():
    """Until Python 3.11 it holds a lock of its class: with the lock of models two threads can wait for ever."""
    sources = {path: path.read_text("utf-8") for path in _project_files() if "builtin" in path.parts}
    users = {path: text for path, text in sources.items() if "import AT_WORK" in text}
    assert users and [path for path, text in users.items() if re.search(r"@(functools\.)?cached_property", text)] == []


QUESTIONS = {"What", "Who", "Whose", "Which", "Where", "When", "How", "Why", "Whether", "Whoever", "Whatever", "Those"}


def test_docstrings_begin_with_the_thing_and_not_with_a_question():
    """A stranger learns more from 'Number of rows.' than from 'How many there are.'."""
    found = []
    for path in _project_files():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or "-"
                found += [f"{path}: {text}"] if text.split()[0] in QUESTIONS else []
    assert found == []


def test_functions_are_small():
    """None over 45 lines but those that declare a command or open a job; half of them at most 8, docstrings counted."""
    long = {name for name, size in _functions() if size > 45}
    assert long == {
        "cli.run_options.job_options",
        "jobs.running.run",
        "jobs.scoring.score",
        "pipeline.sides.teacher_sides",
    }
    assert max(size for _, size in _functions()) <= 62
    assert median(size for _, size in _functions()) <= 8


def test_files_are_small():
    """None of core over 345 lines, none at all over 390; half of them at most 95."""
    sizes = {name: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py") if (name := _name(path))}
    most = {name: 390 if _inside(name, {"builtin", "testing"}) else 345 for name in sizes}
    assert {name: size for name, size in sizes.items() if size > most[name]} == {}
    assert median(size for name, size in sizes.items() if not _inside(name, {"builtin", "testing"})) <= 95


def test_classes_have_few_attributes():
    """At most 8 where a class behaves; the test servers of the kit hold the state of a whole provider."""
    large = {name for count, name in _attributes() if count > 8}
    assert large == {"testing.batch_desk.BatchDesk", "testing.loss_server.LossServer", "testing.server.FaultServer"}


def test_modules_import_few_others():
    """At most 11 of ours; those that put a command together from all rooms are named here."""
    wide = {name for name, tree in TREES.items() if len(_own(tree)) > 11}
    assert wide == {
        "api",
        "pipeline.job",
        "cli.doctor",
        "cli.plugins",
        "cli.reflect",
        "data",
        "export.hub",
        "jobs.piloting",
        "ledger",
        "jobs.sample_checks",
        "jobs.scoring",
        "teacher.sending",
        "testing.contracts",
        "rundir",
    }


# --- words ------------------------------------------------------------------------------------


def _project_files() -> list[Path]:
    """Return the files of the project: those that git tracks, and new ones that it does not ignore."""
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


def test_no_file_holds_the_marks_of_an_unfinished_merge():
    marked = []
    for path in _project_files():
        lines = path.read_bytes().splitlines()
        if any(line.startswith((b"<" * 7 + b" ", b">" * 7 + b" ")) for line in lines):
            marked.append(str(path.relative_to(REPO)))
    assert marked == []


def test_commands_are_sorted_into_modules_of_their_own():
    """Each command that the help lists is a module with a command in it, and is short."""
    from rt_framework.cli import _COMMANDS

    modules = {name.removeprefix("cli.") for name in TREES if name.startswith("cli.")}
    assert set(_COMMANDS) <= modules
    assert all(len((PACKAGE / "cli" / f"{name}.py").read_text().splitlines()) <= 115 for name in modules)


# --- tests --------------------------------------------------------------------------------------


def _tests() -> dict[str, ast.Module]:
    """Every test file, also of the packages, whose own tests are not run with these."""
    paths = [path for path in _project_files() if path.suffix == ".py" and "tests" in path.parts]
    return {str(path.relative_to(REPO)): ast.parse(path.read_text("utf-8")) for path in paths}


def test_tests_patch_names_that_there_are():
    """A name that has moved would be found out only where the test runs, and the packages' tests run rarely."""
    found = []
    for path, tree in _tests().items():
        for node in ast.walk(tree):
            if not (
                isinstance(node, ast.Call) and node.args and getattr(node.func, "attr", "") in {"setattr", "delattr"}
            ):
                continue
            name = getattr(node.args[0], "value", None)
            if isinstance(name, str) and name.startswith("rt_framework.") and not _is_there(name):
                found.append(f"{path}: {name}")
    assert found == []


def _is_there(name: str) -> bool:
    """Return whether a dotted name leads to something: to a module, and on through its attributes."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_tests_use_the_public_part_of_the_kits_servers():
    """As authors of plugins do: what a test needs of them, they offer."""
    found = [
        f"{path}:{node.lineno} {node.attr}"
        for path, tree in _tests().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id.endswith("server")
        if node.attr.startswith("_")
    ]
    assert found == []


def test_the_browser_is_not_waited_for_by_a_script():
    """The report forbids ``eval``, by which such a wait looks a second time: it fails on a slow machine alone."""
    word = "wait_for_" + "function"
    places = [path for folder in ("tests", "benchmarks", "plugins") for path in (REPO / folder).rglob("*.py")]
    assert [str(path) for path in places if word in path.read_text("utf-8")] == []


# --- numbers ----------------------------------------------------------------------------------


def _private_used_once() -> float:
    """Share of the private functions of a module that are named once in it, besides where they are defined."""
    counts = []
    for tree in TREES.values():
        named = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        named += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.match("_[^_]", node.name):
                counts.append(named.count(node.name))
    return sum(count == 1 for count in counts) / len(counts)


def _attributes() -> Iterator[tuple[int, str]]:
    """Yield each class without a decorator: the number of attributes that it sets on itself, and its name."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.decorator_list:
                sets = {
                    target.attr
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
                    for target in [inner]
                    if isinstance(target.value, ast.Name) and target.value.id == "self"
                }
                yield len(sets), f"{module}.{node.name}"


def _comments(paths: list[Path]) -> tuple[int, int]:
    """Comments, those for tools left out, and all lines."""
    lines = [line.strip() for path in paths for line in path.read_text("utf-8").splitlines()]
    return sum(line.startswith("# ") and not line.startswith(("# ---", "# noqa", "# type:")) for line in lines), len(
        lines
    )


def numbers() -> Iterator[tuple[str, object]]:
    """Yield names and figures that describe the code. A number is a place to look, not a verdict."""
    kernel = [path for path in PACKAGE.rglob("*.py") if _in_kernel(path.relative_to(PACKAGE))]
    core = [path for path in PACKAGE.rglob("*.py") if not _inside(_name(path), {"builtin", "testing"})]
    sizes = sorted(len(path.read_text("utf-8").splitlines()) for path in core)
    functions = sorted(size for _, size in _functions())
    fan_out = sorted((len(_own(tree)), name) for name, tree in TREES.items() if name.split(".")[-1] != "__init__")
    comments, lines = _comments(list(PACKAGE.rglob("*.py")))
    yield "entries at the top", len({_top(name) for name in TREES})
    yield "kernel, lines", sum(len(path.read_text("utf-8").splitlines()) for path in kernel)
    yield "core file, median and longest", (median(sizes), sizes[-1])
    yield (
        "functions, median, p99 and longest",
        (median(functions), functions[len(functions) * 99 // 100], functions[-1]),
    )
    yield "private functions used once", f"{_private_used_once():.0%}"
    yield "attributes of a class, most", sorted(_attributes())[-5:]
    yield "modules that a module imports, most", fan_out[-5:]
    yield (
        "rooms that import sqlite3",
        sorted({_top(name) for name, tree in TREES.items() if "sqlite3" in _imports(tree)}),
    )
    yield "comments in 100 lines", f"{100 * comments / lines:.1f}"


def _in_kernel(path: Path) -> bool:
    """The face up to the pipeline: what every run goes through."""
    top = path.parts[0].removesuffix(".py")
    return top in LEVEL and LEVEL[top] <= LEVEL["pipeline"] and top != "kit"


if __name__ == "__main__":
    print(layers_table())
    for name, value in numbers():
        print(f"{name}: {value}")

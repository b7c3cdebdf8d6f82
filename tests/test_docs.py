"""The documentation as tests: code blocks run, examples work, the reference is complete, links resolve."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import json
import math
import pydoc
import re
import shlex
import sqlite3
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from attrs import NOTHING, fields, frozen, resolve_types
from attrs import has as is_attrs

import rt_framework
from rt_framework import events, model, protocols, results, testing
from rt_framework.cli import _COMMANDS, FAULT, main, options, rt
from rt_framework.cli.package_commands import GROUP as COMMANDS
from rt_framework.config import reading as config
from rt_framework.config.builder import Builder
from rt_framework.config.pipelines import PIPELINES
from rt_framework.config.schema import Config, NamedTeacher
from rt_framework.data.shapes import SHAPES
from rt_framework.errors import KINDS, RtError
from rt_framework.hookspecs import GROUP, EventHooks, RegistrationHooks
from rt_framework.kit.field_texts import field_texts
from rt_framework.kit.parts import Spec
from rt_framework.kit.user_files import parse_yaml
from rt_framework.ledger.ledger import Ledger
from rt_framework.plugin import key_of
from rt_framework.plugin.host import Host
from rt_framework.plugin.registry import Entry
from rt_framework.plugin.structuring import structure
from rt_framework.scoring.presets import PRESETS
from rt_framework.testing import contracts
from rt_framework.testing.checking import check
from tests import signatures
from tests.test_packages import PLUGINS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
GALLERY = DOCS / "gallery"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(path for path in DOCS.rglob("*.md") if path.parent not in (EXAMPLES, GALLERY)),
]
MODULES = sorted(path.stem for path in EXAMPLES.glob("*.py"))

_BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@frozen
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    title: str | None
    text: str


def blocks(language: str) -> Iterator[Block]:
    """Every block in that language."""
    for page in PAGES:
        for found in _BLOCK.finditer(page.read_text("utf-8")):
            title = re.search(r'title="([^"]*)"', found[2])
            if found[1] == language:
                yield Block(page, found[1], title[1] if title else None, found[3])


def name_of(value: Any) -> str:
    """Name of a page or block in test ids."""
    return value.page.stem if isinstance(value, Block) else value.stem if isinstance(value, Path) else str(value)


@pytest.fixture(autouse=True)
def core_alone() -> None:
    """The pages show commands of the packages that ``make install`` brings, so these are not hidden here."""


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example modules can be imported."""
    monkeypatch.syspath_prepend(EXAMPLES)


# --- code in the pages ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block", [b for kind in ("python", "text", "yaml") for b in blocks(kind) if b.title], ids=name_of
)
def test_shown_examples_are_the_files(block: Block) -> None:
    """A block with a title shows that file, word for word."""
    assert block.text.rstrip() == (ROOT / str(block.title)).read_text("utf-8").rstrip()


@pytest.mark.parametrize("block", [b for b in blocks("python") if not b.title], ids=name_of)
def test_code_in_the_pages_runs(block: Block, examples: None, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A block without a title runs, and so do the tests that it defines."""
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(block.text, str(block.page), "exec"), space)
    tests = {name: one for name, one in space.items() if name.startswith("test_")}
    assert tests or block.page.parent.name != "how-to"
    for name, one in tests.items():
        (tmp_path / name).mkdir()
        wanted = inspect.signature(one).parameters
        one(*[request.getfixturevalue(each) if each == "rt_project" else tmp_path / name for each in wanted])


_EXAMPLE_OPTIONS: dict[str, Any] = {
    "log": {"path": "log.jsonl"},
    "clearly-higher": "ifd",
    "shortest": 3,
    "at-most": 30,
    "program": "/bin/cat",
}


@pytest.mark.parametrize("module", [name for name in MODULES if "@hookimpl" in (EXAMPLES / f"{name}.py").read_text()])
def test_every_example_keeps_its_contract(module: str, examples: None, tmp_path: Path) -> None:
    """Authors start from them."""
    host = Host(only=(), modules=[module], strict=True)
    host.load()
    for entry in (one for one in host.registry.entries() if one.plugin == module):
        (checked,) = check(host, [entry], _EXAMPLE_OPTIONS.get(entry.name), tmp_path / entry.kind / entry.name)
        assert checked.why_not == ""
        assert {one.check: one.reason for one in checked.outcomes if one.status == "failed"} == {}


def test_every_example_is_shown() -> None:
    """No example is left over: each is shown whole, or linked, on some page."""
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in MODULES if f"examples/{name}.py" not in text] == []


@pytest.mark.parametrize("name", [name for name in MODULES if "rt_register_" in (EXAMPLES / f"{name}.py").read_text()])
def test_examples_load_as_plugins(name: str, examples: None) -> None:
    """Each example is a plugin, and all that it offers can be built."""
    host = Host(only=(), modules=[name], strict=True)
    host.load()
    offered = [entry for entry in host.registry.entries() if entry.plugin == name]
    assert offered
    for entry in offered:
        assert Builder(host)(entry.kind, entry.name, _some_options(entry)) is not None


def _some_options(entry: Entry) -> dict[str, Any] | None:
    """A value for each option that has no default."""
    values = {"str": "x", "int": 1, "float": 0.5}
    wanted = [] if entry.settings is None else fields(entry.settings)
    return {one.name: values[str(one.type)] for one in wanted if one.default is NOTHING} or None


def test_ten_lines_score_data(
    examples: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The metric of the README scores data through the command line, with its own arithmetic."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    out, data = tmp_path / "scores.jsonl", tmp_path / "rows.jsonl"
    data.write_text('{"instruction": "Name a river.", "output": "The Rhine is a long river."}\n')
    command = f"rt -p ten_lines -p small_run score {data} --student fake --metric gain --out {out}"
    assert _call(command, monkeypatch) == 0, capsys.readouterr().err
    line = json.loads(out.read_text())
    losses = {name: loss["nll"] / loss["tokens"] for name, loss in line["losses"].items()}
    assert line["metrics"]["gain"] == pytest.approx(losses["y"] - losses["y|x"])
    assert line["status"] == "ok"


def test_ten_lines_are_ten() -> None:
    """The README says so."""
    lines = (EXAMPLES / "ten_lines.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) == 10


def _call(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def _command_lines() -> Iterator[tuple[Path, list[str]]]:
    """Every ``rt …`` line of a block that is no Python, YAML or TOML, as words, without its comment."""
    for language in ("", "sh"):
        for block in blocks(language):
            for line in block.text.replace("\\\n", " ").splitlines():
                told = re.sub(r"\$\([^)]*\)", "MODEL", line.removeprefix("$ ").strip())
                if told.startswith("rt ") and "…" not in told:
                    yield block.page, shlex.split(told.partition(";")[0].partition(" &")[0], comments=True)[1:]


@pytest.mark.parametrize(
    ("path", "words"), list(_command_lines()), ids=lambda one: name_of(one) if isinstance(one, Path) else " ".join(one)
)
def test_commands_in_the_pages_exist(
    path: Path, words: list[str], examples: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its options, those of the plugins it names among them: it is parsed as it would be typed."""
    for package, _ in PLUGINS:
        monkeypatch.syspath_prepend(str(package))
    top = click.Context(rt, obj=Host(only=(), modules=[module for _, module in PLUGINS]))
    _, rest, _ = rt.make_parser(top).parse_args(list(words))
    command: Any = rt.get_command(top, rest[0]) if rest else None
    if isinstance(command, click.Group) and rest[1:]:
        command, rest = command.get_command(top, rest[1]), rest[1:]
    assert command is not None or not rest, rest[0]
    if command is not None:
        # A value that is missing or no file is no matter here; an option that there is not is.
        with contextlib.suppress(click.MissingParameter, click.BadParameter, click.exceptions.Exit):
            command.parse_args(click.Context(command, parent=top, obj=top.obj), rest[1:])


@pytest.mark.model
def test_the_sample_with_numbers_is_scored_as_it_is_told(smollm2_saved: str, tmp_path: Path) -> None:
    """The page of five minutes gives scores and perplexities of a row of the demo, as its student computes them."""
    told = " ".join((DOCS / "five-minutes.md").read_text("utf-8").split())
    row = json.loads((ROOT / "demo" / "samples.json").read_text("utf-8"))[3]
    job = yaml.safe_load((ROOT / "demo" / "config.yaml").read_text("utf-8"))
    job |= {"teacher": f"replay:{ROOT / 'demo' / 'answers.jsonl'}", "student": f"hf:{smollm2_saved}"}
    scores = rt_framework.run(job, [row], tmp_path / "run", progress=False).sample(0).sample.scores
    versions = {"original": "original", "new instruction and response": "instruction"}
    for name, version in versions.items():
        ifd, r_ifd = (scores[version][metric].value for metric in ("ifd", "r-ifd"))
        assert f"| {name} | {ifd:.3f} | {r_ifd:.3f} |" in told
    assert f"| further response | not read | {scores['instruction.response']['r-ifd'].value:.3f} |" in told
    (line,) = rt_framework.score([row], f"hf:{smollm2_saved}", metrics=["ifd"], progress=False)
    alone, after = (line["losses"][name]["nll"] / line["losses"][name]["tokens"] for name in ("y", "y|x"))
    assert f"loss of {alone:.2f} a token" in told and f"the loss is {after:.2f}" in told
    assert f"{math.exp(after):.1f} / {math.exp(alone):.1f} = {math.exp(after - alone):.3f}" in told


# --- YAML and TOML in the pages ---------------------------------------------------------------


@pytest.mark.parametrize("block", list(blocks("yaml")), ids=name_of)
def test_configs_in_the_pages_are_valid(block: Block, examples: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every YAML block is a config, or a part of one; every stage that it names can be built, beside the examples
    and the packages of the repository.
    """
    monkeypatch.chdir(EXAMPLES)
    raw = parse_yaml(block.text, block.page.name)
    whole = {"data": {"path": "data.json"}, "pipeline": "selective-rt", **raw}
    read = structure(whole, Config)
    plugins = [name for name in MODULES if "rt_register_" in (EXAMPLES / f"{name}.py").read_text()]
    for package, module in PLUGINS:
        monkeypatch.syspath_prepend(str(package))
        plugins.append(module)
    make = Builder(Host(only=(), modules=plugins, strict=True))
    for stage in read.pipeline.specs:
        make.spec("stages", stage)
    parts = {"teachers": read.teacher and read.teacher.part, "students": read.student}
    for kind, spec in (parts | {"templates": read.scoring.template}).items():
        if spec is not None:
            make.spec(kind, spec)


def test_starter_config_is_the_tutorials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config that `rt init` writes is valid, and its pipeline is that of the config in the README."""
    assert _call(f"rt init --out {tmp_path / 'rt.yaml'}", monkeypatch) == 0
    starter = config.read_config(tmp_path / "rt.yaml")
    shown = next(b for b in blocks("yaml") if b.page.name == "README.md")
    assert yaml.safe_load(shown.text)["pipeline"] == [{s.name: s.options} for s in starter.pipeline.specs]


def test_packaging_snippet() -> None:
    """The pyproject snippets use the groups that the host and the command line read."""
    groups = {group for one in blocks("toml") for group in tomllib.loads(one.text)["project"]["entry-points"]}
    assert groups == {GROUP, COMMANDS}


# --- the reference is complete ----------------------------------------------------------------


def page(name: str) -> str:
    """Text of a reference page."""
    return (DOCS / "reference" / name).read_text("utf-8")


def rows(text: str) -> dict[str, list[str]]:
    """Cells of every table row that starts with a name in backticks, by that name."""
    cells = (re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `"))
    return {row[0].strip().strip("`"): [cell.strip() for cell in row[1:]] for row in cells}


def section(text: str, title: str) -> str:
    """A heading's text, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section '{title}'"
    return found[1]


def _shown(default: Any) -> str:
    """A default as the tables show it."""
    value = default.factory() if hasattr(default, "factory") else default
    if value is NOTHING:
        return "required"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value in ((), {}) else f"{value:g}" if isinstance(value, float) else str(value)


def test_every_config_key_is_documented() -> None:
    """Each key of a config, with its default."""
    text = page("config.md")
    types = {key.name: key.type for key in fields(resolve_types(Config))}
    nested = {name: cls for name, cls in types.items() if is_attrs(cls) and cls is not Spec}
    assert set(nested) == {"data", "pipeline", "scoring", "output", "limits"}
    assert [key.name for key in fields(Config) if f"`{key.name}`" not in text] == []
    teachers = rows(section(text, "`teacher` and `teachers`"))
    assert {key: cells[1] for key, cells in teachers.items()} == {
        one.name: _shown(one.default) for one in fields(NamedTeacher)
    }
    for name, cls in nested.items():
        table = rows(section(text, f"`{name}`"))
        keys = {f"{name}.{one.name}": _shown(one.default) for one in fields(cls)}
        assert {key: cells[1] for key, cells in table.items()} == keys


def _with_settings() -> list[Entry]:
    return [entry for entry in Host(only=()).registry.entries() if entry.settings is not None]


@pytest.mark.parametrize("entry", _with_settings(), ids=lambda entry: f"{entry.kind[:-1]}-{entry.name}")
def test_every_option_is_documented(entry: Entry) -> None:
    """Each option of each built-in plugin, with its default."""
    assert entry.settings is not None and is_attrs(entry.settings)
    table = rows(section(page("config.md"), f"{entry.kind[:-1]} `{entry.name}`"))
    assert {name: cells[1] for name, cells in table.items()} == {
        key_of(one): _shown(one.default) for one in fields(entry.settings)
    }


def test_every_built_in_name_is_documented() -> None:
    """Each registered name, preset, pipeline and shape."""
    text = page("config.md")
    named = [entry.name for entry in Host(only=()).registry.entries() if entry.kind != "formats"]
    assert [name for name in (*named, *PRESETS, *PIPELINES) if f"`{name}`" not in text] == []
    formats = [entry.name for entry in Host(only=()).registry.entries() if entry.kind == "formats"]
    assert [name for name in (*formats, *SHAPES) if f"`{name}`" not in page("formats.md")] == []


def test_every_hook_is_documented() -> None:
    """Each hook, and each field of each event."""
    table = rows(page("hooks.md"))
    hooks = [name for spec in (RegistrationHooks, EventHooks) for name in vars(spec) if name.startswith("rt_")]
    assert [name for name in hooks if name not in table] == []
    for name, event in vars(events).items():
        if isinstance(event, type) and is_attrs(event):
            documented = rows(section(page("hooks.md"), f"`{name}`"))
            assert list(documented) == [one.name for one in fields(event)]


@pytest.mark.parametrize(("name", "protocol"), list(signatures.listed()), ids=[name for name, _ in signatures.listed()])
def test_every_protocol_is_documented_with_its_signatures(name: str, protocol: type) -> None:
    """Each member, word for word, with what it means."""
    members = dict(signatures.shown(protocol))
    lines = section(page("protocols.md"), f"`{name}`").splitlines()
    assert [line for line in lines if line.startswith("| `")] == [
        f"| `{one}` | {text} |" for one, text in members.items()
    ]


# --- what is made from the code ---------------------------------------------------------------


@pytest.fixture(scope="module")
def from_code() -> Any:
    """The module beside the configuration of the site that describes classes from the code."""
    spec = importlib.util.spec_from_file_location("from_code", DOCS / "from_code.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _exchanged() -> set[str]:
    """Every class and function that ``rt_framework`` exports, every class of data that its functions return, and every
    class that the protocols mention.
    """
    elsewhere = {"PLUGIN_API": "stability", "hookimpl": "hooks", "open_run": "python"}
    elsewhere |= dict.fromkeys(("arun", "ascore", "run", "score"), "python")
    names = {f"rt_framework.{name}" for name in rt_framework.__all__ if name not in elsewhere}
    names.add("rt_framework.api.Scores")
    for module in (model, results):
        own = [name for name in module.__all__ if is_attrs(getattr(module, name)) and name not in rt_framework.__all__]
        names |= {f"{module.__name__}.{name}" for name in own}
    for path in Path(inspect.getfile(protocols)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("rt_framework.model", "rt_framework.spans"):
                named = {alias.name for alias in node.names} - {"Context"} - set(rt_framework.__all__)
                names |= {f"{node.module}.{name}" for name in named}
    return names


def test_every_data_class_is_on_the_page(from_code: Any) -> None:
    """Under a heading with its name, or with the functions; and what is on the page has a description."""
    text = page("data.md")
    described = from_code.named_on(text)
    assert set(described) == _exchanged()
    for name, value in described.items():
        assert value.__doc__, name
        titles = [f"`{value.__name__}`"] if isinstance(value, type) else _FUNCTIONS
        parts = [_between_headings(text, title) for title in titles]
        assert any(f"```{{from-code}}\n{name}\n```" in part for part in parts)


_FUNCTIONS = ("Functions for metrics", "Functions for students")


def _between_headings(text: str, title: str) -> str:
    return next(part for part in re.split(r"^#+ ", text, flags=re.MULTILINE) if part.startswith(f"{title}\n"))


def _data_classes() -> list[type]:
    found = [pydoc.locate(name) for name in sorted(_exchanged())]
    return [value for value in found if isinstance(value, type)]


@pytest.mark.parametrize("cls", _data_classes(), ids=lambda cls: cls.__name__)
def test_every_field_of_a_data_class_has_a_meaning(from_code: Any, cls: type) -> None:
    """So has each argument of an error, each property and each method; all are in the table."""
    rows, members = from_code.rows_of(cls), from_code.members_of(cls)
    assert [row for row in (*rows, *members) if not row[-1].strip()] == []
    if is_attrs(cls):
        public = [one for one in fields(cls) if one.init and not one.name.startswith("_")]
        assert [row[0] for row in rows] == [f"`{one.alias}`" for one in public]
        public = [name for name, value in vars(cls).items() if not name.startswith("_") and inspect.isfunction(value)]
        assert [name for name in public if not any(f"`{name}(" in row[0] for row in members)] == []
    shown = from_code.shown(cls)
    assert shown.count("\n| `") == len(rows) + len(members)
    assert ":class:" not in shown and "``" not in shown


def test_a_page_is_filled_from_the_code(from_code: Any) -> None:
    """With name, type, default and meaning of each field, and the first line of each member."""
    filled = from_code.filled("# Title\n\n```{from-code}\nrt_framework.Score\n```\n\nText.\n")
    assert filled.startswith(
        "# Title\n\nThe value of one metric for one version, or the reason for its absence.\n\n| field "
    )
    assert "| `value` | `float \\| None` | required | The value; `None` where there is none. |" in filled
    assert "| `status` | `str` | `'ok'` | `ok`; `out_of_range`: there is a value, but it cannot win" in filled
    assert "| `eligible` | Return whether a version may win a choice with this score. |\n\nText.\n" in filled
    assert "{from-code}" not in from_code.filled(page("data.md"))


@pytest.mark.parametrize(
    "cls", [cls for cls in _data_classes() if is_attrs(cls) and cls.__name__ in rt_framework.__all__]
)
def test_help_shows_the_meaning_of_each_field(cls: type) -> None:
    """``help()`` in Python, where most authors look first."""
    text = " ".join(pydoc.plain(pydoc.render_doc(cls)).replace("|", " ").split())
    for name, meaning in field_texts(cls).items():
        assert name.startswith("_") or f"{name} {meaning.replace('|', ' ')}" in text


def test_every_hook_has_the_signature_that_the_page_gives() -> None:
    """``register`` for those that offer, ``event`` for those that watch."""
    for spec, argument in ((RegistrationHooks, "register"), (EventHooks, "event")):
        assert f"Each gets one argument, `{argument}`" in " ".join(page("hooks.md").split())
        hooks = [one for name, one in vars(spec).items() if name.startswith("rt_")]
        assert {tuple(inspect.signature(one).parameters) for one in hooks} == {("self", argument)}


def test_every_error_is_documented() -> None:
    """Each kind with what it costs and what is tried; each exit code."""
    table = rows(section(page("errors.md"), "Kinds of failure"))
    for kind in KINDS.values():
        assert table[kind.name][:3] == [kind.billed, kind.retry.value, "yes" if kind.fatal else "no"]
    codes = {error.exit_code for error in RtError.__subclasses__()} | {RtError.exit_code, 0, 1, FAULT, 130}
    for text in (page("errors.md"), (DOCS / "for-agents.md").read_text("utf-8")):
        assert codes == {int(code) for code in rows(section(text, "Exit codes"))}


def test_every_check_of_the_kit_is_documented() -> None:
    """Each contract with each of its checks, in the words of its docstring."""
    base = contracts.checks(contracts.PluginContract)
    for name in (name for name in vars(contracts) if name.endswith("Contract")):
        contract = getattr(contracts, name)
        own = [one for one in contracts.checks(contract) if contract is contracts.PluginContract or one not in base]
        meanings = {one: inspect.getdoc(getattr(contract, one)) or "" for one in own}
        table = rows(section(page("testing.md"), f"`{name}`"))
        assert [(one, cells[0]) for one, cells in table.items()] == [
            (one, " ".join(text.split("\n\n")[0].split()).replace("``", "`")) for one, text in meanings.items()
        ]
    assert [name for name in testing.__all__ if f"`{name}`" not in page("testing.md")] == []


def test_every_command_is_documented() -> None:
    """Each command, argument and option."""
    text = page("cli.md")
    context = click.Context(rt)
    for name in _COMMANDS:
        command = rt.get_command(context, name)
        assert command is not None
        part = section(text, f"`rt {name}`")
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for parameter in (one for each in inner for one in each.params):
            shown = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name.upper()
            assert shown in part, f"rt {name}: {shown}"
    for option in rt.params:
        assert option.opts[0] in text


def test_every_name_for_commands_is_documented() -> None:
    """The page on commands has each name that packages with commands may import, and no other."""
    table = rows(section((DOCS / "how-to" / "write-a-command.md").read_text("utf-8"), "Names for commands"))
    documented = [name for cell in table for name in re.findall(r"\w+", cell)]
    assert sorted(documented) == sorted(options.__all__)


def test_every_table_of_the_ledger_is_documented(tmp_path: Path) -> None:
    """Each table with each column."""
    Ledger.writing(tmp_path / "ledger.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in tables}
    documented = {table: list(rows(section(page("files.md"), f"`{table}`"))) for table in tables}
    assert documented == columns


def test_every_key_of_a_side_file_line_is_documented(examples: None, tmp_path: Path) -> None:
    """The lines that a run writes, and the manifest."""
    small_run = importlib.import_module("small_run")
    line, *_ = small_run.run_small(tmp_path, [{"reflect": "response"}, {"choose": {"highest": "ifd"}}])
    assert list(rows(section(page("files.md"), "`scores.jsonl`"))) == list(line)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert set(rows(section(page("files.md"), "`manifest.json`"))) == set(manifest)


# --- links ------------------------------------------------------------------------------------


def _anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = _BLOCK.sub("", path.read_text("utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_resolve(path: Path) -> None:
    """Every relative link leads to a file, and to a heading of it if it names one."""
    for link in _LINK.findall(_BLOCK.sub("", path.read_text("utf-8"))):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), link
        assert not anchor or anchor in _anchors(there), link


def test_every_page_can_be_reached() -> None:
    """The index leads to every page."""
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall((DOCS / "index.md").read_text())}
    assert [page.name for page in PAGES if DOCS in page.parents and page not in linked | {DOCS / "index.md"}] == []

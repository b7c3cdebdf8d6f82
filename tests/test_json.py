"""Output for programs: ``--json`` of every command prints the keys in ``docs/reference/json.md``, and nothing else.

``python -m tests.test_json`` prints the tables of that page.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from attrs import fields, has

from rt_framework.jobs.looking.findings import ToldFindings
from rt_framework.jobs.looking.forecasts import ToldPilot
from rt_framework.jobs.looking.plugin_parts import ToldPlugins
from rt_framework.jobs.looking.plugin_shown import ToldPlugin
from rt_framework.jobs.looking.quotes import ToldQuote
from rt_framework.jobs.looking.standing import Standing
from rt_framework.jobs.looking.story import Story
from rt_framework.kit.field_texts import field_texts
from rt_framework.results import Listed
from tests.helpers import CONFIG, REPO, Cli, rows, write_json

PAGE = REPO / "docs" / "reference" / "json.md"

PRINTED: dict[str, type] = {
    "rt doctor": ToldFindings,
    "rt run --dry-run": ToldQuote,
    "rt pilot": ToldPilot,
    "rt status": Standing,
    "rt samples": Listed,
    "rt explain": Story,
    "rt plugins list": ToldPlugins,
    "rt plugins show": ToldPlugin,
}
"""The class of the object that each command prints."""

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "any value"}


# --- the page ---------------------------------------------------------------------------------


def classes() -> list[type]:
    """Return every class that is printed, each after the one that holds it."""
    found: dict[type, None] = {}

    def visit(cls: Any) -> None:
        if has(cls) and cls not in found:
            found[cls] = None
            for kind in types_of(cls).values():
                visit(kind)
        for part in get_args(cls):
            visit(part)

    for cls in PRINTED.values():
        visit(cls)
    return list(found)


def types_of(cls: Any) -> dict[str, Any]:
    """Return the types of a class's fields, by name."""
    hints = get_type_hints(cls)
    return {one.name: hints[one.name] for one in fields(cls)}


def words(kind: Any) -> str:
    """Return a type as the page names it."""
    if has(kind):
        return f"[`{kind.__name__}`](#{kind.__name__.lower()})"
    parts = get_args(kind)
    if get_origin(kind) in (types.UnionType, Union):
        return " or ".join("null" if part is type(None) else words(part) for part in parts)
    if get_origin(kind) is tuple:
        return f"list of {words(parts[0])}"
    if get_origin(kind) is Literal:
        return "text"
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        return f"object of {words(parts[1])} by name"
    return _WORDS[kind]


def table(cls: type) -> str:
    """Return the table of a class."""
    texts = field_texts(cls)
    lines = [f"| `{name}` | {words(kind)} | {_plain(texts[name])} |" for name, kind in types_of(cls).items()]
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *lines])


def _plain(text: str) -> str:
    return re.sub(r":\w+:`~?(?:rt_framework\.)?([^`]*)`", r"`\1`", text).replace("``", "`").replace("None", "null")


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_the_page_has_the_keys_of_every_object(cls: type) -> None:
    """With types and meanings, as the code has them."""
    text = PAGE.read_text("utf-8")
    assert f"\n### `{cls.__name__}`\n" in text
    assert table(cls) in text


def test_the_page_has_a_section_for_every_command() -> None:
    """Each names its object."""
    text = PAGE.read_text("utf-8")
    for command, cls in PRINTED.items():
        section = text.partition(f"\n## `{command}`\n")[2].partition("\n## ")[0]
        assert f"[`{cls.__name__}`](#{cls.__name__.lower()})" in section, command


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """The command line in a directory with six samples, a config and its run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    cli = Cli(monkeypatch, capfd)
    assert cli("run", "rt.yaml").code == 0
    return cli


def check(value: Any, kind: Any, place: str = "") -> None:
    """Check that a value from JSON is what a type says, with every key and no other."""
    if has(kind):
        assert list(value) == list(types_of(kind)), place
        for name, one in types_of(kind).items():
            check(value[name], one, f"{place}.{name}")
        return
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        (some,) = [part for part in parts if part is not type(None)]
        if value is not None:
            check(value, some, place)
    elif origin is tuple:
        assert isinstance(value, list), place
        for one in value:
            check(one, parts[0], f"{place}[]")
    elif origin is not None:
        assert isinstance(value, dict), place
        for name, one in value.items():
            check(one, parts[1], f"{place}.{name}")
    elif kind is not Any:
        assert type(value) in ((int, float) if kind is float else (kind,)), f"{place}: {value!r}"


def printed(cli: Cli, *arguments: object, code: int = 0) -> Iterator[Any]:
    """Yield the objects that a command prints with ``--json``; each is of the class that the page has for it."""
    done = cli(*arguments, "--json")
    assert (done.code, done.err) == (code, ""), done.err
    assert done.out.isascii()
    lines = done.out.splitlines() if arguments[0] == "samples" else [done.out]
    (name,) = [name for name in PRINTED if {*name.split()[1:]} <= {*arguments}]
    for line in lines:
        value = json.loads(line)
        check(value, PRINTED[name], name)
        yield value


def test_explain(cli: Cli) -> None:
    """Prompts and raw answers are there only with ``--prompts``."""
    (story,) = printed(cli, "explain", "runs/rt", "2")
    assert story["row"] == 2 and story["outcome"] in ("rewritten", "original")
    assert story["versions"][0]["pair"]["instruction"] == "Name 3 things that float on water."
    assert {call["version"] for call in story["calls"]} == {one["name"] for one in story["versions"][1:]}
    assert {(call["messages"], call["answer"]) for call in story["calls"]} == {(None, None)}
    (more,) = printed(cli, "explain", "runs/rt", "2", "--prompts")
    assert all(call["messages"][0]["role"] and call["answer"] for call in more["calls"])
    several = cli("explain", "runs/rt", "--search", "float", "--json")
    assert (several.code, several.out) == (2, "")


def test_samples(cli: Cli) -> None:
    """An object a line."""
    assert [one["row"] for one in printed(cli, "samples", "runs/rt")] == list(range(6))


def test_dry_run(cli: Cli) -> None:
    """The amounts that are still to be paid, and the first prompts."""
    limits = ["--set", "limits.budget_usd=2.5", "--set", "teacher=scripted"]
    (quote,) = printed(cli, "run", "rt.yaml", "--run-dir", "new", "--dry-run", "--set", "data.path=data.json")
    assert (quote["samples"], quote["unique"], quote["answered"], len(quote["prompts"])) == (6, 12, 0, 3)
    assert quote["still"]["sends"]["low"] == 12
    assert (quote["spent_usd"], quote["budget_usd"]) == (0, None)
    refused = cli("run", "rt.yaml", "--dry-run", "--json", *limits)
    assert (refused.code, refused.out) == (2, "") and "price" in refused.err
    assert "--json goes with --dry-run" in cli("run", "rt.yaml", "--json").error()


def test_pilot_and_status(cli: Cli) -> None:
    """The forecast, with the command that goes on; status has it until all rows were run."""
    done = cli("pilot", "rt.yaml", "-n", "4", "--run-dir", "new", "--json")
    assert done.code == 0 and "samples" in done.err  # the reporter's lines
    pilot = json.loads(done.out)
    check(pilot, ToldPilot)
    assert (pilot["forecast"]["rows"], pilot["forecast"]["population"], pilot["errors"]) == (4, 6, 0)
    assert pilot["next"] == "rt -p tests.helpers run rt.yaml --run-dir new"
    (status,) = printed(cli, "status", "new")
    assert (status["is_pilot"], status["samples"], status["forecast"]) == (True, 4, pilot["forecast"])
    words = cli("status", "new").words
    assert words.startswith("the last run was a pilot of 4 rows, about which the numbers are; ")
    assert "Forecast for all 6 rows, from 4 of them" in words
    assert cli("run", "rt.yaml", "--run-dir", "new").code == 0
    (status,) = printed(cli, "status", "new")
    assert (status["is_pilot"], status["samples"], status["forecast"]) == (False, 6, None)
    assert status["requests"] == [{"state": "answered", "kind": None, "count": 12}]
    assert "give one of them" in cli("status", "new", "--json", "--watch").error()


def test_doctor(cli: Cli) -> None:
    """Exit code 2 comes with an object."""
    (found,) = printed(cli, "doctor", "rt.yaml")
    assert found["findings"]
    (found,) = printed(cli, "doctor", "none.yaml", code=2)
    assert [one["mark"] for one in found["findings"]].count("WRONG") == 1


def test_plugins(cli: Cli) -> None:
    """Parts without their options in the list, and with them one by one."""
    (plugins,) = printed(cli, "plugins", "list")
    assert "ifd" in {one["name"] for one in plugins["built_in"] if one["kind"] == "metric"}
    assert plugins["parts"] is None
    (plugins,) = printed(cli, "plugins", "list", "--load")
    assert {one["name"] for one in plugins["parts"]} == {"fake", "scripted", "witness", "clumsy", "clinging"}
    (top,) = printed(cli, "plugins", "show", "top")
    assert [(one["kind"], one["plugin"]) for one in top["parts"]] == [("selector", "builtin")]
    assert {one["name"] for one in top["parts"][0]["options"]} >= {"metric", "fraction"}


if __name__ == "__main__":
    for shown in classes():
        print(f"### `{shown.__name__}`\n\n{table(shown)}\n")

"""A package that brings a command: built from public names only, it reads, scores, prints and fails as ours do."""

from __future__ import annotations

import ast
import json
import re

import pytest

from tests.helpers import REPO, Cli, install, json_lines, rows, the_error, write_json
from tests.test_house import _is_public, _own

CODE = (REPO / "docs/examples/command.py").read_text("utf-8")


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line, in a directory with six samples, with the package of the example installed."""
    site = tmp_path / "site"
    install(site, "rt-hardest", {"rt_hardest": CODE}, {"hardest": "rt_hardest:hardest"}, group="rt_framework.commands")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(6))
    return Cli(monkeypatch, capfd)


def test_it_imports_public_names_only():
    """And one of them is the face for commands."""
    imported = _own(ast.parse(CODE))
    assert "cli.options" in imported
    assert [name for name in imported if not _is_public(name)] == []


def test_its_help_has_the_shared_options_and_those_of_the_student_it_names(cli):
    """As the help of a built-in command has them."""
    assert "hardest from rt-hardest" in cli("--help", plugin=False).words
    plain = cli("hardest", "--help", plugin=False)
    for option in ("--format", "--shape", "--column", "--limit", "--overwrite", "--reporter", "--top"):
        assert option in plain.out
    assert "--student-dtype" not in plain.out
    assert "--student-dtype" in cli("hardest", "--student", "hf:none", "--help", plugin=False).out


def test_it_scores_and_prints_the_highest_scores_first(cli, tmp_path):
    """The numbers are those of the file that it writes."""
    done = cli("hardest", "data.json", "--student", "fake", "--top", "2", "--out", "s.jsonl")
    assert (done.code, done.err) == (0, "")
    losses = {line["row"]: line["metrics"]["loss"] for line in json_lines(tmp_path / "s.jsonl")}
    expected = sorted(losses, key=losses.get, reverse=True)[:2]
    printed = re.findall(r"^row (\d+): loss ([\d.]+)$", done.out, re.MULTILINE)
    assert printed == [(str(row), f"{losses[row]:.4f}") for row in expected]
    limited = cli("hardest", "data.json", "--student", "fake", "--limit", "3", "--out", "t.jsonl")
    assert len(re.findall(r"^row ", limited.out, re.MULTILINE)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bad.jsonl", "--student", "fake"), r"bad\.jsonl.*\b2\b"),
        (("none.json", "--student", "fake"), r"none\.json: no such file"),
        (("data.json", "--student", "fak"), "unknown student 'fak'"),
        (("data.json", "--student", "fake", "--metric", "lss"), "unknown metric 'lss'"),
        (("data.json", "--student", "fake", "--top", "0"), r"--top.*See 'rt hardest --help'"),
        (("data.json", "--student", "fake", "--reporter", "consol"), "unknown reporter 'consol'"),
    ],
)
def test_bad_input_is_one_line_with_code_2(cli, tmp_path, arguments, message):
    """Nothing is written then."""
    lines = [json.dumps(rows(2)[0]), "{broken"]
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    done = cli("hardest", *arguments, "--out", "s.jsonl")
    assert done.code == 2
    assert re.search(message, the_error(done))
    assert not (tmp_path / "s.jsonl").exists()


def test_what_it_returns_is_the_exit_code(cli, tmp_path):
    """1 if some samples have no score, and 2, with the file that has the reasons, if none has."""
    empty = {"instruction": "Say nothing.", "input": "", "output": ""}
    write_json(tmp_path / "some.json", [*rows(2), empty])
    some = cli("hardest", "some.json", "--student", "fake", "--out", "s.jsonl")
    assert (some.code, len(re.findall(r"^row ", some.out, re.MULTILINE))) == (1, 2)
    write_json(tmp_path / "all.json", [empty])
    none = cli("hardest", "all.json", "--student", "fake", "--out", "t.jsonl")
    assert none.code == 2
    assert the_error(none) == "all.json: no sample has a score by 'loss'; t.jsonl gives the reasons"


def test_it_overwrites_no_file_of_the_user(cli, tmp_path):
    """Unless told to."""
    (tmp_path / "s.jsonl").write_text("mine")
    assert cli("hardest", "data.json", "--student", "fake", "--out", "s.jsonl").code == 2
    assert (tmp_path / "s.jsonl").read_text() == "mine"
    assert cli("hardest", "data.json", "--student", "fake", "--out", "s.jsonl", "--overwrite").code == 0

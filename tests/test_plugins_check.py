"""``rt plugins check``: the contracts without pytest, for what a plugin offers."""

from __future__ import annotations

import pytest

from tests.helpers import REPO, Cli, the_error

BROKEN = """
from attrs import frozen

from rt_framework import hookimpl
from rt_framework.testing import FakeStudent
from ten_lines import Gain

class Sideways(Gain):
    direction = "up"

@frozen
class Size:
    width: int

class Sized(Gain):
    def __init__(self, settings):
        settings.width + 1

class Mine(FakeStudent):
    fingerprint = "mine"

@hookimpl
def rt_register_metrics(register):
    register("sideways", "broken_ones:Sideways", help="no known direction")
    register("sized", "broken_ones:Sized", help="needs a width", settings=Size)

@hookimpl
def rt_register_students(register):
    register("sideways", "broken_ones:Mine", help="a student of the same name")
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capfd):
    """Calls ``rt plugins check`` with a file that offers two metrics and a student."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(REPO / "docs/examples"))
    (tmp_path / "broken_ones.py").write_text(BROKEN)
    cli = Cli(monkeypatch, capfd)
    return lambda *words: cli("-p", "./broken_ones.py", "plugins", "check", *words, plugin=False)


def test_a_check_that_fails_is_shown_with_its_reason(check):
    """In a table, by name, with code 1; the other checks are shown too."""
    done = check("sideways", "--only", "metric")
    assert done.code == 1
    assert "direction is known failed expected direction higher, lower or none, found 'up'" in done.words
    assert "reduce is pure ok" in done.words
    assert done.words.endswith("1 checks failed, 0 of 1 parts were not checked")


def test_one_kind_alone(check):
    """A student called like a broken metric is in order."""
    done = check("sideways", "--only", "student")
    assert done.code == 0, done
    assert "metric sideways" not in done.words
    assert "student sideways" in done.words


def test_what_needs_options_is_named_and_no_success(check):
    """Until they are given, and are right."""
    done = check("sized")
    assert (done.code, "metric sized: not checked: it needs width: give --options" in done.words) == (1, True)
    assert check("sized", "--options", "{width: 3}").code == 0
    wrong = check("sized", "--options", "{width: wide}")
    assert wrong.code == 1
    assert "metric sized: not checked: " in wrong.words and "width" in wrong.words


def test_a_whole_plugin(check):
    """Everything that it offers, each by its own contract."""
    done = check("broken_ones")
    assert done.code == 1
    assert all(title in done.words for title in ("student sideways", "metric sideways", "metric sized: not checked"))
    assert done.words.endswith("1 checks failed, 1 of 3 parts were not checked")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sidways"], "no plugin or part is called 'sidways'. Did you mean 'sideways'?"),
        (["sized", "--only", "student"], "--only student: no part of this kind was found, only metric"),
        (["sized", "--only", "metrics"], "Invalid value for '--only': 'metrics' is not one of"),
    ],
)
def test_what_cannot_be_checked_is_one_line(check, words, message):
    """With the way out."""
    assert the_error(check(*words)).startswith(message)

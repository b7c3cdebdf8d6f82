"""Settings of the plugins that a command names are options of that command, a stranger's like a built-in one's."""

from __future__ import annotations

import pytest

from tests.helpers import Cli, install, json_lines, rows, the_error, write_json

STRANGER = """
from typing import Literal
from attrs import field, frozen
from rt_framework import hookimpl, Verdict

@frozen
class FirstSettings:
    \"\"\"Options of first.\"\"\"
    rows: int
    \"\"\"How many are kept.\"\"\"
    side: Literal["start", "end"] = "start"
    \"\"\"Which end of the data.\"\"\"
    mood: Literal["calm", "wild"] | None = None
    note: str | None = None
    shares: dict[str, float] = field(factory=dict)

class First:
    needs = ()
    def __init__(self, settings):
        self.settings = settings
    def select(self, rows):
        kept = range(self.settings.rows) if self.settings.side == "start" else range(len(rows))[-self.settings.rows :]
        return [Verdict(at in kept, self.settings.note or "first") for at in range(len(rows))]

@hookimpl
def rt_register_selectors(register):
    register("first", "stranger:First", help="one end of the data", settings=FirstSettings)
"""


@pytest.fixture
def select(monkeypatch, capfd, tmp_path):
    """``rt select`` over six rows that are scored; gives the rows that it keeps, or how it ended."""
    site = tmp_path / "site"
    install(site, "rt-stranger", {"stranger": STRANGER}, {"stranger": "stranger"})
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(6))
    rt = Cli(monkeypatch, capfd)
    assert rt("score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl").code == 0

    def call(*arguments: str):
        done = rt("select", "data.json", "--scores", "s.jsonl", "--out", "o.jsonl", "--overwrite", *arguments)
        return [line["topic"] for line in json_lines(tmp_path / "o.jsonl")] if done.code == 0 and done.out else done

    call.rt = rt
    return call


def test_options_say_what_yaml_says(select):
    """A built-in selector by its options, by YAML, and by both, where options win."""
    yaml = select("--by", "{top: {metric: ifd, count: 2}}")
    assert len(yaml) == 2
    assert select("--by", "top", "--by-metric", "ifd", "--by-count", "2") == yaml
    assert select("--by=top:ifd", "--by-count=2") == yaml
    assert select("--by", "{top: {metric: ifd, count: 5}}", "--by-count", "2") == yaml


def test_the_last_plugin_named_has_the_options(select):
    """In whichever way each was given, as for any option."""
    assert len(select("--by", "top:ifd", "--by=first", "--by-rows", "3")) == 3
    assert len(select("--by=first", "--by", "top:ifd", "--by-count", "3")) == 3


def test_a_plugin_that_is_there_unless_another_is_named_has_options_too(select):
    """The reflection of rt reflect need not be named for one of its options."""
    command = ("reflect", "data.json", "--teacher", "scripted", "--out", "r.json", "--reflection-max-tokens")
    assert select.rt(*command, "1024").code == 0
    assert select.rt(*command[:-1]).code == 0
    assert "was started with other settings" in the_error(select.rt(*command, "77"))
    assert the_error(select.rt(*command, "many")).endswith("max_tokens: expected a whole number, not 'many'")


def test_the_doctors_student_has_options_too(select):
    """As that of rt score."""
    assert "--student-device" in select.rt("doctor", "--student", "hf:x", "--help").out


ODD = """
from __future__ import annotations
from attrs import field, frozen
from rt_framework import Verdict, hookimpl

@frozen
class Doubled:
    rows: int = 1
    twice: int = field()
    made: int = field(init=False, default=0)

    @twice.default
    def _twice(self):
        return 2 * self.rows

@frozen
class Unclear:
    rows: NoSuchType = 1

class Some:
    needs = ()
    def __init__(self, settings):
        self.settings = settings
    def select(self, rows):
        return [Verdict(at < self.settings.twice, "some") for at in range(len(rows))]

@hookimpl
def rt_register_selectors(register):
    register("doubled", "odd_settings:Some", settings=Doubled)
    register("unclear", "odd_settings:Some", settings=Unclear)
"""


def test_a_default_that_is_made_of_other_options(select, tmp_path):
    """Is said so, and is made when the plugin is; what cannot be given is no option."""
    install(tmp_path / "site", "rt-odd", {"odd_settings": ODD}, {"odd": "odd_settings"})
    assert len(select("--by", "doubled", "--by-rows", "2")) == 4
    help_ = " ".join(select.rt("select", "--by", "doubled", "--help").out.split())
    assert "--by-twice INTEGER [default: by the other options]" in help_
    assert "--by-made" not in help_


def test_settings_that_cannot_be_read_name_the_plugin(select, tmp_path):
    """The errors of ``rt plugins show`` and ``rt select`` name it; another plugin's selector still works."""
    install(tmp_path / "site", "rt-odd", {"odd_settings": ODD}, {"odd": "odd_settings"})
    said = "selector 'unclear' of plugin 'odd' has settings that cannot be read: NameError: name 'NoSuchType'"
    assert the_error(select.rt("plugins", "show", "unclear")).startswith(said)
    assert the_error(select("--by", "unclear:1")).startswith(said)
    assert select("--by", "first:1") == ["physics 1"]


def test_a_strangers_settings_are_options_too(select):
    """With its types, its words and its help."""
    assert select("--by", "first:2", "--by-side", "end") == ["physics 5", "physics 6"]
    help_ = " ".join(select.rt("select", "--by", "first", "--help").out.split())
    assert "--by-rows INTEGER How many are kept." in help_
    assert "--by-side [start|end] Which end of the data. [default: start]" in help_
    assert "--by-mood [calm|wild] " in help_
    assert "--by-note TEXT --by-shares YAML [default: {}]" in help_
    assert select("--by", "first", "--by-rows", "1", "--by-mood", "calm", "--by-shares", "{a: 0.5}") == ["physics 1"]
    assert "Invalid value for '--by-mood': 'sad'" in the_error(select("--by", "first:1", "--by-mood", "sad"))


def test_text_is_taken_word_for_word(select):
    """Values such as ``null`` and ``007`` stay text, although YAML would read them as nothing and as a number."""
    select("--by", "first:1", "--by-note", "null", "--dropped", "d.jsonl")
    assert select("--by", "first", "--by-rows", "1", "--by-note", "007") == ["physics 1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "first"], "selector 'first': key 'rows' is missing"),
        (["--by", "first", "--by-rows", "many"], "selector 'first'.rows: expected a whole number, not 'many'"),
        (["--by", "first:1", "--by-side", "middle"], "Invalid value for '--by-side': 'middle' is not one of 'start', "),
        (["--by", "frist", "--by-rows", "1"], "unknown selector 'frist'. Did you mean 'first'?"),
        (["--by", "{top: [ifd]}", "--by-count", "1"], "selector 'top'.metric: expected text, not a list"),
        (["--by"], "Option '--by' requires an argument."),
        (["--by", "top:ifd", "--by-rows", "1"], "No such option '--by-rows'."),
        (
            ["--by", "first:1", "--by-note", "sk-abcdefghijklmnop0123456789"],
            "selector 'first'.note: API keys come only",
        ),
    ],
)
def test_bad_options_are_one_line(select, arguments, message):
    """As in a config."""
    assert the_error(select(*arguments)).startswith(message)


def test_a_shell_that_completes_words_is_not_stopped():
    """It parses what is there before any host is made."""
    from click.shell_completion import ShellComplete

    from rt_framework.cli import rt

    found = ShellComplete(rt, {}, "rt", "_RT_COMPLETE").get_completions(["select", "--by", "top"], "--dr")
    assert [one.value for one in found] == ["--dropped"]


def test_help_without_a_choice_loads_no_plugin(monkeypatch, capfd):
    """And so stays instant."""
    monkeypatch.setattr("rt_framework.plugin.host.Host.find", lambda *_: pytest.fail("looked up"))
    for command in ("score", "select", "reflect"):
        assert Cli(monkeypatch, capfd)(command, "--help", plugin=False).code == 0

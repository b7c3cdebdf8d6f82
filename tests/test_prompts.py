"""Prompt files: what a file asks, what is read of the answer, and what is refused with the line and the way out."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.prompt import PromptReflection
from rt_framework.builtin.reflections.prompt_files import packaged_prompt
from rt_framework.builtin.reflections.response import ResponseReflection
from rt_framework.builtin.reflections.settings import PromptSettings, ReflectionSettings
from rt_framework.errors import ConfigError
from rt_framework.kit.fences import fenced, token_of
from rt_framework.kit.user_files import MOST_BYTES
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Pair, Range, Reply, Request, Rewrite, Turn, Unparsed, digest, keyed
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.helpers import Cli, rows, the_error, write_json
from tests.run_helpers import go, job, json_lines

PLAIN = Pair("Name a gas.", response="Helium is a noble gas.")
PAIRS = {
    "plain": PLAIN,
    "input": evolve(PLAIN, input="noble ones only"),
    "system": evolve(PLAIN, system="Be terse."),
    "empty system": evolve(PLAIN, system=""),
    "history": evolve(PLAIN, history=(Turn("user", "Hello."), Turn("assistant", "Hi there."))),
    "everything": Pair(
        "Name one.\n\n\nSlowly.",
        "a\n\nb",
        "c\r\nd {{ response }} {attempt}",
        "Be terse.\n",
        (Turn("user", "{{ input }}"), Turn("assistant", "")),
    ),
    "nothing": Pair("", "", ""),
    "braces": Pair("{{ response }}", "{{ history }}", "--- user ---\n---\n{{ instruction }}"),
}
REQUESTS = {
    "instruction, plain": "f4b8229792a59794ad5dad1c868163bd",
    "instruction, input": "989cbe82a90098e7a2b20e7fd9d35c22",
    "instruction, system": "40064f8c523d97d7bf58c1f2af49e355",
    "instruction, empty system": "aa843c76639e5bfd7bd6baa00feb5efc",
    "instruction, history": "c9f982c7e02f25224fc22305be7a142b",
    "instruction, everything": "ae35bea58b2ed94ea59b70f668ea23d4",
    "instruction, nothing": "0c8f36cab3718589ceedff916b355e61",
    "instruction, braces": "d8e3ed3ef01d2c0d2ca075e1d89c376d",
    "response, plain": "e1fe3869f810ebe5cac3bd9af66f2aad",
    "response, input": "75fcdff13a68333f64f40b6f5db9ff8b",
    "response, system": "f4fb1a4a66c24828a6d3bec9498fbe19",
    "response, empty system": "69c54ca3d6026dbdc4203bd15f81297f",
    "response, history": "60503ef8a8ce7e8789f60442c781eafe",
    "response, everything": "f46defe0a44e0df7cd5f704bcc546c93",
    "response, nothing": "f7331cd98efd8275b5c4697f1a43c11c",
    "response, braces": "acdcd58e5b48e31f1afa8ba19e6aa6ac",
}
"""Digests of six requests each, taken when the built-in prompts were constants of the program."""

FILE = """\
---
# A comment: {{ nothing }}
parts:
  critique: your critique
  better:
    meaning: the better answer
    rewrites: response
temperature: 0.25
max_tokens: 77
---
You review answers.

--- user ---
Before it:
{{ system }}
{{ history }}

The question:

{{ instruction }}
{{ input }}

def example():


    return 2

The answer:
{{ response }}

Be brief.
"""


def prompt(path: Path, text: str = FILE, **options: object) -> PromptReflection:
    """The reflection of a prompt file with this text."""
    path.write_text(text, "utf-8")
    return PromptReflection(PromptSettings(str(path), **options))


def answered(reflection: PromptReflection, pair: Pair, parts: dict[str, object], structured: bool = True):
    """Return the reflection's result for an answer with these parts, as JSON or between markers."""
    token = token_of(pair)
    marked = "".join(f"[[{name} {token}]]\n{text}\n" for name, text in parts.items()) + f"[[end {token}]]"
    text = json.dumps(parts) if structured else marked
    return reflection.parse(pair, reflection.render(pair, 0, structured), Reply(text))


BOTH = pytest.mark.parametrize("structured", [True, False], ids=["json", "markers"])


# --- requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REQUESTS)
def test_the_built_in_reflections_ask_to_the_byte_what_they_asked_before_they_were_files(name):
    """Every answer that was paid for is found under its request."""
    reflection, pair = name.split(", ")
    kind = {"instruction": InstructionReflection, "response": ResponseReflection}[reflection]
    requests = [
        keyed(kind(ReflectionSettings()).render(PAIRS[pair], index, structured))
        for index in (0, 1, 2)
        for structured in (True, False)
    ]
    assert digest(requests) == REQUESTS[name]


def test_a_packaged_prompt_is_read_once():
    """A pipeline builds its reflections several times."""
    assert packaged_prompt("response") is packaged_prompt("response")


def test_a_field_stands_for_a_text_of_the_sample_between_fences(tmp_path):
    """Each in a paragraph of its own; the author's words around them stay as they are, blank lines included."""
    pair = PAIRS["everything"]
    token = token_of(pair)
    system, user = prompt(tmp_path / "p.md").render(pair, 0, True).messages
    assert (system.role, system.content) == ("system", "You review answers.")
    shown = [
        "Before it:",
        fenced("system", token, pair.system),
        fenced("user", token, "{{ input }}"),
        fenced("assistant", token, ""),
        "The question:",
        fenced("instruction", token, pair.instruction),
        fenced("input", token, pair.input),
        "def example():\n\n\n    return 2",
        "The answer:",
        fenced("response", token, pair.response),
        "Be brief.",
    ]
    assert user.content.startswith("\n\n".join(shown) + "\n\nAnswer with one JSON object and nothing else")


def test_a_paragraph_of_fields_without_a_text_is_left_out(tmp_path):
    """So no sentence announces a conversation or an input that there is not."""
    user = prompt(tmp_path / "p.md").render(PLAIN, 0, True).messages[1].content
    assert user.startswith("The question:\n\n<<<instruction ")
    assert "Before it" not in user and "<<<input" not in user
    with_system = prompt(tmp_path / "p.md").render(PAIRS["system"], 0, True).messages[1].content
    assert with_system.startswith("Before it:\n\n<<<system ")


def test_the_file_says_how_an_answer_is_drawn_and_an_option_says_it_over_it(tmp_path):
    """As for the other reflections."""
    file = tmp_path / "p.md"
    own = [prompt(file).render(PLAIN, index, True).sampling for index in (0, 1)]
    assert [(one.temperature, one.max_tokens, one.seed) for one in own] == [(0.25, 77, None), (0.7, 77, 1)]
    over = prompt(file, temperature=0.0, retry_temperature=0.5, max_tokens=9)
    given = [over.render(PLAIN, index, True).sampling for index in (0, 1)]
    assert [(one.temperature, one.max_tokens) for one in given] == [(0.0, 9), (0.5, 9)]
    as_default = prompt(file, FILE.replace("temperature: 0.25", "temperature: 0").replace("max_tokens: 77\n", ""))
    assert as_default.render(PLAIN, 0, True).sampling == packaged_sampling()


def packaged_sampling():
    """The sampling of a built-in reflection, whose temperature is a float: an int would be another key."""
    return ResponseReflection(ReflectionSettings()).render(PLAIN, 0, True).sampling


def test_the_words_of_the_form_can_be_those_of_another_language(tmp_path):
    """Only the attempt is a field of theirs; other braces are text."""
    words = "wording:\n  json: Antworte mit JSON.\n  repair: Versuch {attempt}, {x} und {0}.\n---\nYou"
    reflection = prompt(tmp_path / "p.md", FILE.replace("---\nYou", words))
    assert "Antworte mit JSON.\n" in reflection.render(PLAIN, 0, True).messages[1].content
    assert reflection.render(PLAIN, 1, True).messages[1].content.endswith("\n\nVersuch 2, {x} und {0}.")
    assert "Copy the lines in double brackets exactly" in reflection.render(PLAIN, 0, False).messages[1].content


@pytest.mark.parametrize("change", [lambda raw: b"\xef\xbb\xbf" + raw, lambda raw: raw.replace(b"\n", b"\r\n")])
def test_the_same_text_from_another_editor_is_the_same_question(change, tmp_path):
    """A byte order mark and the line ends of Windows are not text of the prompt."""
    same = prompt(tmp_path / "p.md").render(PLAIN, 0, True)
    (tmp_path / "q.md").write_bytes(change(FILE.encode()))
    assert PromptReflection(PromptSettings(str(tmp_path / "q.md"))).render(PLAIN, 0, True) == same


# --- answers ----------------------------------------------------------------------------------


@BOTH
def test_a_part_replaces_the_text_that_the_file_says(structured, tmp_path):
    """The other parts are read and leave the pair as it is."""
    answer = {"critique": "Too short.", "better": "Helium, a noble gas."}
    reflection = prompt(tmp_path / "p.md")
    assert reflection.rewrites == ("response",)
    assert answered(reflection, PAIRS["everything"], answer, structured) == evolve(
        PAIRS["everything"], response="Helium, a noble gas."
    )


@BOTH
def test_a_new_instruction_drops_the_old_input_unless_there_is_a_new_one(structured, tmp_path):
    """And a new input alone keeps the instruction; it counts as a change."""
    part = "{meaning: it, rewrites: "
    pair = PAIRS["input"]
    one = prompt(tmp_path / "1.md", FILE.replace("rewrites: response", "rewrites: instruction"))
    answer = {"critique": "Too short.", "better": "Name a metal."}
    assert answered(one, pair, answer, structured) == evolve(pair, instruction="Name a metal.", input="")
    two = prompt(tmp_path / "2.md", FILE.replace("rewrites: response", "rewrites: input"))
    assert answered(two, pair, answer, structured) == evolve(pair, input="Name a metal.")
    both = FILE.replace("rewrites: response", "rewrites: instruction").replace(
        "temperature: 0.25", f"  more: {part}input}}"
    )
    three = prompt(tmp_path / "3.md", both)
    expected = evolve(pair, instruction="Name a metal.", input="heavy")
    assert answered(three, pair, answer | {"more": "heavy"}, structured) == expected
    assert one.rewrites == two.rewrites == three.rewrites == ("instruction",)


@BOTH
def test_a_part_may_be_a_number(structured, tmp_path):
    """One of those of the file, which a structured answer cannot miss."""
    text = FILE.replace("temperature: 0.25", "  mark: {meaning: a mark of the old answer, numbers: [1, 2, 3]}")
    reflection = prompt(tmp_path / "p.md", text)
    schema = reflection.render(PLAIN, 0, True).schema
    assert schema["properties"]["mark"] == {"type": "number", "enum": [1, 2, 3]}
    asked = reflection.render(PLAIN, 0, structured).messages[1].content
    assert "a mark of the old answer (1, 2, 3)" in asked
    assert ("or one of the numbers in brackets after its key. Its keys" in asked) is structured
    answer = {"critique": "Too short.", "better": "Helium.", "mark": 2}
    marked = Rewrite(evolve(PLAIN, response="Helium."), {"mark": 2})
    assert answered(reflection, PLAIN, answer, structured) == marked
    assert reflection.provides == {"mark": Range(at_least=1, at_most=3)}
    assert answered(reflection, PLAIN, answer | {"mark": 9}, structured).kind == "format"


@BOTH
@pytest.mark.parametrize(
    ("better", "kind"),
    [
        ("Helium is a noble gas.", "format"),
        ("Be brief.", None),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("```python\nprint(", "truncated"),
        ("the better answer", "format"),
        ("Explain with one example why it is so, please.", "format"),
        ("<<<response 0a1b2c3d>>>", "format"),
    ],
)
def test_the_guards_of_the_built_in_reflections_are_there(better, kind, structured, tmp_path):
    """An unchanged text, a refusal, a cut-off text, an echo of the file's own words or of a fence is not used."""
    text = FILE.replace("Be brief.", "Be brief. Explain with one example why it is so, please.")
    read = answered(prompt(tmp_path / "p.md", text), PLAIN, {"critique": "c.", "better": better}, structured)
    assert read.kind == kind if kind else read == evolve(PLAIN, response=better)
    assert isinstance(read, Unparsed) == (kind is not None)


# --- files that cannot be used ----------------------------------------------------------------

BAD = {
    "no front matter": (("---\n# A", "# A"), 1, "the first line must be '---', above the front matter; 'rt init"),
    "front matter without end": (("77\n---\n", "77\n"), 1, "the front matter has no end: put a line '---' below it"),
    "no user text": (("--- user ---", ""), 10, "there is no user text: put a line '--- user ---' between"),
    "two user texts": (("Be brief.", "--- User ---"), 31, "a second line '--- user ---': a prompt has one"),
    "no system text": (("You review answers.", ""), 10, "the system text is empty: write below this line what"),
    "unknown field": (("{{ input }}", "{{ respnse }}"), 21, "unknown field '{{ respnse }}'. Did you mean 'response'?"),
    "field of another case": (("{{ input }}", "{{Input}}"), 21, "unknown field '{{ Input }}'. Did you mean 'input'?"),
    "unknown field in a line": (("Be brief.", "Be {{ x }}."), 31, "unknown field '{{ x }}'. Known: instruction, input"),
    "field with a point": (("{{ input }}", "{{ sample.input }}"), 21, "unknown field '{{ sample.input }}'."),
    "field in a line": (("The question:", "Is {{ input }} it?"), 18, "a field stands on a line of its own, written as"),
    "a brace too few": (("{{ input }}", "{{ input }"), 21, "a field stands on a line of its own, written as {{ input"),
    "a brace too few before": (("{{ input }}", "{ input }}"), 21, "a field stands on a line of its own, written as {{"),
    "open braces": (("{{ input }}", "{{ input"), 21, "a field stands on a line of its own, written as {{ response }}"),
    "field in the system text": (("You review answers.", "{{ input }}"), 11, "the field 'input' stands above the user"),
    "field in a meaning": (("your critique", '"{{ input }}"'), 4, "a field stands on a line of its own"),
    "no field at all": ((FILE[FILE.index("Before") :], "Be brief."), 13, "the user text shows nothing of the sample"),
    "unknown key": (
        ("max_tokens: 77", "max_token: 77"),
        9,
        "unknown key 'max_token' in the front matter. Did you mean",
    ),
    "no parts": ((FILE[4 : FILE.index("temp")], ""), 1, "name the parts of the answer, each with what it holds"),
    "parts as a list": ((FILE[FILE.index("  critique") : FILE.index("temp")], "  - a\n"), 3, "name the parts of the"),
    "front matter as a list": (
        (FILE[4 : FILE.index("---\nYou")], "- a\n"),
        1,
        "the front matter must be a mapping with",
    ),
    "part named twice": (
        ("  better:", "  critique:"),
        None,
        "not valid YAML: key 'critique' occurs twice at line 5, c",
    ),
    "part of a wrong name": (
        ("critique:", "Critique2:"),
        4,
        "'Critique2' cannot name a part: use small letters a to z",
    ),
    "part named end": (("critique:", "end:"), 4, "'end' cannot name a part"),
    "part that YAML reads otherwise": (("critique:", "no:"), 3, "False cannot name a part: use small letters a to z"),
    "part without a meaning": (("    meaning: the better answer\n", ""), 5, "'meaning' of better must be a text"),
    "meaning of two lines": (("your critique", '"a\\nb"'), 4, "the meaning of a part is one line"),
    "part as a list": (("your critique", "[a]"), 4, "'critique' must be a mapping with the keys meaning, rewrites, n"),
    "unknown key of a part": (
        ("    rewrites:", "    rewrite:"),
        7,
        "unknown key 'rewrite' in 'better'. Did you mean 'rew",
    ),
    "rewrites nothing known": (
        ("rewrites: response", "rewrites: respons"),
        7,
        "a part rewrites instruction, input or res",
    ),
    "rewrites a list": (
        ("rewrites: response", "rewrites: [a]"),
        7,
        "a part rewrites instruction, input or response, not [",
    ),
    "rewrites nothing": (
        ("    rewrites: response\n", ""),
        3,
        "no part rewrites anything: give one of them 'rewrites:'",
    ),
    "two rewrite one text": (
        ("your critique", "{meaning: m, rewrites: response}"),
        5,
        "two parts rewrite response: critique and better; keep one",
    ),
    "a number that rewrites": (
        ("rewrites: response", "rewrites: response\n    numbers: [1]"),
        7,
        "a number cannot rewr",
    ),
    "numbers that are none": (
        ("your critique", "{meaning: m, numbers: [a]}"),
        4,
        "each of the numbers of critique must",
    ),
    "numbers without end": (
        ("your critique", "{meaning: m, numbers: [.inf]}"),
        4,
        "each of the numbers of critique must",
    ),
    "no numbers": (("your critique", "{meaning: m, numbers: []}"), 4, "'numbers' is a list of the numbers to choose"),
    "negative temperature": (("0.25", "-1"), 8, "temperature must be at least 0, not -1"),
    "temperature in words": (("0.25", "hot"), 8, "temperature must be a number, not str"),
    "temperature that is none": (("0.25", ".nan"), 8, "temperature must be a finite number"),
    "half a token": (("77", "7.5"), 9, "max_tokens must be a whole number, not 7.5"),
    "true tokens": (("77", "true"), 9, "max_tokens must be a whole number, not True"),
    "no tokens": (("77", "0"), 9, "max_tokens must be at least 1, not 0"),
    "unknown wording": (
        ("max_tokens: 77", "wording: {jsn: a}"),
        9,
        "unknown key 'jsn' in 'wording'. Did you mean 'json'?",
    ),
    "empty wording": (
        ("max_tokens: 77", "wording: {json: ' '}"),
        9,
        "'json' of wording must be a text that is not empty",
    ),
    "wording as a text": (
        ("max_tokens: 77", "wording: deutsch"),
        9,
        "'wording' must be a mapping with the keys json, mark",
    ),
    "bad YAML": (("your critique", "[a"), None, "not valid YAML: "),
    "an alias": (
        ("your critique", "&a x\n  second: *a"),
        None,
        "not valid YAML: YAML aliases are not allowed at line 5",
    ),
}
"""A change of a good file, the line that is named (``None``: after the message), and the beginning of the message."""


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(name, tmp_path, monkeypatch):
    """In one line, with the file, and the nearest known name."""
    monkeypatch.chdir(tmp_path)
    (old, new), line, message = BAD[name]
    assert FILE.count(old) == 1 or name == "unknown key of a part"
    with pytest.raises(ConfigError) as refusal:
        prompt(Path("p.md"), FILE.replace(old, new))
    place = "p.md: " if line is None else f"p.md, line {line}: "
    assert str(refusal.value).startswith(f"{place}{message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["{{1, 2}, {3, 4}}", "{{}}", 'f"{response}"', '{"a": {"b": 1}}', "{ {x} }", "{{ 1 }}"])
def test_braces_of_code_are_text(text, tmp_path):
    """A prompt for code data may show code."""
    assert text in prompt(tmp_path / "p.md", FILE.replace("Be brief.", text)).render(PLAIN, 0, True).messages[1].content


def test_a_file_that_is_no_prompt_is_one_line(tmp_path, monkeypatch):
    """A missing file, a folder, another encoding, a file of 100 MB: each with the way out, and none is read whole."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("utf16.md").write_bytes(FILE.encode("utf-16"))
    Path("utf16le.md").write_bytes(FILE.encode("utf-16-le"))
    Path("latin.md").write_bytes("---\nparts: {a: für}".encode("latin-1"))
    with Path("large.md").open("wb") as file:
        file.truncate(100_000_000)
    for name, message in {
        "none.md": "no such file; 'rt init --prompt NAME' writes a commented one to start from",
        "folder": "cannot be read: Is a directory",
        "a\0b": "cannot be read: embedded null byte",
        "x" * 300: "cannot be read: File name too long",
        "utf16.md": "not UTF-8 text (invalid start byte); save the prompt as UTF-8",
        "utf16le.md": "not UTF-8 text (it has NUL characters); save the prompt as UTF-8",
        "latin.md": "not UTF-8 text (invalid start byte); save the prompt as UTF-8",
        "large.md": f"larger than {MOST_BYTES} bytes; this is no prompt",
        "/dev/zero": f"larger than {MOST_BYTES} bytes; this is no prompt",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(message)):
            PromptReflection(PromptSettings(name))


# --- the command line -------------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line in a folder with data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    write_json(tmp_path / "data.json", rows(6))
    return Cli(monkeypatch, capfd)


def test_init_writes_a_prompt_that_can_be_asked_at_once(cli):
    """Commented, with an ending where the name has none; the config only if it is asked for; nothing is replaced."""
    done = cli("init", "--prompt", "mine", plugin=False)
    assert (done.code, sorted(path.name for path in Path().iterdir())) == (0, ["data.json", "mine.md"])
    assert done.out == (
        "wrote mine.md; edit it, then: rt reflect DATA --prompt mine.md --show; "
        "in a config it is: reflect: {prompt: mine.md}\n"
    )
    Path("mine.md").write_text("changed")
    for name in ("mine", "mine.md"):
        again = cli("init", "--prompt", name, plugin=False)
        assert the_error(again) == "mine.md: exists already; name another place with --prompt"
    assert Path("mine.md").read_text() == "changed"
    assert cli("init", "data.json", "--prompt", "other.txt", plugin=False).code == 0
    assert 'reflect: {prompt: "other.txt"}' in Path("rt.yaml").read_text()
    assert 'path: "data.json"' in Path("rt.yaml").read_text()
    assert "ok rt.yaml 6 stages" in cli("doctor", "rt.yaml", plugin=False).words  # its model and its key are elsewhere
    assert cli("run", "rt.yaml", "--set", "teacher=scripted", "--set", "student=fake").code == 0
    kept = json.loads(Path("runs/rt/kept.json").read_text())
    assert any(row["output"].startswith("The answer to prompt ") for row in kept)


def test_init_says_of_no_file_that_it_wrote_it_if_one_of_two_cannot_be_written(cli):
    """Neither is written then."""
    Path("rt.yaml").write_text("mine")
    refused = cli("init", "data.json", "--prompt", "mine", plugin=False)
    assert the_error(refused) == "rt.yaml: exists already; name another place with --out"
    assert not Path("mine.md").exists() and Path("rt.yaml").read_text() == "mine"


def test_reflect_shows_what_would_be_asked(cli):
    """Whole, about rows that are drawn at random, without a teacher, and nothing is sent or written."""
    Path("mine.md").write_text(FILE)
    before = sorted(Path().iterdir())
    done = cli("reflect", "data.json", "--prompt", "mine.md", "-n", "2", "--show", plugin=False)
    assert done.code == 0 and sorted(Path().iterdir()) == before
    drawn = [
        int(number) for number in re.findall(r"^--- prompt \d: row (\d), reflection prompt$", done.out, re.MULTILINE)
    ]
    assert len(drawn) == 2
    for number in drawn:
        pair = Pair(rows(6)[number]["instruction"], rows(6)[number]["input"], rows(6)[number]["output"])
        system, user = prompt(Path("mine.md")).render(pair, 0, True).messages
        assert f"system: {system.content}\nuser: {user.content}\nschema: " in done.out
    assert done.out.endswith("nothing was sent or written\n")
    again = [
        cli("reflect", "data.json", "--prompt", "mine.md", "-n", "2", "--show", *seed, plugin=False).out
        for seed in ((), ("--seed", "1"), ("--seed", "2"), ("--seed", "3"))
    ]
    assert again[0] == done.out and len(set(again)) > 1
    marked = cli("reflect", "data.json", "--teacher", "{replay: {path: none, structured: false}}", "--show").out
    assert "Copy the lines in double brackets exactly" in marked and "schema: " not in marked
    assert marked.count("--- prompt ") == 3


def test_reflect_rewrites_by_a_prompt_file(cli):
    """The same as the long form, to which options belong."""
    Path("mine.md").write_text(FILE)
    assert cli("reflect", "data.json", "--prompt", "mine.md", "--teacher", "scripted", "--out", "new.jsonl").code == 0
    long = ("--reflection", "prompt:mine.md", "--reflection-max-tokens", "9", "--teacher", "scripted")
    assert cli("reflect", "data.json", *long, "--out", "long.jsonl").code == 0
    assert json_lines(Path("new.jsonl")) == json_lines(Path("long.jsonl")) != rows(6)


def test_a_prompt_file_is_not_written_over_by_the_run_that_asks_it(cli):
    """It is an input of the command."""
    Path("mine.md").write_text(FILE)
    command = ("reflect", "data.json", "--prompt", "mine.md", "--teacher", "scripted", "--out", "mine.md")
    assert "mine.md: is an input of this command" in the_error(cli(*command, "--overwrite"))


# --- a changed file ---------------------------------------------------------------------------

PIPELINE = [{"reflect": {"prompt": "p.md"}}, {"choose": "newest"}]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a job with a prompt file, and returns what the teacher was asked."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, name: str = "run") -> list[Request]:
        Path("p.md").write_text(text, "utf-8")
        teacher = ScriptedTeacher(rewriting)
        go(job(tmp_path, rows(3), PIPELINE, student=None), tmp_path / name, teacher)
        return teacher.requests

    return run


CHANGES = {
    "user text": ("Be brief.", "Be short.", '- "Be brief." + "Be short."'),
    "a line less": ("Be brief.\n", "", '- "Be brief."'),
    "a line more": ("Be brief.", "Be brief.\nBe kind.", '+ "Be kind."'),
    "a sentence about conversations": ("Before it:", "Earlier:", '- "Before it:" + "Earlier:"'),
    "system text": ("You review answers.", "You review.", '- "You review answers." + "You review."'),
    "meaning": ("your critique", "a critique", '- ""critique": your critique" + ""critique": a critique"'),
    "temperature": ("0.25", "0.5", '- "temperature: 0.25" + "temperature: 0.5"'),
    "max_tokens": ("77", "78", '- "max_tokens: 77" + "max_tokens: 78"'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_prompt_is_refused_with_its_lines(change, run):
    """Before anything is asked, with the way out; changed back, or in another directory, the run goes on."""
    old, new, shown = CHANGES[change]
    assert len(run(FILE)) == 3
    with pytest.raises(ConfigError) as refusal:
        run(FILE.replace(old, new))
    message = str(refusal.value)
    assert "/run was started with other settings; use another --run-dir, or change them back: request of p" in message
    assert shown in message
    assert run(FILE) == []
    assert len(run(FILE.replace(old, new), "other")) == 3


def test_what_is_no_question_may_change(run):
    """A comment, the order of keys, the name of the file."""
    assert len(run(FILE)) == 3
    assert (
        run(
            FILE.replace("# A comment", "# Another one")
            .replace("max_tokens: 77\n", "")
            .replace("temperature", "max_tokens: 77\ntemperature")
        )
        == []
    )


def test_a_change_within_a_long_line_is_shown_where_it_is(run):
    """A paragraph is often one line."""
    long = f"{'Consider every word of it. ' * 20}Then{' answer in peace' * 20}."
    run(FILE.replace("Be brief.", long))
    with pytest.raises(ConfigError) as refusal:
        run(FILE.replace("Be brief.", long.replace("Then", "And then")))
    assert re.search(r'- "….* Then answer in peace .*…" \+ "….* And then answer in peace .*…"', str(refusal.value))
    assert len(str(refusal.value)) < 900


def test_of_a_new_prompt_only_some_lines_are_shown(run):
    """The error stays an error, not a page."""
    run(FILE.replace("Be brief.", "\n".join(f"Old rule {number}." for number in range(50))))
    with pytest.raises(
        ConfigError, match=r'- "Old rule 0." \+ "New rule 0." .* and 88 more lines; reflection prompt: '
    ):
        run(FILE.replace("Be brief.", "\n".join(f"New rule {number}." for number in range(50))))


def test_a_run_directory_of_before_goes_on_and_learns_what_was_asked(run, tmp_path):
    """It knows digests only; a change is refused by them until a run has gone on, and by its lines from then on."""
    run(FILE)
    with Ledger.writing(tmp_path / "run" / "ledger.sqlite") as ledger:
        facts = ledger.meta("frozen")
        assert facts.pop("request of prompt").startswith("You review answers.\n")
        assert set(facts) == {"data", "teacher", "reflection prompt"}
        asyncio.run(ledger.set_meta("frozen", facts))
    with pytest.raises(ConfigError, match=r"change them back: reflection prompt: \w+ → \w+$"):
        run(FILE.replace("Be brief.", "Be short."))
    assert run(FILE) == []
    with pytest.raises(ConfigError, match=r'- "Be brief." \+ "Be short."'):
        run(FILE.replace("Be brief.", "Be short."))

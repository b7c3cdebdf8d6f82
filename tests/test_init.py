"""`rt init DATA` writes a config that fits the data, and says what it has seen of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.helpers import Cli, json_lines, rows, the_error, write_json

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
CALL = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}}]}


def _chat(number, *more, marks=None):
    """Two rounds of a conversation."""
    answer = {"role": "assistant", "content": f"Boat number {number} has a sail."} | (marks or {})
    return [
        {"role": "system", "content": "You know boats."},
        {"role": "user", "content": f"What has boat {number}?"},
        answer,
        *more,
        {"role": "user", "content": f"And what has boat {number} not?"},
        {"role": "assistant", "content": f"Boat number {number} has no oars."},
    ]


def _json(found):
    write_json(Path("mine.json"), found)
    return "mine.json"


def _jsonl(found):
    Path("mine.jsonl").write_text("\n".join(map(json.dumps, found)), "utf-8")
    return "mine.jsonl"


def _csv(found):
    with Path("mine.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)
    return "mine.csv"


def _parquet(found):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), "mine.parquet")
    return "mine.parquet"


def _arrow(found):
    from rt_framework.builtin.formats.dataset import DatasetFormat

    DatasetFormat().write(Path("mine"), found)
    return "mine"


SETS = {
    "alpaca": (_json, rows(6), "mine.json: json, alpaca columns, 6 rows", None),
    "messages": (
        _jsonl,
        [{"messages": _chat(number)} for number in range(6)],
        "(trained: last); 6 answers; earlier turns in 6 rows; a system prompt in 6 rows",
        "trained: last",
    ),
    "marked": (
        _jsonl,
        [{"messages": _chat(number, marks={"weight": 0})} for number in range(6)],
        "not marked as untrained (trained: marked); 6 answers",
        "trained: marked",
    ),
    "sharegpt": (
        _json,
        [
            {
                "conversations": [
                    {"from": "human", "value": f"Boat {number}?"},
                    {"from": "gpt", "value": f"It is boat {number}."},
                ],
                "system_prompt": "You know boats.",
            }
            for number in range(6)
        ],
        "columns, guessed: system is your 'system_prompt'; correct data.columns if that is wrong",
        'columns: {system: "system_prompt"}',
    ),
    "columns": (
        _csv,
        [{"Question": one["instruction"], "Answer": one["output"], "context": one["input"]} for one in rows(6)],
        "columns, guessed: instruction is your 'Question', output is your 'Answer', input is your 'context'",
        'columns: {instruction: "Question", output: "Answer", input: "context"}',
    ),
    "messages of another name": (
        _jsonl,
        [{"dialogue": _chat(number)} for number in range(6)],
        "messages is your 'dialogue'",
        'columns: {messages: "dialogue"}',
    ),
    "parquet": (_parquet, rows(6), "mine.parquet: parquet, alpaca columns, 6 rows", None),
    "arrow": (_arrow, rows(6), "mine: dataset, alpaca columns, 6 rows", None),
    "tools": (
        _jsonl,
        [
            {"messages": _chat(number, CALL, {"role": "tool", "tool_call_id": "1", "content": "2"}), "tools": [TOOL]}
            for number in range(6)
        ],
        "tools in 6 rows",
        "- reflect: response",
    ),
}
"""Data sets: the writer, the rows, what the command says of them, and what stands in the config."""


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    return Cli(monkeypatch, capfd)


@pytest.mark.parametrize("kind", SETS)
def test_the_config_fits_the_data(kind, cli):
    """It says what it saw; the doctor finds nothing wrong; and a run with fakes keeps every row."""
    write, found, said, written = SETS[kind]
    done = cli("init", write(found), "--student", "fake", "--teacher", "scripted")
    assert done.code == 0 and said in done.out, done.err
    assert "length: half of the rows have up to " in done.out and " characters, 95 % up to " in done.out
    assert done.out.splitlines()[-1] == "wrote rt.yaml; check it with: rt doctor rt.yaml, then: rt run rt.yaml"
    config = Path("rt.yaml").read_text()
    data = config.partition("data:\n")[2].partition("\n\n")[0].splitlines()
    assert written is None or written in config
    assert len(data) == 1 or written  # what is found by itself is not written
    checked = cli("doctor", "rt.yaml")
    assert checked.code == 0 and checked.words.endswith("nothing is wrong"), checked.out
    assert cli("run", "rt.yaml").code == 0
    side = json_lines(Path("runs/rt/scores.jsonl"))
    assert len(side) == 6 and not any(one["outcome"] == "failed" for one in side)


def test_rows_with_faults_are_told(cli):
    """Empty, equal and unreadable ones, and a passage that most answers share; the config leaves out the unreadable."""
    note = "Please note that this answer cannot replace the advice of somebody who knows your own boat very well."
    found = [one | {"output": f"{one['output']} {note}"} for one in rows(20)]
    path = _json([*found, found[0], rows(1)[0] | {"output": ""}, {"instruction": 7, "output": "x"}])
    said = cli("init", path).out
    assert "rows: of 22 rows 1 without instruction or response, 1 equal to an earlier row\n" in said
    assert (
        "rows: 1 of 23 rows cannot be read and are left out (unreadable: drop): 1 row, row 22 (from 0): column" in said
    )
    assert f"rows: the answers of 21 of 22 rows (95 %) hold the same passage, '{note[:70].strip()}…'" in said
    assert said.endswith("wrote rt.yaml; set teacher and student in it, then: rt run rt.yaml\n")
    assert "  unreadable: drop " in Path("rt.yaml").read_text()
    assert cli("run", "rt.yaml", "--set", "teacher=scripted", "--set", "student=fake").code == 0


def test_columns_that_tell_nothing_have_to_be_named(cli):
    """Nothing is written then; with the names the config has them."""
    path = _csv([{"left": one["instruction"], "right": one["output"]} for one in rows(6)])
    refused = cli("init", path)
    assert refused.code == 2 and not Path("rt.yaml").exists()
    assert "mine.csv: the columns fit no shape: found left, right" in the_error(refused)
    assert the_error(refused).endswith("here: --column instruction=COLUMN --column output=COLUMN")
    named = cli("init", path, "--column", "instruction=left", "--column", "output=right", "--format", "csv")
    assert named.code == 0 and "guessed" not in named.out
    written = Path("rt.yaml").read_text()
    assert '  columns: {instruction: "left", output: "right"}' in written and "  format: csv\n" in written


def test_a_shape_that_cannot_be_told_has_to_be_named(cli):
    path = _json([one | {"messages": _chat(1)} for one in rows(3)])
    refused = the_error(cli("init", path))
    assert "the columns fit the shapes alpaca and messages" in refused and refused.endswith("; here: --shape NAME")
    assert "mine.json: json, messages columns" in cli("init", path, "--shape", "messages").out
    assert "  shape: messages\n" in Path("rt.yaml").read_text()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("openai/gpt-5-mini", "teacher: litellm:openai/gpt-5-mini"),
        ("ollama/llama3:8b", "teacher: litellm:ollama/llama3:8b"),
        ("litellm:openai/gpt-5-mini", "teacher: litellm:openai/gpt-5-mini"),
        ("replay:my answers.jsonl", 'teacher: "replay:my answers.jsonl"'),
        ("hf: my model", "teacher: {hf: my model}"),
        ("{hf: {model: m, batch_size: 4}}", "teacher: {hf: {model: m, batch_size: 4}}"),
    ],
)
def test_a_teacher_is_named_as_in_a_config_or_by_litellm(given, written, cli):
    assert cli("init", "--teacher", given).code == 0
    assert f"\n{written}\n" in Path("rt.yaml").read_text()


def test_an_unknown_teacher_or_student_is_refused(cli):
    refused = cli("init", "--teacher", "gpt-5-mini")
    assert "unknown teacher 'gpt-5-mini'" in the_error(refused)
    assert the_error(refused).endswith("A model of an API is PROVIDER/MODEL, such as openai/gpt-5-mini.")
    assert "unknown student 'hg'" in the_error(cli("init", "--student", "hg:model"))
    assert list(Path().iterdir()) == []


def test_a_data_set_of_the_hub_is_not_looked_at(cli):
    done = cli("init", "hf://datasets/org/name")
    assert done.out.startswith("hf://datasets/org/name: not looked at, since that would download it; rt doctor does")
    assert '  path: "hf://datasets/org/name" # not looked at' in Path("rt.yaml").read_text()


def test_nothing_is_overwritten_and_nothing_read_before(cli):
    Path("rt.yaml").write_text("mine")
    Path("mine.json").write_text("no JSON")
    assert the_error(cli("init", "mine.json")) == "rt.yaml: exists already; name another place with --out"
    assert Path("rt.yaml").read_text() == "mine"
    assert "mine.json" in the_error(cli("init", "mine.json", "--out", "other.yaml"))
    assert not Path("other.yaml").exists()


@pytest.mark.parametrize("chat", [True, False])
def test_lengths_are_in_tokens_where_the_tokenizer_is_at_hand(chat, cli, tmp_path):
    """Rows that do not fit are counted; without a chat template the config has another one; no weights are read."""
    tiny_models = pytest.importorskip("tests.tiny_models")
    model = tiny_models.save(
        tmp_path / "model",
        tiny_models.llama(window=512),
        tiny_models.tokenizer(chat=tiny_models.CHAT if chat else None),
    )
    next(Path(model).glob("*.safetensors")).write_bytes(b"")
    one, *others = rows(6)
    path = _json([one | {"output": "Many boats float. " * 40}, *others])
    done = cli("init", path, "--student", f"hf:{model}")
    assert "tokens of the student, 95 % up to " in done.out, done.out + done.err
    assert "the longest has 512\n" in done.out
    assert "student: of the first 6 rows these have no whole score: 1 no_room: give a larger" in done.out
    written = Path("rt.yaml").read_text()
    assert ("\n  template: alpaca " in written) is not chat
    assert f"\nstudent: hf:{model}\n" in written


def test_a_tokenizer_on_the_hub_is_used_only_if_it_is_in_the_cache(monkeypatch):
    """Of the commit that the hub names now."""
    import huggingface_hub

    from rt_framework.builtin import model_places
    from rt_framework.builtin.students.hf import HFStudent
    from rt_framework.builtin.students.settings import HFSettings

    stored = {"config.json", "tokenizer_config.json", "tokenizer.json"}
    monkeypatch.setattr(model_places, "hub_commit", lambda *_: ("c" * 40, False))
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda _, name, revision: name if name in stored and revision == "c" * 40 else None,
    )
    student = HFStudent(HFSettings("org/model"))
    assert student.stored()
    stored.remove("tokenizer.json")
    assert not student.stored()

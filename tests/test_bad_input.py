"""Bad input: one clear line that names the place and the way out, the exit code of its kind, and nothing done."""

from __future__ import annotations

import sqlite3

import pytest

from rt_framework.cli import FAULT
from tests.helpers import CONFIG, Cli, install, json_lines, rows, the_error, write_json


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line, called in a directory with good data and a good config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    write_json(tmp_path / "data.json", rows(2))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


ALPACA = "alpaca needs instruction and output"

FILES = {
    "missing file": ("d.json", None, "d.json: no such file"),
    "empty file": ("d.json", "", "d.json: no records"),
    "empty lines": ("d.jsonl", "\n\n", "d.jsonl: no records"),
    "empty table": ("d.csv", "instruction,output\n", "d.csv: no records"),
    "no rows": ("d.json", "[]", "d.json: no records"),
    "broken JSON": (
        "d.json",
        '[{"a": 1},\n{"b" 2}]',
        "d.json: line 2, column 6: broken JSON: Expecting ':' delim",
    ),
    "broken line": (
        "d.jsonl",
        '{"instruction": "a", "output": "b"}\n{"instruction" 2}\n',
        "d.jsonl: line 2: broken JSON: Expecting ':' delimiter at column 16; correct it: write one object on each",
    ),
    "no object": ("d.json", '[{"instruction": "a", "output": "b"}, 3]', "d.json: row 1 (from 0): not an object; each"),
    "no text": ("d.jsonl", b'{"instruction": "\xff", "output": "b"}\n', "d.jsonl: line 1: not UTF-8 text"),
    "no response": ("d.json", '[{"instruction": "a"}]', f"d.json: no response column: found instruction; {ALPACA}"),
    "other columns": ("d.json", '[{"q": "a", "a": "b"}]', "d.json: the columns fit no shape: found q, a; "),
    "a row without": (
        "d.jsonl",
        '{"instruction": "a", "output": "b"}\n{"instruction": "a"}\n',
        "d.jsonl: row 1 (from 0): no column 'output' (found: instruction); add it, or name the column with data.colum",
    ),
    "no number": (
        "d.json",
        '[{"instruction": "a", "output": 3}]',
        "d.json: row 0 (from 0): column 'output' holds a value of type int, not text; make it a string",
    ),
    "unknown format": ("d.docx", "x", "d.docx: unknown format; name it with data.format; known: csv, dataset, json,"),
}


@pytest.mark.parametrize("fault", FILES)
@pytest.mark.parametrize("command", ["run", "score", "reflect"])
def test_data_that_cannot_be_read(cli, tmp_path, fault, command):
    """The same line from every command that reads data, before anything is made or paid for."""
    name, content, message = FILES[fault]
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(tmp_path.iterdir())
    arguments = {
        "run": ("run", "rt.yaml", "--set", f"data.path={name}"),
        "score": ("score", name, "--student", "fake", "--out", "o.jsonl"),
        "reflect": ("reflect", name, "--teacher", "scripted", "--out", "o.json"),
    }
    done = cli(*arguments[command])
    assert the_error(done).startswith(message)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["pipelin=cherry"], "rt.yaml: pipelin: unknown key 'pipelin'. Did you mean 'pipeline'?"),
        (["scoring.presett=chat"], "rt.yaml: scoring.presett: unknown key 'presett'. Did you mean 'preset'?"),
        (["scoring.preset=chatt"], "unknown preset 'chatt'. Did you mean 'chat'? Known: selective-rt, superfiltering"),
        (["scoring.template=alpacca"], "unknown template 'alpacca'. Did you mean 'alpaca'?"),
        (["scoring.executor=lokal"], "unknown executor 'lokal'. Did you mean 'local'?"),
        (["pipeline=selctive-rt"], "unknown pipeline 'selctive-rt'. Did you mean 'selective-rt'?"),
        (["pipeline=[{chose: newest}]"], "pipeline.0: unknown stage 'chose'. Did you mean 'choose'?"),
        (["pipeline=[{choose: newst}]"], "pipeline.0: unknown selector 'newst'. Did you mean 'newest'?"),
        (["pipeline=[{choose: {highest: idf}}]"], "pipeline.0: unknown metric 'idf'. Did you mean 'ifd'?"),
        (["pipeline=[{measure: [idf]}]"], "pipeline.0: unknown metric 'idf'. Did you mean 'ifd'?"),
        (["pipeline=[{reflect: anwser}]"], "pipeline.0: unknown reflection 'anwser'. Did you mean 'answer'?"),
        (["output.format=jsn"], "unknown format 'jsn'. Did you mean 'json'?"),
        (["output.shape=alpacca"], "unknown shape 'alpacca'; known: alpaca"),
        (["data.format=jsn"], "unknown format 'jsn'. Did you mean 'json'?"),
        (["data.columns={answer: a}"], "data.columns: no shape has a field 'answer'; known: instruction, output"),
        (["teacher=litelm:x"], "unknown teacher 'litelm'. Did you mean 'litellm'?"),
        (["teacher=null"], "stage '1. reflect instruction' asks a teacher, but the config has no 'teacher:'"),
        (["teacher=replay:none.jsonl"], "cannot read the answers in none.jsonl: No such file or directory"),
        (
            ["teacher={litellm: {model: x, extra: {api_key: k}}}"],
            "teacher 'litellm'.extra.api_key: API keys come only from the environment; ",
        ),
        (["student=null"], "stage '2. choose highest ifd' reads ifd, but the config has no 'student:'"),
        (["student=hg:x"], "unknown student 'hg'. Did you mean 'hf'?"),
        (
            ["student=hf:no/such-model"],
            "model 'no/such-model' does not exist: no such file or directory, and not",
        ),
        (["student=hf:./no/such/dir"], "model './no/such/dir' does not exist: no such file or directory, and not"),
    ],
)
def test_a_config_that_cannot_work(cli, tmp_path, monkeypatch, changes, message):
    """The message says what is wrong and what would be right, before the first call and the first forward pass."""
    monkeypatch.setenv("RT_TEST_LOG", str(tmp_path / "log"))
    sets = [part for change in changes for part in ("--set", change)]
    assert the_error(cli("run", "rt.yaml", *sets)).startswith(message)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--metric", "idf"],
            "unknown metric 'idf'. Did you mean 'ifd'? Known: echo, ifd, ifd-loss, length, loss, ppl, ",
        ),
        (["--preset", "cherri"], "unknown preset 'cherri'. Did you mean 'cherry'?"),
        (["--template", "vicunia"], "unknown template 'vicunia'. Did you mean 'vicuna'?"),
        (["--student", "fakke"], "unknown student 'fakke'. Did you mean 'fake'?"),
        (["--student", "hf"], "student 'hf': key 'model' is missing"),
        (["--student", "hf:no/such-model"], "model 'no/such-model' does not exist: "),
        (["--format", "jsn"], "unknown format 'jsn'. Did you mean 'json'?"),
        (["--shape", "alpacca"], "unknown shape 'alpacca'; known: alpaca, "),
        (["--column", "output"], "--column output: expected KEY=VALUE. See 'rt score --help'."),
        (["--limit", "0"], "Invalid value for '--limit': 0 is not in the range x>=1. See 'rt score --help'."),
        (
            ["--student", "hf:m", "--student-dtype", "int3"],
            "Invalid value for '--student-dtype': 'int3' is not one",
        ),
        (["--student-dtype", "float32"], "No such option '--student-dtype'."),
        (["--bogus"], "No such option '--bogus'."),
    ],
)
def test_a_score_that_cannot_work(cli, tmp_path, arguments, message):
    """Nothing is written where the scores would go."""
    done = cli("score", "data.json", "--student", "fake", "--out", "o.jsonl", *arguments)
    assert the_error(done).startswith(message)
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("scores", "by", "message"),
    [
        (None, "{top: {metric: ifd, count: 1}}", "s.jsonl: no such file; 'rt score' writes it"),
        ("3\n", "{top: {metric: ifd, count: 1}}", "s.jsonl: line 1: not a line of 'rt score': "),
        ("", "{top: {metric: ifd, count: 1}}", "s.jsonl: no scores of sample "),
        ("GOOD", "{top: {metric: idf, count: 1}}", "unknown metric 'idf'. Did you mean 'ifd'?"),
        ("GOOD", "{top: {metric: ppl, count: 1}}", "s.jsonl: no metric 'ppl' here; run 'rt score' with --metric ppl"),
        ("GOOD", "{tpo: {metric: ifd, count: 1}}", "unknown selector 'tpo'. Did you mean 'top'?"),
        ("GOOD", "newest", "selector 'newest' chooses between versions of a sample, not between samples"),
        ("GOOD", "{top: [", "--by: not valid YAML: "),
        ("GOOD", "[top]", "expected a name, 'name:value' or one 'name: options', not ['top']"),
        ("GOOD", "random", "give either fraction or count, and not both"),
    ],
)
def test_a_selection_that_cannot_work(cli, tmp_path, scores, by, message):
    """Scores that are missing, broken or of something else; a selector that is none."""
    if scores == "GOOD":
        assert cli("score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl").code == 0
    elif scores is not None:
        (tmp_path / "s.jsonl").write_text(scores)
    done = cli("select", "data.json", "--scores", "s.jsonl", "--by", by, "--out", "o.json")
    assert the_error(done).startswith(message)
    assert not (tmp_path / "o.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "no command 'rnu'. Did you mean 'run'? See 'rt --help'."),
        (["run"], "Missing argument 'CONFIG'. See 'rt run --help'."),
        (["run", "none.yaml"], "none.yaml: no such file; 'rt init' writes a commented one to start from"),
        (["run", "data.json"], "data.json: expected a mapping with the keys data, "),
        (["run", "rt.yaml", "--reporter", "consle"], "unknown reporter 'consle'. Did you mean 'console'?"),
        (["status", "."], "ledger.sqlite: no ledger here; is this a run directory?"),
        (["explain", "none", "0"], "none/ledger.sqlite: no ledger here; is this a run directory?"),
        (["export", "none", "--out", "x.json"], "none/ledger.sqlite: no ledger here; is this a run directory?"),
        (["plugins", "show", "idf"], "no plugin or part is called 'idf'. Did you mean 'ifd'? See 'rt plugins list'."),
        (["plugins", "lst"], "No such command 'lst'."),
        (["init"], "rt.yaml: exists already; name another place with --out"),
        (["init", "new.yaml"], "new.yaml: no such file or directory; DATA is the data set, and --out names the config"),
        (["init", "--prompt", ".."], "..: names no file; name another place with --prompt"),
        (["reflect", "data.json"], "Missing option '--teacher'. See 'rt reflect --help'."),
        (["reflect", "data.json", "--teacher", "scripted"], "Missing option '--out'. See 'rt reflect --help'."),
        (
            ["reflect", "data.json", "--teacher", "scripted", "--out", "o.json", "-n", "3"],
            "-n and --seed are for --show; --limit N rewrites the first N rows. See",
        ),
        (
            ["reflect", "data.json", "--prompt", "p.md", "--reflection-max-tokens", "3", "--show"],
            "--prompt FILE is short for --reflection prompt:FILE; with options of it give the long form",
        ),
        (
            ["reflect", "data.json", "--prompt", "p.md", "--show"],
            "p.md: no such file; 'rt init --prompt NAME' writes a commented one to start from",
        ),
        (["-p", "no_such_module", "run", "rt.yaml"], "plugin 'no_such_module' failed in import: ModuleNotFoundError"),
    ],
)
def test_a_command_that_cannot_work(cli, arguments, message):
    """Unknown commands, missing arguments, directories that are no runs."""
    assert the_error(cli(*arguments)).startswith(message)


def test_a_ledger_that_is_none(cli, tmp_path):
    """Neither a foreign file nor one of another version is taken for one, and neither is changed."""
    for name, content, code in (("text", b"not a database at all, but long enough" * 20, 5), ("other", None, 2)):
        run_dir = tmp_path / name
        run_dir.mkdir()
        if content is None:
            with sqlite3.connect(run_dir / "ledger.sqlite") as db:
                db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
                db.execute("INSERT INTO meta VALUES ('schema', '99')")
            db.close()
        else:
            (run_dir / "ledger.sqlite").write_bytes(content)
        before = (run_dir / "ledger.sqlite").read_bytes()
        assert f"{name}/ledger.sqlite: " in the_error(cli("status", name), code)
        assert (run_dir / "ledger.sqlite").read_bytes() == before


# --- plugins ----------------------------------------------------------------------------------


def test_a_plugin_that_fails_to_import_is_named_when_its_metric_is_used(cli, tmp_path, monkeypatch):
    """And only then: a run that does not use it goes through."""
    install(tmp_path / "site", "rt-gone", {"rt_gone": "import no_such_module"}, {"gone": "rt_gone"}, version="0.3")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert cli("run", "rt.yaml").code == 0
    what = "ModuleNotFoundError: No module named 'no_such_module' (at site/rt_gone.py:1)"
    reason = f"plugin 'gone' 0.3 failed in import: {what}"
    error = the_error(cli("run", "rt.yaml", "--set", "pipeline=[{measure: [my-metric]}]"))
    assert error.startswith("pipeline.0: unknown metric 'my-metric'.")
    assert error.endswith(f"Note: {reason}.")
    error = the_error(cli("score", "data.json", "--student", "fake", "--metric", "my-metric", "--out", "o.jsonl"))
    assert error.endswith(f"Note: {reason}.")
    assert the_error(cli("--strict-plugins", "run", "rt.yaml")) == reason
    assert the_error(cli("plugins", "show", "gone")) == reason
    assert cli("-p", "no:gone", "--strict-plugins", "run", "rt.yaml").code == 0


def test_a_metric_that_raises_is_named(cli, tmp_path, monkeypatch):
    """In a run and in a score."""
    code = """
from rt_framework import hookimpl, Range

class Bad:
    direction, valid = "higher", Range()
    def spans(self, pair, frame): return {"y": frame.response_alone(pair)}
    def reduce(self, losses): return losses["z"].mean

@hookimpl
def rt_register_metrics(register): register("bad", "rt_bad:Bad")
"""
    install(tmp_path / "site", "rt-bad", {"rt_bad": code}, {"bad": "rt_bad"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    message = "metric 'bad' failed in reduce: KeyError: 'z' (at site/rt_bad.py:7)"
    assert the_error(cli("run", "rt.yaml", "--set", "pipeline=[{measure: [bad]}]")) == message
    assert the_error(cli("score", "data.json", "--student", "fake", "--metric", "bad", "--out", "o.jsonl")) == message


def test_a_message_with_terminal_escapes_is_shown_without_them(cli, tmp_path):
    """A file name or a column can hold them."""
    write_json(tmp_path / "d.json", [{"\x1b[31mred\nline": "a"}])
    error = the_error(cli("score", "d.json", "--student", "fake", "--out", "o.jsonl"))
    assert "found �[31mred line; " in error


def test_a_fault_of_ours_is_no_failed_sample(cli, monkeypatch):
    """A traceback has an exit code of its own, which no other end of a command has."""
    monkeypatch.setattr("rt_framework.config.read_config", lambda *_: 1 / 0)
    done = cli("run", "rt.yaml")
    assert done.code == FAULT == 70
    assert "ZeroDivisionError" in done.err


# --- run directories --------------------------------------------------------------------------


def test_a_run_directory_that_cannot_be_made(cli, tmp_path):
    """A file in its place: exit code 5, and what the system says."""
    (tmp_path / "file").write_text("")
    error = the_error(cli("run", "rt.yaml", "--run-dir", "file"), code=5)
    assert error == "file: cannot be used as a run directory: File exists"
    error = the_error(cli("export", "runs/rt", "--out", "file/a.json"))
    assert cli("run", "rt.yaml").code == 0
    assert the_error(cli("export", "runs/rt", "--out", "file/a.json"), code=5).startswith("file/a.json: cannot be wri")


def test_answers_that_cannot_be_used_lose_no_sample(cli, tmp_path):
    """A teacher that only chats: the originals are kept, the failures counted, and the command succeeds."""
    done = cli("run", "rt.yaml", "--set", "teacher=scripted:chatter")
    assert done.code == 0
    assert "kept original 2 100.0 %" in done.words
    for stage in ("reflect-instruction", "reflect-response"):
        assert f"{stage} format the answer did not have the form that was asked for 2" in done.words
    assert [line["outcome"] for line in json_lines(tmp_path / "runs/rt/scores.jsonl")] == ["original", "original"]

"""Every command by what it prints and leaves, with a student and a teacher that need no model."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest

from rt_framework.cli import _COMMANDS
from tests.helpers import CONFIG, PLUGIN, Cli, json_lines, rows, rt, the_error, write_json


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line, called in a directory with six samples and a config; what the fakes do is in ``log``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    monkeypatch.setenv("RT_TEST_LOG", str(tmp_path / "log"))
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


@pytest.fixture
def log(tmp_path):
    """Takes what the fakes have noted since it was last asked."""

    def take() -> list[str]:
        path = tmp_path / "log"
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    return take


# --- rt ---------------------------------------------------------------------------------------


def test_help_lists_every_command_and_each_has_a_help_of_its_own(cli):
    """Without a word of any error."""
    done = cli("--help", plugin=False)
    assert done.code == 0
    for name, text in _COMMANDS.items():
        assert f"{name} {text}" in done.words
        assert f"Usage: rt {name} " in cli(name, "--help", plugin=False).out
    assert cli(plugin=False).out == done.out
    assert "list" in cli("plugins", plugin=False).out


def test_the_version_is_that_of_the_package(cli):
    """As installed."""
    done = cli("--version", plugin=False)
    assert re.fullmatch(r"rt, version \d+\.\d+\.\d+\n", done.out)


# --- init and doctor --------------------------------------------------------------------------


@pytest.mark.model
def test_init_writes_a_config_that_doctor_accepts(cli, tmp_path, monkeypatch, smollm2):
    """Once data, student and key are there; and it never overwrites."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    done = cli("init", "--out", "mine.yaml", plugin=False)
    assert (done.code, done.out) == (
        0,
        "wrote mine.yaml; set data, teacher and student in it, then: rt run mine.yaml\n",
    )
    written = (tmp_path / "mine.yaml").read_text()
    assert "rt run mine.yaml" in written
    student = re.search(r"^student: (hf:\S+)", written, re.MULTILINE)
    (tmp_path / "mine.yaml").write_text(written.replace(student[1], f"hf:{smollm2}"))
    checked = cli("doctor", "mine.yaml", plugin=False)
    assert checked.code == 0, checked.out
    (tmp_path / "mine.yaml").write_text(written)
    assert "ok mine.yaml 6 stages" in checked.words
    assert "ok data.json: json, alpaca columns 6 samples" in checked.words
    assert checked.words.endswith("nothing is wrong")
    assert cli("init", "--out", "mine.yaml", plugin=False).code == 2
    assert (tmp_path / "mine.yaml").read_text() == written


def test_doctor_says_what_is_wrong_and_goes_on(cli, tmp_path):
    """A config with a fault, a student that loads: both findings, and exit code 2."""
    (tmp_path / "rt.yaml").write_text(CONFIG.replace("highest: ifd", "highest: idf"))
    done = cli("doctor", "rt.yaml", "--student", "fake")
    assert done.code == 2
    assert "WRONG rt.yaml pipeline.1: unknown metric 'idf'. Did you mean 'ifd'?" in done.words
    assert re.search(r"ok fake loss \d\.\d{4} over 1 tokens", done.words)
    assert "ok forward path the student's own; 8192 tokens a batch" in done.words
    assert done.words.endswith("1 marked WRONG")
    missing = cli("doctor", "none.yaml", "--student", "hf:./none")
    assert "WRONG none.yaml none.yaml: no such file; 'rt init' writes" in missing.words
    assert "WRONG hf ./none model './none' does not exist: no such file or directory" in missing.words


# --- run, status, export ----------------------------------------------------------------------


def test_a_run_says_what_it_does_and_accounts_for_every_sample(cli, log, tmp_path):
    """The output names teacher, student and format, counts samples by outcome, and lists mean scores and files."""
    done = cli("run", "rt.yaml")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:4] == [
        "teacher: scripted (live)",
        "student: fake, preset chat, template chat",
        "data: data.json: json, alpaca columns",
        "writing to runs/rt",
    ]
    assert "6 samples outcome version or reason samples share" in done.words
    assert re.search(r"ifd \d\.\d{4} \d\.\d{4} \d", done.words)
    assert re.search(r"r-ifd \d\.\d{4} \d\.\d{4} \d", done.words)
    noted = log()
    assert noted.count("call") == 12
    assert "12 teacher calls sent, 0 answers from the ledger, unknown cost (no price " in done.words
    for name in ("kept.json", "dropped.json", "scores.jsonl"):
        assert f"runs/rt/{name}" in done.out.splitlines()
    side = json_lines(tmp_path / "runs/rt/scores.jsonl")
    assert [line["row"] for line in side] == list(range(6))
    kept = json.loads((tmp_path / "runs/rt/kept.json").read_text())
    assert [row["topic"] for row in kept] == [row["topic"] for row in rows(6)]
    assert all(set(row) == {"instruction", "input", "output", "topic"} for row in kept)
    assert json.loads((tmp_path / "runs/rt/dropped.json").read_text()) == []


def test_the_same_command_again_asks_and_computes_nothing(cli, log, tmp_path):
    """And leaves byte-identical files; another choice on the same answers costs no call either."""
    cli("run", "rt.yaml")
    run_dir = tmp_path / "runs/rt"
    files = {name: (run_dir / name).read_bytes() for name in ("kept.json", "dropped.json", "scores.jsonl")}
    log()
    again = cli("run", "rt.yaml")
    assert log() == []
    assert "0 teacher calls sent, 12 answers from the ledger, $0.0000; 0 student tokens computed, " in again.words
    for name, content in files.items():
        assert (run_dir / name).read_bytes() == content
    gated = cli("run", "rt.yaml", "--set", "pipeline=[{reflect: instruction}, {gate: {ifd: {below: 0.5}}}]")
    assert log() == []
    assert "dropped gate ifd: not < 0.5" in gated.words


def test_a_run_may_be_limited_and_put_elsewhere(cli, tmp_path):
    """--limit and --run-dir."""
    done = cli("run", "rt.yaml", "--limit", "2", "--run-dir", "there/deep")
    assert done.code == 0
    assert "2 samples" in done.out
    assert len(json.loads((tmp_path / "there/deep/kept.json").read_text())) == 2


def test_a_run_with_more_failures_than_allowed_ends_with_one(cli, tmp_path, monkeypatch):
    """Nothing is lost by it, and the limit is the user's."""
    monkeypatch.setattr("tests.helpers.NotedStudent.score", lambda *_: 1 / 0)
    done = cli("run", "rt.yaml")
    assert done.code == 1
    assert "failed 6 100.0 %" in done.words
    assert "row 0 (" in done.out
    assert "ZeroDivisionError: division by zero" in done.out
    assert len(json.loads((tmp_path / "runs/rt/dropped.json").read_text())) == 6
    assert cli("run", "rt.yaml", "--set", "limits.fail_on_error=6").code == 0


def test_reporters_are_chosen_by_name_and_a_broken_one_is_left_out(cli, log):
    """The others are told everything, and the run goes on."""
    done = cli("run", "rt.yaml", "--reporter", "clumsy", "--reporter", "witness")
    assert done.code == 0
    assert done.out == ""
    assert [line for line in log() if line in ("started", "finished")] == ["started", "finished"]


def test_a_broken_reporter_is_named_on_standard_error(cli, tmp_path):
    """One line, in a process where nobody has set up logging."""
    done = rt("-p", PLUGIN, "run", "rt.yaml", "--reporter", "clumsy", cwd=tmp_path)
    assert done.code == 0
    assert re.fullmatch(
        r"reporter Clumsy failed and is left out: RuntimeError: clumsy \(at \S+helpers\.py:\d+\)\n", done.err
    )


def test_a_reporter_takes_options_as_other_parts_do(cli, log):
    """A name with YAML behind it; what does not fit is an error before anything runs."""
    assert cli("run", "rt.yaml", "--reporter", "{witness: {words: [one, two]}}").code == 0
    assert [line for line in log() if line not in ("call", "forward")] == ["one", "two", "finished"]
    wrong = cli("run", "rt.yaml", "--reporter", "{witness: {words: 3}}")
    assert the_error(wrong).startswith("reporter 'witness'.words: expected a list")
    assert log() == []


def test_a_reporter_that_cannot_end_does_not_fail_the_run(cli, tmp_path):
    """One line says so, and the exit code is that of the run."""
    done = rt("-p", PLUGIN, "run", "rt.yaml", "--reporter", "clinging", cwd=tmp_path)
    assert done.code == 0
    assert re.fullmatch(r"reporter Clinging failed when it was closed: RuntimeError: not yet \(at .*\)\n", done.err)


def test_status_shows_what_the_run_did(cli):
    """Outcomes, requests, money."""
    cli("run", "rt.yaml", "--set", "teacher=scripted:chatter")
    done = cli("status", "runs/rt")
    assert done.code == 0
    assert "6 samples" in done.out
    assert "kept original 6 100.0 %" in done.words
    assert "Rewrites that failed; each sample continued with its current version" in done.words
    for stage in ("reflect-instruction", "reflect-response"):
        assert f"{stage} format the answer did not have the form that was asked for 6" in done.words
    assert "answered 24" in done.words
    assert "spent: unknown cost (no price for this teacher)" in done.out


def test_export_writes_what_was_kept_or_dropped_in_another_form(cli, tmp_path):
    """The ending decides the format; the shape may change; unknown columns go with it."""
    cli("run", "rt.yaml", "--set", "pipeline=[{select: {random: {count: 4}}}]")
    assert cli("export", "runs/rt", "--out", "out/kept.csv").out == "wrote out/kept.csv\n"
    with (tmp_path / "out/kept.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert [row in rows(6) for row in kept] == [True] * 4
    assert cli("export", "runs/rt", "--dropped", "--shape", "messages", "--out", "dropped.jsonl").code == 0
    dropped = json_lines(tmp_path / "dropped.jsonl")
    assert len(dropped) == 2
    assert [message["role"] for message in dropped[0]["messages"]] == ["user", "assistant"]
    assert {row["topic"] for row in (*kept, *dropped)} == {row["topic"] for row in rows(6)}
    assert cli("export", "runs/rt", "--format", "parquet", "--out", "kept.of-mine").code == 0
    assert (tmp_path / "kept.of-mine").read_bytes()[:4] == b"PAR1"


# --- explain ----------------------------------------------------------------------------------


def test_explain_tells_what_became_of_a_sample_and_why(cli, tmp_path):
    """Versions, scores, decisions and costs, by row number, id, or the beginning of the id; no prompt stands there."""
    cli("run", "rt.yaml")
    line = json_lines(tmp_path / "runs/rt/scores.jsonl")[2]
    by_row = cli("explain", "runs/rt", "2")
    assert by_row.code == 0
    order = [
        f"sample {line['id']}, row 2: ",
        "version original",
        "instruction: Name 3 things that float on water.",
        "version instruction, rewritten from original",
        "Scores",
        "Decisions",
        "choose highest ifd",
        "2 questions to scripted",
        "instruction 10 + 10",
        "made version instruction",
        "cost of the sample: ",
        "'rt explain runs/rt 2 --prompts' shows what was asked and answered",
    ]
    places = [by_row.words.index(text) for text in order]
    assert places == sorted(places)
    for version, scores in line["scores"].items():
        numbers = " ".join(f"{scores[metric]:.4f}" for metric in ("ifd", "r-ifd") if metric in scores)
        assert f"{version} {numbers}" in by_row.words
    assert "<<<instruction " not in by_row.out
    assert '{"critique"' not in by_row.out
    assert cli("explain", "runs/rt", line["id"]).out == by_row.out
    assert cli("explain", "runs/rt", line["id"][:9]).out == by_row.out


def test_explain_shows_of_a_rewrite_what_has_changed(cli):
    """The other parts are named, so that no text is read twice."""
    cli("run", "rt.yaml", "--set", 'pipeline=[{"reflect": "response"}]')
    done = cli("explain", "runs/rt", "0")
    assert done.out.count("instruction: Name 1 things that float on water.") == 1
    assert done.out.count("response: ") == 2
    assert "as in original: instruction, input\n" in done.out


def test_explain_shows_prompts_and_raw_answers_if_asked(cli):
    """After the story, which stays as it is."""
    cli("run", "rt.yaml")
    story = cli("explain", "runs/rt", "2")
    done = cli("explain", "runs/rt", "2", "--prompts")
    assert done.out.startswith(story.out.partition("cost of the sample")[0])
    for text in (
        " of scripted: instruction ",
        "<<<instruction ",
        "attempt: answered",
        "raw answer of scripted, stop, 10 + 10 tokens:",
        '{"critique": "Seen: ',
        "made version instruction",
    ):
        assert text in done.out, text


def test_explain_finds_a_sample_by_its_text(cli):
    """In capital or small letters; several are listed, ten at most, and none is an error."""
    cli("run", "rt.yaml")
    assert cli("explain", "runs/rt", "--search", "boat NUMBER 3").out == cli("explain", "runs/rt", "2").out
    assert cli("explain", "runs/rt", "--search", "icebergs").error() == "runs/rt: no sample holds the text 'icebergs'"
    done = cli("explain", "runs/rt", "--search", "float")
    assert (done.code, done.out) == (2, "")
    head, *lines = done.err.splitlines()
    assert head == "Error: runs/rt: 6 samples hold the text 'float'; choose one by its row:"
    assert [re.sub(r", \w{10}…", "", line) for line in lines] == [
        f"  row {number - 1}: Name {number} things that float on water." for number in range(1, 7)
    ]
    for arguments in ([], ["2", "--search", "float"]):
        assert "name one sample: by SAMPLE or by --search TEXT" in cli("explain", "runs/rt", *arguments).error()


def test_explain_lists_ten_of_many(cli, tmp_path):
    """The head says how many there are."""
    write_json(tmp_path / "data.json", rows(12))
    cli("run", "rt.yaml")
    head, *lines = cli("explain", "runs/rt", "--search", "float").err.splitlines()
    assert head.endswith("12 samples hold the text 'float'; choose one by its row, the first 10 of them:")
    assert len(lines) == 10


def test_explain_refuses_what_is_no_sample_or_several(cli):
    """And says what to give."""
    cli("run", "rt.yaml")
    assert the_error(cli("explain", "runs/rt", "x17")) == "runs/rt: no sample matches 'x17'; give an id or a row number"
    assert (
        the_error(cli("explain", "runs/rt", "17"))
        == "runs/rt: row 17 (from 0) is not among the samples of the last run"
    )
    several = cli("explain", "runs/rt", "").err.splitlines()
    assert several[0] == "Error: runs/rt: 6 samples match ''; choose one by its row:"
    assert len(several) == 7


def test_explain_tells_of_answers_that_were_no_use(cli):
    """Each of them, and that the sample failed there."""
    cli("run", "rt.yaml", "--set", "teacher=scripted:chatter")
    done = cli("explain", "runs/rt", "0", "--prompts")
    assert done.out.count("Sure! Here you go.") == 4
    assert done.words.count("not used: the answer was unusable, and another one was asked for") == 4
    assert "not used: format: " in done.out
    assert "failed in reflect instruction: format: " in done.out


# --- score ------------------------------------------------------------------------------------


def test_score_writes_one_line_a_sample_in_input_order(cli, tmp_path):
    """Exactly the promised keys; the values follow from the losses beside them."""
    data = rows(6)
    data[1]["output"] = "Boats."
    data.append(data[0])
    write_json(tmp_path / "data.json", data)
    done = cli("score", "data.json", "--student", "fake", "--metric", "ifd", "--metric", "r-ifd", "--out", "s.jsonl")
    assert done.code == 0
    assert done.out.splitlines()[-2:] == [
        "s.jsonl: 6 ok, 1 partial",
        "1 sample without every score: 1 too_short; 'reason' in s.jsonl says more",
    ]
    lines = json_lines(tmp_path / "s.jsonl")
    assert [line["row"] for line in lines] == list(range(7))
    assert all(list(line) == ["id", "row", "status", "metrics", "losses"] for line in (lines[0], *lines[2:]))
    assert all(list(line["metrics"]) == ["ifd", "r-ifd"] for line in lines)
    assert all(list(line["losses"]) == ["y|x", "y", "x|y", "x"] for line in lines)
    good = lines[0]
    assert all(list(loss) == ["nll", "tokens"] for loss in good["losses"].values())
    mean = {name: loss["nll"] / loss["tokens"] for name, loss in good["losses"].items()}
    assert good["metrics"]["ifd"] == pytest.approx(math.exp(mean["y|x"] - mean["y"]))
    assert good["metrics"]["r-ifd"] == pytest.approx(math.exp(mean["x|y"] - mean["x"]))
    partial = lines[1]
    assert partial["status"] == "partial"
    assert partial["metrics"]["ifd"] is None
    why = "one token with nothing before it: no prediction to score"
    assert partial["losses"]["y"] == {"nll": None, "tokens": 0, "reason": why}
    assert (
        list(partial) == ["id", "row", "status", "reason", "metrics", "losses"] and partial["reason"] == f"y|x: {why}"
    )
    # The same content twice: one id a row, the same numbers.
    assert lines[6]["id"].split("-") == [good["id"].split("-")[0], "1"]
    assert lines[6]["losses"] == good["losses"]


def test_a_sample_without_any_loss_has_the_status_of_its_reason(cli, tmp_path):
    """An empty response is empty by every metric of the preset, and nothing breaks."""
    write_json(tmp_path / "data.json", [{"instruction": "Say nothing.", "output": ""}, *rows(1)])
    done = cli("score", "data.json", "--student", "fake", "--out", "s.jsonl")
    assert done.out.splitlines()[-2:] == [
        "s.jsonl: 1 empty, 1 ok",
        "1 sample without every score: 1 empty; 'reason' in s.jsonl says more",
    ]
    empty, _ = json_lines(tmp_path / "s.jsonl")
    assert (empty["status"], empty["reason"]) == ("empty", "the response is empty")
    assert (empty["metrics"], empty["losses"]) == ({"ifd": None, "r-ifd": None}, {})


def test_a_count_has_no_loss_and_is_no_failure(cli, tmp_path):
    """The metric length: tokens, and a reason why there is no sum."""
    cli("score", "data.json", "--student", "fake", "--metric", "length", "--out", "s.jsonl")
    (line, *_) = json_lines(tmp_path / "s.jsonl")
    assert line["status"] == "ok"
    assert line["losses"] == {"len(y)": {"nll": None, "tokens": 15, "reason": "counted only"}}
    assert line["metrics"] == {"length": 15}


def test_the_metrics_of_the_preset_are_the_default(cli, tmp_path):
    """And a preset brings its template."""
    done = cli("score", "data.json", "--student", "fake", "--preset", "cherry", "--out", "s.jsonl")
    assert "preset cherry, template alpaca" in done.out
    assert list(json_lines(tmp_path / "s.jsonl")[0]["metrics"]) == ["ifd-loss"]


def test_scoring_again_and_with_another_metric_runs_no_model(cli, log, tmp_path):
    """The losses are kept beside the scores; a metric over known losses is arithmetic."""
    cli("score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl")
    first = (tmp_path / "s.jsonl").read_bytes()
    assert "forward" in log()
    cli("score", "data.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl")
    assert (tmp_path / "s.jsonl").read_bytes() == first
    cli("score", "data.json", "--student", "fake", "--metric", "ifd-loss", "--metric", "ppl", "--out", "s.jsonl")
    assert log() == []
    assert list(json_lines(tmp_path / "s.jsonl")[0]["metrics"]) == ["ifd-loss", "ppl"]
    cli("score", "data.json", "--student", "fake", "--metric", "r-ifd", "--out", "s.jsonl")
    assert "forward" in log()


def test_columns_can_be_named_on_the_command_line(cli, tmp_path):
    """Our field to the user's column, and a limit."""
    renamed = [{"question": row["instruction"], "answer": row["output"]} for row in rows(3)]
    write_json(tmp_path / "other.json", renamed)
    columns = ("--column", "instruction=question", "--column", "output=answer")
    done = cli("score", "other.json", *columns, "--limit", "2", "--student", "fake", "--out", "s.jsonl")
    assert done.code == 0
    assert len(json_lines(tmp_path / "s.jsonl")) == 2


# --- select and reflect -----------------------------------------------------------------------


def test_select_takes_the_best_by_scores_joined_by_id(cli, tmp_path, log):
    """The kept and the others add up, in input order, whatever the order of the score file; no model runs."""
    cli("score", "data.json", "--student", "fake", "--metric", "length", "--metric", "loss", "--out", "s.jsonl")
    log()
    lines = json_lines(tmp_path / "s.jsonl")
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    by = "{top: {metric: loss, count: 2}}"
    done = cli("select", "data.json", "--scores", "s.jsonl", "--by", by, "--out", "top.json", "--dropped", "rest.jsonl")
    assert (done.code, done.out) == (0, "top.json: 2 of 6 samples\n")
    best = sorted(sorted(lines, key=lambda line: -line["metrics"]["loss"])[:2], key=lambda line: line["row"])
    assert json.loads((tmp_path / "top.json").read_text()) == [rows(6)[line["row"]] for line in best]
    rest = json_lines(tmp_path / "rest.jsonl")
    assert rest == [row for number, row in enumerate(rows(6)) if number not in {line["row"] for line in best}]
    assert log() == []


def test_select_by_chance_is_repeatable(cli, tmp_path):
    """The seed decides."""
    cli("score", "data.json", "--student", "fake", "--metric", "length", "--out", "s.jsonl")
    chosen = []
    for seed in (1, 1, 2, 3, 4):
        by = f"{{random: {{count: 3, seed: {seed}}}}}"
        assert cli("select", "data.json", "--scores", "s.jsonl", "--by", by, "--out", f"{len(chosen)}.json").code == 0
        chosen.append((tmp_path / f"{len(chosen)}.json").read_text())
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


def test_reflect_rewrites_and_resumes(cli, tmp_path, log):
    """One rewrite a sample, kept without comparison; again, nothing is asked."""
    arguments = ("reflect", "data.json", "--teacher", "scripted", "--reflection", "response", "--out", "new.jsonl")
    done = cli(*arguments)
    assert done.code == 0
    assert done.out.splitlines()[-1] == "wrote new.jsonl"
    assert log().count("call") == 6
    lines = json_lines(tmp_path / "new.jsonl")
    assert [line["instruction"] for line in lines] == [row["instruction"] for row in rows(6)]
    assert all(line["output"].startswith("The answer to response ") for line in lines)
    assert (
        cli("reflect", "data.json", "--teacher", "scripted", "--reflection", "response", "--out", "new.jsonl").code == 0
    )
    assert log() == []


# --- plugins ----------------------------------------------------------------------------------


def test_plugins_list_names_every_part(cli):
    """Of every kind, and says that nothing else is installed."""
    done = cli("plugins", "list", plugin=False)
    for part in (
        "teacher litellm",
        "student hf",
        "metric r-ifd-loss",
        "selector length-matched",
        "reflection response",
        "template wizardlm",
        "format parquet",
        "stage gate",
        "executor local",
        "reporter console",
    ):
        assert f"{part} " in done.words
    assert done.words.endswith("No other plugins are installed.")
    assert cli("plugins", "list", "--load", plugin=False).out == "No other plugins are installed.\n"


def test_plugins_show_tells_options_and_source(cli):
    """Everything of that name, in every kind."""
    done = cli("plugins", "show", "hf", plugin=False)
    assert "teacher hf: a local transformers model" in done.words
    assert "student hf: a causal LM" in done.words
    assert "from plugin builtin, rt_framework.builtin.students.hf:HFStudent" in done.words
    assert "model str required" in done.words
    assert "revision str | None None" in done.words
    module = cli("plugins", "show", PLUGIN)
    assert f"student fake: losses are hashes from plugin {PLUGIN}, {PLUGIN}:NotedStudent" in module.words


def test_a_module_in_the_working_directory_is_a_plugin_by_name(cli, tmp_path):
    """-p MODULE finds it where the command is called; -p no:MODULE leaves it out again."""
    (tmp_path / "my_parts.py").write_text(
        "from rt_framework import hookimpl\n"
        "@hookimpl\ndef rt_register_metrics(register):\n"
        "    register('mine', 'rt_framework.builtin.metrics.plain:MeanLoss')\n"
    )
    arguments = ("score", "data.json", "--student", "fake", "--metric", "mine", "--out", "s.jsonl")
    done = rt("-p", PLUGIN, "-p", "my_parts", *arguments, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "mine" in json_lines(tmp_path / "s.jsonl")[0]["metrics"]
    left_out = rt("-p", PLUGIN, "-p", "my_parts", "-p", "no:my_parts", *arguments, cwd=tmp_path)
    assert the_error(left_out).startswith("unknown metric 'mine'.")

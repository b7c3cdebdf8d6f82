"""``rt doctor --student M DATA``: a few samples scored, and what is said of student, template and data."""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework import hookimpl
from rt_framework.config.schema import ScoringConfig
from rt_framework.jobs.sample_findings import METRICS, Looked, findings
from rt_framework.jobs.shown_parts import PARTS
from rt_framework.kit.parts import Spec
from rt_framework.model import Turn
from rt_framework.scoring import ScoringRules
from rt_framework.spans import SpanLoss
from rt_framework.testing.fakes import FakeStudent
from tests import chat_templates, tiny_models
from tests.helpers import REPO, Cli, rows, write_json
from tests.reliability.test_18_hostile_text import NAMES, harmless, hostile_rows

HERE = "tests.test_doctor_sample"


class Kind(FakeStudent):
    """A student that whatever stands before a target helps."""

    def _loss(self, span):
        tokens = len(span.ids) - span.start
        return SpanLoss(tokens * (1.0 if span.start > 1 else 2.0), tokens)


class Deaf:
    """A template that leaves the pair out of every prompt."""

    def prompt(self, pair):
        return (Turn("user", ""), Turn("assistant", "Yes?"), Turn("user", "Go on."))

    def reverse(self, pair):
        return self.prompt(pair)

    def header(self):
        return (Turn("user", ""),)


@hookimpl
def rt_register_students(register):
    register("kind", f"{HERE}:Kind")


@hookimpl
def rt_register_templates(register):
    register("deaf", f"{HERE}:Deaf")


@pytest.fixture
def doctor(monkeypatch, capfd, tmp_path):
    """``rt doctor`` in an empty folder, with fakes; gives the marks and findings by what they are about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setenv("COLUMNS", "4000")
    cli = Cli(monkeypatch, capfd)

    def call(*arguments, code=0):
        done = cli("-p", HERE, "doctor", *arguments)
        assert (done.code, done.err) == (code, ""), done
        return done

    return call


def said(done, what):
    """Mark and finding of one line of the table."""
    flat = re.sub(r"\n {3,}", " ", done.out)
    found = re.search(rf"^ *(ok|CHECK|WRONG) +{re.escape(what)} +(.*?)$", flat, re.MULTILINE | re.DOTALL)
    assert found, done.out
    return found[1], " ".join(found[2].split())


# --- the command ------------------------------------------------------------------------------


def test_a_sample_of_the_data_is_scored(doctor, tmp_path):
    """As many as asked for, from all of it; what fits is said to fit, and how long all will take."""
    write_json(tmp_path / "data.json", rows(200))
    done = doctor("data.json", "--student", "kind")
    assert said(done, "sample") == ("ok", "64 of 200 samples, drawn at random")
    assert said(done, "scored by") == ("ok", "preset chat, template chat")
    assert said(done, "length")[0] == "ok"
    assert said(done, "numbers") == ("ok", "every sample has both scores")
    for metric in METRICS:
        mark, told = said(done, metric)
        assert mark == "ok"
        assert "median 0.37" in told and "above 1 in 0 of 64 samples (0.0 %); up to 10 % is usual" in told
    assert re.search(r"^\d+ tokens in .* Scoring all 200 samples by .* takes about 0:0", said(done, "pace")[1])
    assert done.words.endswith("nothing is wrong")
    assert said(doctor("data.json", "--student", "kind", "-n", 5), "sample")[1].startswith("5 of 200")
    assert said(doctor("data.json", "--student", "kind", "-n", 999), "sample")[1].startswith("200 of 200")


def test_what_hints_at_a_wrong_template_is_marked_and_is_no_error(doctor, tmp_path):
    """A student to whom the instruction means nothing: about half of the scores are above 1."""
    write_json(tmp_path / "data.json", rows(100))
    done = doctor("data.json", "--student", "fake")
    for metric in METRICS:
        assert said(done, metric)[0] == "CHECK"
    assert "try another --template or preset chat" in said(done, "ifd")[1]
    assert done.words.endswith("nothing is wrong, 2 marked CHECK")


def test_the_draw_is_that_of_the_seed(doctor, tmp_path):
    """The order of the rows does not matter."""
    data = rows(100)

    def told(*arguments):
        return said(doctor("data.json", "--student", "fake", "-n", 20, *arguments), "ifd")

    write_json(tmp_path / "data.json", data)
    first = told()
    write_json(tmp_path / "data.json", data[::-1])
    assert told() == first
    assert told("--seed", 1) != first


def test_nothing_is_left_behind(doctor, tmp_path, monkeypatch):
    """Neither beside the data nor in the folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    write_json(tmp_path / "data.json", rows(20))
    doctor("data.json", "--student", "kind")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data.json", "temporary"]


def test_samples_without_a_score_are_told_with_their_reason(doctor, tmp_path):
    """A few are no matter, many are, none at all is wrong."""
    empty = [{"instruction": f"Say nothing {n} times.", "input": "", "output": ""} for n in range(40)]
    write_json(tmp_path / "data.json", rows(39) + empty[:1])
    mark, told = said(doctor("data.json", "--student", "kind"), "numbers")
    assert (mark, told) == ("ok", "1 of 40 samples (2.5 %) lack a score: 1 empty (the response is empty)")
    write_json(tmp_path / "data.json", rows(20) + empty[:20])
    assert said(doctor("data.json", "--student", "kind"), "numbers")[0] == "CHECK"
    write_json(tmp_path / "data.json", empty)
    done = doctor("data.json", "--student", "kind", code=2)
    assert said(done, "numbers")[0] == "WRONG"
    assert said(done, "ifd") == ("WRONG", "no sample has this score")


def test_a_config_is_still_looked_at_as_one(doctor, tmp_path):
    """By its name; data without a student is only read."""
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text("data: {path: data.json}\nstudent: fake\npipeline: [{measure: [ifd]}]\n")
    assert said(doctor("rt.yaml"), "rt.yaml") == ("ok", "1 stage")
    assert "6 samples; give --student to score a few of them" in doctor("data.json").words
    assert "no such file" in said(doctor("none.json", "--student", "kind", code=2), "none.json")[1]
    wrong = doctor("data.json", "--student", "kind", "--template", "none", "--shape", "sharegpt", code=2)
    assert said(wrong, "data.json")[0] == "WRONG"


@pytest.mark.parametrize("name", NAMES)
def test_hostile_texts_are_harmless(name, doctor, tmp_path):
    """In data, and in its name."""
    write_json(tmp_path / name, hostile_rows())
    assert harmless(doctor(name, "--student", "kind").out)
    assert harmless(doctor(f"none {name}", "--student", "kind", code=2).out)


# --- real tokenizers, tiny models -------------------------------------------------------------


@pytest.mark.parametrize(
    ("bos", "rules", "words"),
    [
        (True, ("--preset", "selective-rt"), "the tokenizer adds a BOS token before every text"),
        (False, ("--preset", "selective-rt"), "that forward pass counts one token less"),
        (False, ("--preset", "cherry"), "this does not matter: words of the template precede every target"),
        (False, ("--template", "none"), "both forward passes leave out the first token of a target"),
    ],
)
def test_a_missing_bos_is_told_with_what_it_means(bos, rules, words, doctor, tmp_path):
    """For the preset that was chosen."""
    model = tiny_models.save(tmp_path / "model", tiny_models.llama(512), tiny_models.tokenizer(bos))
    write_json(tmp_path / "data.json", rows(3))
    done = doctor("data.json", "--student", f"hf:{model}", *rules)
    assert words in said(done, "BOS")[1]


def test_targets_that_do_not_fit_are_counted(doctor, tmp_path):
    """The doctor counts answers that are cut and answers that have no room at all, and names the limit."""
    tokens = tiny_models.tokenizer(chat=tiny_models.CHAT)
    model = tiny_models.save(tmp_path / "model", tiny_models.llama(2048), tokens)
    fits = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}!"} for n in range(6)]
    cut = [{"instruction": "Count.", "input": "", "output": " ".join(map(str, range(300)))} for _ in range(3)]
    lost = [{"instruction": "Read: " + " ".join(map(str, range(300))), "input": "", "output": "Done."}]
    write_json(tmp_path / "data.json", fits + cut + lost)
    whole = said(doctor("data.json", "--student", f"hf:{model}"), "length")
    assert whole[0] == "ok" and whole[1].startswith("every target fits (the model's own limit); the longest sequence")
    mark, told = said(doctor("data.json", "--student", f"hf:{model}", "--max-tokens", 400), "length")
    assert mark == "CHECK"
    assert "4 of 10 samples (40.0 %) have a target that is cut at its end" in told, told
    assert "(max_tokens 400)" in told


def conversation(number):
    """A row with everything that a chat template may leave out."""
    call = {"type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": f"Oslo {number}"})}}
    return {
        "messages": [
            {"role": "user", "content": f"Who lives at number {number}?"},
            {"role": "assistant", "content": "The miller.", "reasoning_content": "Houses have people in them."},
            {"role": "user", "content": "And the weather there?"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "1", **call}]},
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
            {"role": "assistant", "content": "It rains.", "reasoning_content": "The tool says so."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    }


@pytest.mark.parametrize(
    ("template", "unseen"),
    [
        ("PLAIN", {"schemas of tools", "earlier calls", "reasoning", "earlier reasoning"}),
        ("REASONING", {"schemas of tools", "earlier calls", "earlier reasoning"}),
        ("TOOLS", set()),
    ],
)
def test_what_the_chat_template_leaves_out_is_told(template, unseen, doctor, tmp_path):
    """Of the parts that the data has; earlier reasoning is no reason to worry."""
    tokens = tiny_models.tokenizer(chat=getattr(chat_templates, template))
    model = tiny_models.save(tmp_path / "model", tiny_models.llama(2048), tokens)
    write_json(tmp_path / "data.json", [conversation(number) for number in range(5)])
    done = doctor("data.json", "--student", f"hf:{model}")
    for part in PARTS:
        mark, told = said(done, part)
        assert ("leaves this part out in 5 of the 5 samples with it: " in told) is (part in unseen), told
        assert mark == ("CHECK" if part in unseen - {"earlier reasoning"} else "ok")
    write_json(tmp_path / "plain.json", rows(5))
    assert not any(part in doctor("plain.json", "--student", f"hf:{model}").out for part in PARTS)


# --- what it means ----------------------------------------------------------------------------


def looked(**changes):
    """Return the findings about 64 good samples, by subject; *changes* replace what was measured."""
    config = ScoringConfig()
    whole = Looked(
        framing=ScoringRules.of(config),
        total=10_000,
        drawn=64,
        leads=True,
        headed=True,
        cut=0,
        longest=300,
        shown={},
        values={name: tuple(0.5 for _ in range(64)) for name in METRICS},
        without={},
        tokens=6400,
        seconds=10.0,
        path="packed rows",
        all_seconds=1562.5,
    )
    return {one.what: one for one in findings(evolve(whole, **changes))}


@pytest.mark.parametrize(("above", "mark"), [(0, "ok"), (6, "ok"), (11, "ok"), (16, "CHECK"), (64, "CHECK")])
def test_a_share_above_one_is_a_hint_where_chance_does_not_explain_it(above, mark):
    """The lower end of its interval has to pass the usual share."""
    values = tuple([1.2] * above + [0.5] * (64 - above))
    found = looked(values={"ifd": values, "r-ifd": (0.5,)})
    assert found["ifd"].mark == mark
    assert f"above 1 in {above} of 64 samples" in found["ifd"].finding
    assert found["r-ifd"].mark == "ok"


def test_the_pace_is_that_of_the_sample():
    """And the time that of the whole data."""
    assert looked()["pace"].finding == (
        "6400 tokens in 10.0 s, 640/s without loading the model. Scoring all 10000 samples by ifd and r-ifd takes "
        "about 0:26:02 here, estimated from their characters"
    )


def test_an_unknown_template_is_named():
    """As the config has it."""
    framing = ScoringRules.of(ScoringConfig("cherry", Spec("wizardlm")))
    assert looked(framing=framing)["scored by"].finding == "preset cherry, template wizardlm"
    assert "max_tokens 1024" in looked(framing=framing)["length"].finding


# --- a real model -----------------------------------------------------------------------------


def shares(done):
    """Share of scores above 1, by metric."""
    return {name: float(re.search(r"\(([\d.]+) %\); up to", said(done, name)[1])[1]) / 100 for name in METRICS}


@pytest.mark.model
def test_the_right_template_passes_and_a_deaf_one_does_not(doctor, smollm2_saved, tmp_path):
    """On short samples of the demo, with a model that was tuned for chat."""
    samples = json.loads((REPO / "demo" / "samples.json").read_text("utf-8"))
    answered = sorted((row for row in samples if len(row["output"]) > 20), key=lambda row: sum(map(len, row.values())))
    write_json(tmp_path / "short.json", answered[4:16])
    right = doctor("short.json", "--student", f"hf:{smollm2_saved}")
    assert [said(right, name)[0] for name in METRICS] == ["ok", "ok"], right.out
    wrong = doctor("short.json", "--student", f"hf:{smollm2_saved}", "--template", "deaf")
    assert said(wrong, "ifd")[0] == "CHECK", wrong.out
    assert shares(wrong)["ifd"] > shares(right)["ifd"] + 0.1


@pytest.mark.model
@pytest.mark.slow
def test_real_rows_pass_and_those_of_others_do_not(doctor, smollm2_saved, tmp_path):
    """On Alpaca's rows, which are not part of the repository: RT_TEST_ALPACA names the file."""
    path = Path(os.environ.get("RT_TEST_ALPACA", "none"))
    if not path.is_file():
        pytest.skip("needs Alpaca's rows: RT_TEST_ALPACA names their file")
    right = doctor(path, "--student", f"hf:{smollm2_saved}", "-n", 64)
    assert [said(right, name)[0] for name in METRICS] == ["ok", "ok"], right.out
    deaf = doctor(path, "--student", f"hf:{smollm2_saved}", "--template", "deaf", "-n", 64)
    assert said(deaf, "ifd")[0] == "CHECK", deaf.out
    data = json.loads(path.read_text("utf-8"))
    answers = [row["output"] for row in data]
    random.Random(1).shuffle(answers)
    write_json(tmp_path / "mixed.json", [row | {"output": text} for row, text in zip(data, answers, strict=True)])
    mixed = doctor("mixed.json", "--student", f"hf:{smollm2_saved}", "-n", 64)
    assert said(mixed, "ifd")[0] == "CHECK", mixed.out

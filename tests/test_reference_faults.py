"""Known faults of published code for this method: one test each, whose docstring states the fault.

The list is that of the method's specification, in its order. Every test fails when the fault is put back.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from rt_framework import Reply, Score, Scored, Span, SpanLoss, TeacherError, Turn, Unparsed, Version
from rt_framework.builtin.metrics.ratios import IFD, RIFD, IFDLoss, RIFDLoss
from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.prompt_files import packaged_prompt
from rt_framework.builtin.reflections.response import ResponseReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.builtin.selectors.dataset import Top
from rt_framework.builtin.selectors.settings import TopSettings
from rt_framework.builtin.students import head
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.templates.chat import Chat
from rt_framework.config.pipelines import PIPELINES
from rt_framework.config.schema import Data, ScoringConfig
from rt_framework.data import open_source
from rt_framework.errors import ConfigError, ModelError, PluginError
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.jobs.selecting import select_file
from rt_framework.kit.fences import END, marker, token_of
from rt_framework.kit.parts import Spec
from rt_framework.plugin.host import Host
from rt_framework.scoring.presets import PRESETS, preset
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import EncodedSpan, Loss
from rt_framework.teacher import sending
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests import tiny_models as tiny
from tests.run_helpers import GATES, SELECTIVE, go, job, json_lines, pair, pair_of, row, rows, side, write_json

OLD = pair(1)
ASK = (Turn("user", "What is 12 times 7?"),)


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(sending, "backoff", lambda *_: 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A random model of a few kilobytes; its tokenizer has no BOS, like GPT-2's."""
    tokens = tiny.tokenizer(chat="{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>")
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.llama(512), tokens)


@pytest.fixture
def student(model) -> HFStudent:
    return HFStudent(HFSettings(model, device="cpu"))


def encoded(student: Any, *spans: Span) -> list[EncodedSpan]:
    found = student.encode(spans)
    assert all(isinstance(span, EncodedSpan) for span in found), found
    return list(found)


def score(data: Path, out: Path, student: str, preset_name: str, *metrics: str, **more: Any) -> list[dict[str, Any]]:
    """`rt score`, read back as strict JSON: NaN and Infinity are no JSON."""
    host = Host(modules=["tests.fakes_plugin"], only=[])
    config = ScoringConfig(preset_name, **more)
    asyncio.run(
        score_file(host, open_source(host, Data(str(data))), Scorers(tuple(metrics), Spec.parse(student), config), out)
    )

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in out.read_text().splitlines()]


# --- scoring ----------------------------------------------------------------------------------


class Failing(FakeStudent):
    """A student that fails on every target with the word ``unscorable``."""

    fingerprint = "failing"

    def encode(self, spans):
        found = super().encode(spans)
        return [
            SpanLoss(None, 0, "no_room", "does not fit") if "unscorable" in span.target else one
            for span, one in zip(spans, found, strict=True)
        ]


def test_a_failure_is_not_a_score_of_zero(tmp_path):
    """Fault: a bare `except` returns 0, so a failure has IFD 0, passes every gate `< 1` and wins every argmin."""
    data = [row(0, output="unscorable"), row(1)]
    go(job(tmp_path, data, GATES, teacher=None), tmp_path / "gate", student=Failing())
    first, second = side(tmp_path / "gate")
    assert (first["outcome"], first["reason"]) == ("dropped", "gate ifd: not scored (no_room)")
    assert first["scores"]["original"]["ifd"] == {"status": "no_room", "reason": "y|x: does not fit"}
    assert isinstance(second["scores"]["original"]["ifd"], float)

    def unscorable(request):
        parts = json.loads(rewriting(request))
        return json.dumps(parts | {name: "unscorable text" for name in ("instruction", "response") if name in parts})

    for metric in ("r-ifd", "ifd"):
        pipeline = [{"reflect": "instruction"}, {"choose": {"lowest": metric}}]
        run_dir = tmp_path / f"choose-{metric}"
        go(job(tmp_path, [row(1)], pipeline), run_dir, ScriptedTeacher(unscorable), Failing())
        (line,) = side(run_dir)
        assert line["scores"]["instruction"][metric]["status"] == "no_room"
        assert line["kept"] == "original"
    rows_ = [Scored("a", 0, Version("original", OLD), {"ifd": Score(None, "oom", "no memory")})]
    assert not Top(TopSettings("ifd", count=1, order="lower")).select(rows_)[0].keep


def test_a_prompt_longer_than_the_window_is_a_status_and_valid_json(tmp_path, model):
    """Fault: a prompt longer than the window gives NaN, written as invalid JSON."""
    data = write_json(tmp_path / "data.json", [row(0, instruction="Name things. " * 300), row(1)])
    long, short = score(data, tmp_path / "out.jsonl", f"hf:{model}", "selective-rt", "ifd", "r-ifd")
    assert (long["status"], long["metrics"]["ifd"]) == ("partial", None)
    assert long["losses"]["y|x"]["nll"] is None
    assert "no room for the target" in long["losses"]["y|x"]["reason"]
    assert short["status"] == "ok"
    assert all(math.isfinite(value) for value in short["metrics"].values())


def test_both_passes_score_the_same_tokens(student):
    """Fault: GPT-2-like tokenizers without BOS score n−1 tokens in one pass and n in the other.

    `chat` is free of it, for turns of conversations too, and where nothing at all stands before the target. The
    frozen presets count as published.
    """
    frame = PresetSpans(preset("chat"), Chat(), None)
    talk = pair(1, history=(Turn("user", "Hi."), Turn("assistant", "Good morning.")))
    for one in (OLD, talk):
        both = (
            (frame.response_given_instruction(one), frame.response_alone(one)),
            (frame.instruction_given_response(one), frame.instruction_alone(one)),
        )
        for given, alone in both:
            for left, right in zip(encoded(student, *given), encoded(student, *alone), strict=True):
                assert left.ids[left.start :] == right.ids[right.start :]
    left, right = encoded(student, Span(ASK, "It is 84.", "ids", ""), Span("", "It is 84.", "ids", ASK))
    assert left.ids[left.start :] == right.ids[right.start :]
    ask = "What is 12 times 7?\n"
    left, right = encoded(student, Span(ask, "It is 84."), Span("", "It is 84.", paired_context=ask))
    assert len(left.ids) - left.start == len(right.ids) - right.start + 1


def test_a_target_is_found_by_its_place(student):
    """Fault: a target found by the last occurrence of its text can be found inside the input."""
    context, target = "Copy: blue. Say blue. Then: ", "blue."
    whole, before = encoded(student, Span(context, target), Span(context, " x"))
    boundary = before.start
    assert whole.start == boundary
    # Cut so that only a part of the target is left: its text now occurs in the context alone.
    (cut,) = encoded(student, Span(context, target, max_tokens=boundary + 1))
    assert (cut.start, len(cut.ids)) == (boundary, boundary + 1)
    (gone,) = student.encode([Span(context, target, max_tokens=boundary)])
    assert (gone.nll, gone.status) == (None, "no_room")


def test_an_empty_instruction_is_a_status(tmp_path, model):
    """Fault: an empty instruction gives NaN, and an IFD that says nothing."""
    data = write_json(tmp_path / "data.json", [row(1, instruction=""), row(2)])
    empty, full = score(data, tmp_path / "out.jsonl", f"hf:{model}", "selective-rt", "ifd", "r-ifd")
    assert (empty["status"], empty["reason"]) == ("empty", "the instruction is empty")
    assert (empty["metrics"], empty["losses"]) == ({"ifd": None, "r-ifd": None}, {})
    assert full["status"] == "ok"


def test_batches_are_large_and_logits_are_of_targets_only(student, monkeypatch):
    """Fault: batch size 1, full logits, hidden states kept, and the same prompt computed for every loss."""
    spans = encoded(student, *(Span("12 times 7? ", f"It is {number}.") for number in range(5)))
    assert student.packs
    seen: dict[str, list[Any]] = {"fed": [], "logits": []}

    def linear(states, weight, bias=None):
        seen["logits"].append(len(states))
        return torch.nn.functional.linear(states, weight, bias)

    monkeypatch.setattr(head, "linear", linear)
    body = student._way.losses._model.base_model.register_forward_hook(
        lambda module, args, out: seen["fed"].append((out.last_hidden_state.shape[1], out.hidden_states))
    )
    student.score(spans)
    body.remove()
    ((fed, kept),) = seen["fed"]
    assert kept is None
    assert fed == len({span.ids[:end] for span in spans for end in range(1, len(span.ids))})
    assert fed < sum(len(span.ids) - 1 for span in spans) / 2
    assert set(seen["logits"]) == {sum(len(span.ids) - span.start for span in spans)}


def test_one_wave_of_samples_is_few_batches(tmp_path):
    """Fault: batch size 1. Core fills batches from samples that ask one by one."""
    student = FakeStudent()
    go(job(tmp_path, rows(20), GATES, teacher=None), tmp_path / "run", student=student)
    assert student.forward_spans > 10 * student.forward_passes


# --- reflection -------------------------------------------------------------------------------


def complete(parts: dict[str, str], structured: bool, token: str) -> str:
    """An answer in the form asked for."""
    if structured:
        return json.dumps(parts)
    return "\n".join([*(f"{marker(name, token)}\n{text}" for name, text in parts.items()), marker(END, token)])


def parsed(parts: dict[str, str], structured: bool = True, finish: str = "stop", before: str = "") -> Any:
    """Return the reflection's result for an answer with these parts."""
    kind = InstructionReflection if "instruction" in parts else ResponseReflection
    reflection = kind(ReflectionSettings())
    text = before + complete(parts, structured, token_of(OLD))
    return reflection.parse(OLD, reflection.render(OLD, 0, structured), Reply(text, finish))


GOOD = {"critique": "Too short.", "instruction": "Explain why corks float.", "response": "Corks hold much air."}


def test_every_response_reflection_reaches_the_data_set(tmp_path):
    """Fault: the response post-processor never appends and always writes an empty list."""
    pipeline = [{"reflect": "response"}, {"choose": "newest"}]
    go(job(tmp_path, rows(5), pipeline, student=None), tmp_path / "run")
    kept = json.loads((tmp_path / "run/kept.json").read_text())
    expected = [f"The answer to response {start} is long." for start in hashes(rows(5))]
    assert [one["output"] for one in kept] == expected
    assert [one["instruction"] for one in kept] == [one["instruction"] for one in rows(5)]


def hashes(data: list[dict[str, str]]) -> list[str]:
    """The beginnings of the pairs' hashes."""
    return [pair_of(one).hash[:8] for one in data]


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("text", ["Endothermic reactions absorb heat.", "The End of the war.", "[End]", "End"])
def test_a_text_with_the_word_end_is_whole(text, structured):
    """Fault: the terminator matches a bare "End": "Endothermic…" becomes empty, "The End of…" becomes "The"."""
    assert parsed({"critique": "The End.", "response": text}, structured).response == text
    assert parsed(GOOD | {"instruction": text}, structured).instruction == text


@pytest.mark.parametrize("structured", [True, False])
def test_an_echo_of_the_form_is_never_the_answer(structured):
    """Fault: the first of two markers wins, so an echoed format line becomes the answer."""
    form = {name: f"<{part.meaning}>" for name, part in packaged_prompt("instruction").form.parts.items()}
    echo = complete(form, structured, token_of(OLD)) + "\n"
    for answer in (parsed(GOOD, structured, before=echo), parsed(form, structured)):
        assert isinstance(answer, Unparsed)
        assert answer.kind == "format"


def test_of_two_answers_neither_is_taken():
    """Fault: the first of two markers wins. A part that occurs twice is no part, whatever it says."""
    token = token_of(OLD)
    draft = f"{marker('critique', token)}\nNone.\n{marker('response', token)}\nA first try.\n"
    for answer in (
        parsed({"critique": "Too short.", "response": "Corks hold much air."}, structured=False, before=draft),
        parsed({"critique": f"Too short.\n{marker('response', token)}\nA cork.", "response": "Air."}, structured=False),
    ):
        assert isinstance(answer, Unparsed)
        assert answer.kind == "format"
    reflection = ResponseReflection(ReflectionSettings())
    twice = '{"critique": "Too short.", "response": "A first try.", "response": "Corks hold much air."}'
    assert isinstance(reflection.parse(OLD, reflection.render(OLD, 0, True), Reply(twice)), Unparsed)


@pytest.mark.parametrize("structured", [True, False])
def test_an_answer_cut_off_by_the_token_limit_is_not_taken(structured):
    """Fault: a completion cut by the token limit is taken as complete."""
    cut = parsed(GOOD, structured, finish="length")
    assert isinstance(cut, Unparsed)
    assert cut.kind == "truncated"
    assert parsed(GOOD, structured).response == GOOD["response"]


@pytest.mark.parametrize("structured", [True, False])
def test_a_pair_is_taken_whole_or_not_at_all(structured, tmp_path):
    """Fault: placeholders tested by substring throw away half of a pair and keep the other half: mismatched pairs."""
    parts = packaged_prompt("instruction").form.parts
    meaning = parts["instruction"].meaning
    like = f"Write an XML file with <instruction> and </instruction>, and say what {meaning} means here."
    assert parsed(GOOD | {"instruction": like}, structured).instruction == like
    assert parsed(GOOD | {"instruction": like}, structured).response == GOOD["response"]
    for part in GOOD:
        for text in (f"<{parts[part].meaning}>", "", f"<{part}>"):
            assert isinstance(parsed(GOOD | {part: text}, structured), Unparsed)


def test_half_an_answer_leaves_the_original_pair(tmp_path):
    """Fault: one half of a pair is replaced and the other kept. An unusable answer changes nothing."""

    def half(request):
        return json.dumps(json.loads(rewriting(request)) | {"response": "<the new response to the new instruction>"})

    pipeline = [{"reflect": "instruction"}, {"choose": "newest"}]
    go(job(tmp_path, rows(3), pipeline, student=None), tmp_path / "run", ScriptedTeacher(half))
    assert json.loads((tmp_path / "run/kept.json").read_text()) == rows(3)


@pytest.mark.parametrize("reflection", ["instruction", "response"])
def test_a_retry_is_another_request(reflection, tmp_path):
    """Fault: a retry sends the identical prompt at temperature 0."""
    teacher = ScriptedTeacher(lambda request: "of no use")
    config = job(tmp_path, rows(1), [{"reflect": reflection}], student=None, limits={"answers": 3})
    go(config, tmp_path / "run", teacher)
    first, second, third = teacher.requests
    assert len({request.messages for request in teacher.requests}) == 3
    assert first.sampling.temperature == 0
    assert second.sampling.temperature > 0
    assert second.sampling.seed != third.sampling.seed


def test_one_failing_call_fails_no_other_and_ends(tmp_path):
    """Fault: one failing call fails its batch, which is retried for ever."""
    calls: Counter[str] = Counter()
    victim = hashes(rows(6))[2]

    def answer(request):
        calls[request.pair_hash[:8]] += 1
        if request.pair_hash.startswith(victim):
            raise TeacherError("overloaded", "server error")
        return rewriting(request)

    pipeline = [{"reflect": "response"}, {"choose": "newest"}]
    config = job(tmp_path, rows(6), pipeline, student=None, limits={"attempts": 3})
    summary = go(config, tmp_path / "run", ScriptedTeacher(answer))
    assert summary.outcomes == {"rewritten": 5, "original": 1, "dropped": 0, "failed": 0}
    assert calls.pop(victim) == 3
    assert set(calls.values()) == {1}


def test_every_answer_is_saved_when_it_arrives(tmp_path):
    """Fault: nothing is saved until the end."""
    found = []

    def answer(request):
        db = sqlite3.connect(f"file:{tmp_path}/run/ledger.sqlite?mode=ro", uri=True)
        found.append(db.execute("SELECT COUNT(*) FROM calls WHERE answer IS NOT NULL").fetchone()[0])
        db.close()
        return rewriting(request)

    config = job(tmp_path, rows(5), [{"reflect": "response"}], student=None, limits={"concurrency": 1})
    go(config, tmp_path / "run", ScriptedTeacher(answer))
    assert found == [0, 1, 2, 3, 4]


# --- selection --------------------------------------------------------------------------------


def ranked(count: int) -> list[Scored]:
    """Samples with falling scores below 1."""
    return [
        Scored(f"s{number}", number, Version("original", pair(number)), {"ifd": Score(1 - (number + 1) / 1000)})
        for number in range(count)
    ]


def test_a_share_that_rounds_to_nothing_does_not_select_everything():
    """Fault: a top-k that rounds to 0 selects everything."""
    for count in range(1, 20):
        verdicts = Top(TopSettings("ifd", fraction=0.05)).select(ranked(count))
        assert [verdict.keep for verdict in verdicts] == [True] + [False] * (count - 1)


@pytest.mark.parametrize("count", [10, 37, 400])
def test_a_share_is_of_the_data_set_at_hand(count):
    """Fault: a hard-coded data set size."""
    verdicts = Top(TopSettings("ifd", fraction=0.1)).select(ranked(count))
    assert sum(verdict.keep for verdict in verdicts) == math.ceil(count / 10)


def test_scores_stay_with_their_rows_when_rows_are_inserted(tmp_path):
    """Fault: resume by line count misaligns when the input changes."""
    data, out = tmp_path / "data.json", tmp_path / "out.jsonl"
    before = score(write_json(data, rows(4)), out, "fake", "selective-rt", "ifd")
    after = score(write_json(data, [row(77), *rows(4)]), out, "fake", "selective-rt", "ifd")
    fresh = score(data, tmp_path / "fresh.jsonl", "fake", "selective-rt", "ifd")
    assert after == fresh
    assert [(line["id"], line["metrics"], line["row"]) for line in after[1:]] == [
        (line["id"], line["metrics"], line["row"] + 1) for line in before
    ]


def test_a_run_whose_data_changed_does_not_resume(tmp_path):
    """Fault: resume by line count misaligns when the input changes. A run says so and stops."""
    go(job(tmp_path, rows(3), GATES, teacher=None), tmp_path / "run")
    with pytest.raises(ConfigError, match="started with other settings"):
        go(job(tmp_path, [row(77), *rows(3)], GATES, teacher=None), tmp_path / "run")


def test_scores_are_joined_by_id(tmp_path):
    """Fault: two files joined by index though their order differs."""
    data, scores = write_json(tmp_path / "data.json", rows(9)), tmp_path / "scores.jsonl"
    lines = score(data, scores, "fake", "superfiltering", "ifd")
    host = Host(only=[])
    chosen = []
    for order in (1, -1):
        scores.write_text("".join(json.dumps(line) + "\n" for line in lines[::order]))
        by = Spec("top", {"metric": "ifd", "count": 3})
        select_file(host, open_source(host, Data(str(data))), scores, by, tmp_path / f"top{order}.json", None)
        chosen.append(json.loads((tmp_path / f"top{order}.json").read_text()))
    values = sorted((line["metrics"]["ifd"], line["row"]) for line in lines if line["metrics"]["ifd"] < 1)
    assert chosen[0] == chosen[1] == [rows(9)[number] for number in sorted(number for _, number in values[-3:])]


# --- elsewhere --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [IFD(), IFDLoss(), RIFD(), RIFDLoss()])
def test_default_ranges_keep_what_the_papers_keep(metric):
    """Fault: one tool's default range keeps exactly what the papers discard."""
    assert 0.7 in metric.valid
    assert 1.3 not in metric.valid


def test_default_gates_keep_what_the_papers_keep(tmp_path):
    """Fault: the range is turned round. What the named pipelines keep has scores below 1."""
    assert PIPELINES["selective-rt"][-1] == GATES[0]
    go(job(tmp_path, rows(12), "selective-rt"), tmp_path / "run")
    kept = [line for line in side(tmp_path / "run") if line["kept"]]
    assert kept
    assert all(line["scores"][line["kept"]][metric] < 1 for line in kept for metric in ("ifd", "r-ifd"))
    everything = [{"select": {"top": {"metric": "ifd", "fraction": 1.0}}}]
    go(job(tmp_path, rows(30), everything, teacher=None, scoring={"preset": "superfiltering"}), tmp_path / "top")
    values = [line["scores"]["original"]["ifd"] for line in side(tmp_path / "top") if line["kept"]]
    assert values
    assert max(values) < 1


@pytest.mark.parametrize(
    ("metric", "given", "alone"),
    [(IFD(), "y|x", "y"), (IFDLoss(), "y|x", "y"), (RIFD(), "x|y", "x"), (RIFDLoss(), "x|y", "x")],
)
def test_a_helpful_context_gives_a_ratio_below_one(metric, given, alone):
    """Fault: one tool inverts the ratio."""
    assert (
        metric.reduce({given: Loss(2.0, 2), alone: Loss(6.0, 2)})
        < 1
        < metric.reduce({given: Loss(6.0, 2), alone: Loss(2.0, 2)})
    )


def test_an_unknown_model_is_an_error(tmp_path):
    """Fault: one tool silently replaces a model id that it does not know by another model."""
    data, out = write_json(tmp_path / "data.json", rows(2)), tmp_path / "out.jsonl"
    with pytest.raises(ModelError, match="nowhere"):
        score(data, out, f"hf:{tmp_path}/nowhere", "selective-rt", "ifd")
    assert not out.exists()
    with pytest.raises(PluginError, match="unknown student 'hff'"):
        score(data, out, "hff:x", "selective-rt", "ifd")
    with pytest.raises(ConfigError, match="unknown preset"):
        score(data, out, "fake", "selective", "ifd")


def test_a_score_does_not_depend_on_batch_mates(tmp_path, model):
    """Fault: one tool lets a sample's score depend on its batch mates."""
    data = [row(0, output="A cork floats on water. " * 12), *rows(5)]
    whole = write_json(tmp_path / "data.json", data)
    together = score(whole, tmp_path / "all.jsonl", f"hf:{model}", "superfiltering", "ifd")
    for number, one in enumerate(data):
        path = write_json(tmp_path / f"{number}.json", [one])
        (alone,) = score(path, tmp_path / f"{number}.jsonl", f"hf:{model}", "superfiltering", "ifd")
        for name, loss in alone["losses"].items():
            assert together[number]["losses"][name]["nll"] == pytest.approx(loss["nll"], rel=1e-5)


def test_only_the_frozen_preset_lets_a_range_pass(tmp_path):
    """Fault: gibberish, which lands above 1, wins the choice and the sample is then lost at the gate.

    Kept as published in `selective-rt` alone.
    """
    assert [name for name, one in PRESETS.items() if not one.range_binds] == ["selective-rt"]
    for name, binds in (("selective-rt", False), ("superfiltering", True)):
        config = job(tmp_path, rows(12), SELECTIVE[:2], scoring={"preset": name})
        go(config, tmp_path / name)
        won = [
            json_line["scores"]["instruction"]["ifd"]
            for json_line in json_lines(tmp_path / name / "scores.jsonl")
            if json_line["kept"] == "instruction"
        ]
        assert won
        assert (max(won) < 1) is binds

"""Sixteen parts that third parties may want: each written in a few lines by the documentation, and put to use.

``tests/parts`` holds one file a part. ``python -m tests.test_sixteen_parts`` prints how many lines each has. What a
part computes is compared with a computation that shares no code with it.
"""

from __future__ import annotations

import ast
import io
import json
import math
import threading
import tokenize
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import rt_framework as rt
from rt_framework.testing import FakeStudent, rewriting
from tests import tiny_models as tiny
from tests.helpers import REPO, Cli, install
from tests.parts.asks_twice import AsksTwice
from tests.parts.compression import Compression
from tests.parts.input_removed import InputGain
from tests.run_helpers import pair_of, rows, write_json

PARTS = REPO / "tests" / "parts"
LINES = {
    "per_token.py": 14,
    "input_removed.py": 9,
    "compression.py": 6,
    "pareto.py": 25,
    "quota.py": 20,
    "tool_teacher.py": 95,
    "three_marks.py": 56,
    "asks_twice.py": 15,
    "critique.py": 33,
    "command.py": 22,
    "remote.py": 60,
    "best_of_four.yaml": 0,
    "second_round.yaml": 0,
    "own_answer.yaml": 0,
    "far_apart.py": 30,
    "neighbour.py": 25,
}
"""Most lines of code that each part may have. A config has none: it loads no module."""


def code_lines(path: Path) -> int:
    """The lines with code on them: no blank lines, comments, docstrings or imports; none in a config."""
    if path.suffix == ".yaml":
        return 0
    source = path.read_text("utf-8")
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in layout]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            lines -= set(range(node.lineno, int(node.end_lineno or 0) + 1))
    return len(lines)


@pytest.mark.parametrize("name", LINES)
def test_a_part_takes_no_more_lines_than_this(name):
    """A part that outgrows its number shows that the framework asks too much of its authors."""
    assert code_lines(PARTS / name) <= LINES[name]


def test_every_part_is_here():
    """And what they import is public, as ``tests/test_house.py`` checks."""
    assert {path.name for path in PARTS.iterdir() if path.is_file()} == set(LINES)


# --- what they are compared with ----------------------------------------------------------------


def nats(context: str, target: str) -> Sequence[float]:
    """The fake student's losses of all words of the target but the first, behind a context: preset ``chat``."""
    student = FakeStudent()
    (encoded,) = student.encode([rt.Span(context, target, by_token=True)])
    losses = student.score([encoded])[0].token_nll
    return losses[1:] if context else losses


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def asked(row: Mapping[str, str]) -> str:
    return f"{row['instruction']} {row['input']}"


def ifd(row: Mapping[str, str], response: str) -> float:
    """IFD of a response by its formula."""
    return math.exp(mean(nats(asked(row), response)) - mean(nats("", response)))


def chosen(row: Mapping[str, str], responses: Mapping[str, str]) -> str:
    """Name of the response with the highest IFD below 1; the first is the one that is held, and wins ties."""
    values = {name: value for name, text in responses.items() if (value := ifd(row, text)) < 1}
    return max(values, key=values.__getitem__, default=next(iter(responses)))


def recorded(path: Path, reflection: str, answers: Mapping[rt.Pair, Sequence[Mapping[str, Any] | str]]) -> None:
    """Write a file of answers for the teacher ``replay``: for each pair those of its draws, in order."""
    lines = [
        {"reflection": reflection, "pair": pair.hash, "index": 0, "draw": draw, "text": json.dumps(answer)}
        for pair, drawn in answers.items()
        for draw, answer in enumerate(drawn)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def score(rt_project) -> Callable[..., list[float]]:
    """Scores ten rows by a metric of a file, on the command line."""

    def scored(name: str, metric: str, *more: object) -> list[float]:
        write_json(rt_project.folder / "data.json", rows(10))
        words = ("score", "data.json", "--student", "fake", "--metric", metric, "--out", "s.jsonl", *more)
        done = rt_project.rt(*words, plugins=[str(PARTS / name)])
        assert done.code == 0, done.err
        return [line["metrics"][metric.partition("=")[0]] for line in rt_project.records("s.jsonl")]

    return scored


# --- metrics ----------------------------------------------------------------------------------


def test_a_metric_of_single_tokens(score):
    """The share of words that the question makes likelier."""
    expected = []
    for row in rows(10):
        given, alone = nats(asked(row), row["output"]), nats("", row["output"])
        expected.append(sum(after < before for after, before in zip(given, alone, strict=True)) / len(given))
    assert score("per_token.py", "helped") == pytest.approx(expected)
    assert len(set(expected)) > 3


def test_a_metric_with_the_input_removed():
    """Beside IFD, whose losses it shares; a row without input gains nothing."""
    table = rt.score(rows(6), FakeStudent(), ["ifd", InputGain()], progress=False)
    expected = [
        mean(nats(row["instruction"], row["output"])) - mean(nats(asked(row), row["output"])) for row in rows(6)
    ]
    assert [line["metrics"]["input-gain"] for line in table] == pytest.approx(expected)
    assert [bool(value) for value in expected] == [bool(row["input"]) for row in rows(6)]


def test_a_metric_of_texts():
    """Without a student; a response without text has no value, and not the value 0."""
    table = list(rt.score([*rows(3), {**rows(1)[0], "output": ""}], metrics=[Compression()], progress=False))
    texts = [row["output"].encode() for row in rows(3)]
    assert [line["metrics"]["compression"] for line in table[:3]] == [len(zlib.compress(t)) / len(t) for t in texts]
    assert (table[3]["status"], table[3]["metrics"]["compression"]) == ("nonfinite", None)


def test_a_metric_over_a_neighbour(score, tmp_path):
    """The demonstration that shares most words with the instruction comes first in the conversation."""
    shown = [{"instruction": f"Name {n} things that float.", "output": f"Boat {n}."} for n in (2, 5, 7)]
    path = write_json(tmp_path / "shown.json", shown)
    expected = []
    for number, row in enumerate(rows(10)):
        near = next((one for one in shown if f" {number} " in one["instruction"]), shown[0])
        before = f"{near['instruction']} {near['output']} {asked(row)}"
        expected.append(mean(nats(asked(row), row["output"])) - mean(nats(before, row["output"])))
    assert score("neighbour.py", f"near={{neighbour-gain: {path}}}") == pytest.approx(expected)


# --- selectors --------------------------------------------------------------------------------


def run(rt_project, part: str, pipeline: object, count: int, **more: object) -> list[dict[str, Any]]:
    """Run rows through a pipeline with the part of a file; return what became of them."""
    return rt_project.run(pipeline, str(PARTS / part), rows=rows(count), **more)


def test_a_pareto_front(rt_project):
    """Exactly the samples that no other one beats, by each pair of samples."""
    pipeline = [{"measure": ["ifd", "r-ifd"]}, {"select": {"pareto": {"ifd": "higher", "r-ifd": "lower"}}}]
    lines = run(rt_project, "pareto.py", pipeline, 60)
    scores = [line["scores"]["original"] for line in lines]
    inside = [one["ifd"] < 1 and one["r-ifd"] < 1 for one in scores]  # the ranges of the two metrics
    points = [(one["ifd"], -one["r-ifd"]) if fits else None for one, fits in zip(scores, inside, strict=True)]
    front = [
        point is not None and not any(o and o != point and o[0] >= point[0] and o[1] >= point[1] for o in points)
        for point in points
    ]
    assert [line["outcome"] == "original" for line in lines] == front
    assert 1 < sum(front) < sum(point is not None for point in points) < 60


def test_a_quota_by_a_column(rt_project):
    """Two of each topic, by the lengths of their responses; an unknown column is refused in one line."""
    data = [
        {**row, "topic": f"t{number % 3}", "output": "word " * (number * 7 % 11 + 1)}
        for number, row in enumerate(rows(9))
    ]
    plugin, pipeline = (
        str(PARTS / "quota.py"),
        [{"select": {"quota": {"column": "topic", "metric": "length", "each": 2}}}],
    )
    lines = rt_project.run(pipeline, plugin, rows=data, teacher=None)
    by_topic = {topic: [n for n, row in enumerate(data) if row["topic"] == topic] for topic in ("t0", "t1", "t2")}
    longest = {n for rows_ in by_topic.values() for n in sorted(rows_, key=lambda n: -len(data[n]["output"]))[:2]}
    assert {line["row"] for line in lines if line["outcome"] == "original"} == longest


def test_a_selector_over_the_students_embeddings(rt_project):
    """The next sample is always the one that is farthest from those that are kept."""
    lines = run(rt_project, "far_apart.py", [{"select": {"far-apart": 5}}], 12, teacher=None)
    student = FakeStudent()
    encoded = student.encode([rt.Span("", row["instruction"] + row["input"], "ids") for row in rows(12)])
    vectors = dict(zip([line["id"] for line in lines], student.embed(encoded), strict=True))
    kept = [min(vectors)]
    while len(kept) < 5:
        far = {name: min(math.dist(vectors[name], vectors[one]) for one in kept) for name in sorted(vectors)}
        kept.append(max(far, key=far.__getitem__))
    assert {line["id"] for line in lines if line["outcome"] == "original"} == set(kept)


# --- questions --------------------------------------------------------------------------------


def test_a_reflection_whose_marks_are_kept(rt_project):
    """A later gate and a later choice read them by name, and the ledger of the run has them."""
    marks = {n: {"accuracy": n % 5 + 1, "clarity": 3, "depth": 5 - n % 5} for n in range(10)}
    recorded(
        rt_project.folder / "answers.jsonl",
        "three-marks",
        {
            pair_of(row): [{"critique": "Thin.", "response": f"Better {n}.", **marks[n]}]
            for n, row in enumerate(rows(10))
        },
    )
    pipeline = [{"reflect": "three-marks"}, {"choose": {"highest": "clarity"}}, {"gate": {"accuracy": {"at_least": 3}}}]
    lines = run(rt_project, "three_marks.py", pipeline, 10, teacher="replay:answers.jsonl", student=None)
    assert [line["scores"]["three-marks"] for line in lines] == [marks[n] for n in range(10)]
    assert [line["outcome"] == "rewritten" for line in lines] == [marks[n]["accuracy"] >= 3 for n in range(10)]
    kept = json.loads((rt_project.folder / "runs/rt/kept.json").read_text())
    assert [row["output"] for row in kept] == [f"Better {n}." for n in range(10) if n % 5 >= 2]


def test_a_question_that_is_asked_twice(tmp_path):
    """Two answers that agree keep a sample, whatever they say; an answer that is neither is a failure."""
    said = [("yes", "Yes."), ("no", "yes"), ("No", "no"), ("yes", "perhaps"), ("perhaps", "perhaps")]
    lines = [
        {"reflection": "correct", "pair": pair_of(row).hash, "index": 0, "draw": draw, "text": text}
        for row, texts in zip(rows(5), said, strict=True)
        for draw, text in enumerate(texts)
    ]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = {"teacher": f"replay:{tmp_path / 'said.jsonl'}", "pipeline": [AsksTwice()], "limits": {"answers": 1}}
    finished = rt.run(job, rows(5), tmp_path / "run", progress=False)
    assert [row["outcome"] for row in finished.rows()] == ["original", "dropped", "original", "dropped", "dropped"]
    assert sum(bill.calls for bill in finished.cost.bills) == 10


def test_a_critique_whose_score_a_later_gate_reads(rt_project):
    """The mark is the current version's; a sample whose mark could not be read passes no gate."""
    marks = [*range(1, 11), 12]
    answers = {pair_of(row): [{"critique": "Thin.", "mark": mark}] for row, mark in zip(rows(11), marks, strict=True)}
    recorded(rt_project.folder / "answers.jsonl", "critique", answers)
    pipeline = ["criticised", {"gate": {"worth": {"at_least": 6}}}]
    limits = {"answers": 1, "fail_on_error": False}
    lines = run(rt_project, "critique.py", pipeline, 11, teacher="replay:answers.jsonl", student=None, limits=limits)
    assert [line["scores"]["original"]["worth"] for line in lines[:10]] == marks[:10]
    assert lines[10]["scores"]["original"]["worth"]["status"] == "format"
    assert [line["outcome"] for line in lines] == ["dropped"] * 5 + ["original"] * 5 + ["dropped"]


# --- pipelines of a config alone --------------------------------------------------------------


def run_config(rt_project, name: str, data: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Run a config of the parts as it is."""
    write_json(rt_project.folder / "data.json", data)
    done = rt_project.rt("run", rt_project.write("rt.yaml", (PARTS / name).read_text("utf-8")))
    assert done.code == 0, done.err
    return rt_project.records("runs/rt/scores.jsonl")


def test_two_teachers_and_the_best_of_four(rt_project):
    """Of nine responses the one with the highest IFD is kept."""
    data = rows(8)
    responses = [
        {"original": row["output"]}
        | {
            f"{name}.{draw}": f"{name} {draw} says that boat {n} floats"
            for name in ("strong", "cheap")
            for draw in (1, 2, 3, 4)
        }
        for n, row in enumerate(data)
    ]
    for name in ("strong", "cheap"):
        drawn = {
            pair_of(row): [{"critique": "Thin.", "response": texts[f"{name}.{draw}"]} for draw in (1, 2, 3, 4)]
            for row, texts in zip(data, responses, strict=True)
        }
        recorded(rt_project.folder / f"{name}.jsonl", "response", drawn)
    lines = run_config(rt_project, "best_of_four.yaml", data)
    expected = [chosen(row, texts) for row, texts in zip(data, responses, strict=True)]
    assert [line["kept"] for line in lines] == expected
    assert {name.partition(".")[0] for name in expected} >= {"strong", "cheap"}


def test_a_second_round_with_other_options(rt_project):
    """It asks about what the first round kept."""
    data, expected = rows(8), []
    for row in data:
        pair, name = pair_of(row), "original"
        for called in ("response", "second"):
            request = rt.Request("response", pair.hash, 0, (), rt.Sampling())
            rewrite = json.loads(rewriting(request))["response"]
            rewritten = called if name == "original" else f"{name}.{called}"
            name = chosen(row, {name: pair.response, rewritten: rewrite})
            pair = rt.Pair(pair.instruction, pair.input, rewrite) if name == rewritten else pair
        expected.append(name)
    lines = run_config(rt_project, "second_round.yaml", data)
    assert [line["kept"] for line in lines] == expected
    assert len(set(expected)) > 2


def test_the_students_own_answer_as_a_candidate(rt_project):
    """The student's answer, the teacher's and the original: the highest IFD is kept."""
    data, expected = rows(8), []
    taught = {pair_of(row): f"The teacher says that boat {n} floats" for n, row in enumerate(data)}
    answers = {pair: [{"critique": "Thin.", "response": text}] for pair, text in taught.items()}
    recorded(rt_project.folder / "taught.jsonl", "response", answers)
    for row in data:
        pair = pair_of(row)
        own = json.loads(rewriting(rt.Request("response", pair.hash, 0, (), rt.Sampling())))["response"]
        expected.append(chosen(row, {"original": row["output"], "taught": taught[pair], "own": own}))
    lines = run_config(rt_project, "own_answer.yaml", data)
    assert [line["kept"] for line in lines] == expected
    assert {"taught", "own"} <= set(expected)


# --- a command --------------------------------------------------------------------------------


def test_a_command(tmp_path, monkeypatch, capfd):
    """Installed as a package, it prints what a count of the words says."""
    site, code = tmp_path / "site", (PARTS / "command.py").read_text("utf-8")
    install(site, "rt-longest", {"rt_longest": code}, {"longest": "rt_longest:longest"}, group="rt_framework.commands")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    data = [{**row, "output": "word " * (number * 7 % 11 + 1)} for number, row in enumerate(rows(9))]
    write_json(tmp_path / "data.json", data)
    done = Cli(monkeypatch, capfd)("longest", "data.json", "--student", "fake", "--out", "s.jsonl")
    words = [len(row["output"].split()) for row in data]
    longest = sorted(range(9), key=lambda row: -words[row])[:3]
    assert (done.code, done.out.splitlines()) == (0, [f"row {row}: {words[row]} tokens" for row in longest])


# --- behind a server --------------------------------------------------------------------------


@contextmanager
def serving(answer: Callable[[str, Any], tuple[int, object]]) -> Iterator[str]:
    """A server on 127.0.0.1 that answers JSON to a path and a JSON body; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, told = answer(self.path, json.loads(body) if body else None)
            sent = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST

        def log_message(self, *_):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def completion(message: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as OpenAI's API gives it, of 100 tokens asked and 20 told."""
    choice = {"message": {"role": "assistant", "content": None, **message}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}


def form_filled(question: str, text: str) -> str:
    """An answer between the markers that the question asks for."""
    lines = [line for line in question.splitlines() if line.startswith("[[")]
    return "\n".join(f"{line}\n{text}" for line in lines[:-1]) + f"\n{lines[-1]}"


def test_a_teacher_whose_tools_stay_inside_it(rt_project):
    """The run sees one question and one answer, and pays for both requests; nothing of the tool is in an output."""
    seen = []

    def answer(path, body):
        seen.append(body)
        told = [turn["content"] for turn in body["messages"] if turn["role"] == "tool"]
        if told:
            return 200, completion({"content": form_filled(body["messages"][1]["content"], f"It is {told[0]}.")})
        arguments = json.dumps({"expression": f"(2 + {len(seen)}) * 7"})
        return 200, completion({"tool_calls": [{"id": "c", "function": {"name": "calculate", "arguments": arguments}}]})

    with serving(answer) as url:
        teacher = {"calculating": {"api_base": url, "model": "m", "input_price": 1.0, "output_price": 2.0}}
        pipeline, limits = [{"reflect": "response"}, {"choose": "newest"}], {"concurrency": 1, "budget_usd": 1.0}
        lines = run(rt_project, "tool_teacher.py", pipeline, 3, teacher=teacher, limits=limits)
    assert [line["kept"] for line in lines] == ["response"] * 3
    kept = json.loads((rt_project.folder / "runs/rt/kept.json").read_text())
    assert [row["output"] for row in kept] == [f"It is {(2 + first) * 7:.1f}." for first in (1, 3, 5)]
    assert [len(body["messages"]) for body in seen] == [2, 4] * 3
    with rt.open_run(rt_project.folder / "runs/rt") as finished:
        assert sum(bill.calls for bill in finished.cost.bills) == 3
        assert finished.cost.nano_dollars == 3 * 2 * 1000 * (100 * 1.0 + 20 * 2.0)
        calls = [call for history in finished for call in finished.calls(history)]
    assert "calculate" not in str(calls)


def test_a_teacher_that_never_stops_calculating(rt_project):
    """The last round has no tool, and what is a failure after a paid round is charged."""
    counts = {"tools": 0, "plain": 0}

    def answer(path, body):
        counts["tools" if "tools" in body else "plain"] += 1
        if "tools" not in body:
            return 200, completion({"content": form_filled(body["messages"][1]["content"], "Enough.")})
        if counts["plain"]:
            return (500, {}) if len(body["messages"]) > 2 else (200, completion({"tool_calls": [use]}))
        return 200, completion({"tool_calls": [use]})

    use = {"id": "c", "function": {"name": "calculate", "arguments": '{"expression": "1 / 0"}'}}
    with serving(answer) as url:
        teacher = {"calculating": {"api_base": url, "model": "m", "rounds": 3, "input_price": 1.0}}
        limits = {"concurrency": 1, "attempts": 1, "fail_on_error": False}
        lines = run(
            rt_project,
            "tool_teacher.py",
            [{"reflect": "response"}, {"choose": "newest"}],
            2,
            teacher=teacher,
            limits=limits,
        )
    assert [line["kept"] for line in lines] == ["response", "original"]
    assert lines[1]["failures"][0]["kind"] == "overloaded"
    assert counts == {"tools": 4, "plain": 1}
    with rt.open_run(rt_project.folder / "runs/rt") as finished:
        assert finished.cost.nano_dollars > 3 * 100 * 1000


def log_probabilities(model: Any) -> Callable[[str, Any], tuple[int, object]]:
    """The answers of a server that holds this model, in vLLM's form."""

    def answer(path, body):
        if path == "/v1/models":
            return 200, {"data": [{"id": "tiny", "max_model_len": 513}]}
        choices = []
        for ids in body["prompt"]:
            with torch.inference_mode():
                rows_ = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            entries: list[Any] = [None]
            for row, id_ in zip(rows_, ids[1:], strict=False):
                rank = int((row > row[id_]).sum()) + 1
                entries.append({str(id_): {"logprob": float(row[id_]), "rank": rank, "decoded_token": "?"}})
            choices.append({"prompt_logprobs": entries})
        return 200, {"choices": choices}

    return answer


def test_a_student_behind_a_server(rt_project, monkeypatch):
    """It gives the losses of the same model in this process; what the server does not say is no number."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model, plugin = tiny.llama(512), str(PARTS / "remote.py")
    folder = tiny.save(rt_project.folder / "model", model, tiny.tokenizer(bos=True, chat=tiny.CHAT))
    write_json(rt_project.folder / "data.json", rows(6))

    def scored(name: str, *words: object) -> list[dict[str, Any]]:
        metrics = ("--metric", "ifd", "--metric", "r-ifd", "--out", f"{name}.jsonl")
        done = rt_project.rt("score", "data.json", *metrics, *words, plugins=[plugin])
        assert done.code == 0, done.err
        return rt_project.records(f"{name}.jsonl")

    with serving(log_probabilities(model)) as url:
        remote = ("--student", "remote", "--student-url", url, "--student-tokenizer", folder)
        presets = ("chat", "superfiltering")
        here = {preset: scored(f"here-{preset}", "--student", f"hf:{folder}", "--preset", preset) for preset in presets}
        there = {preset: scored(f"there-{preset}", *remote, "--preset", preset) for preset in presets}
    for preset in presets:
        for own, its in zip(here[preset], there[preset], strict=True):
            assert its["metrics"] == pytest.approx(own["metrics"], rel=1e-5)
            assert [loss["tokens"] for loss in its["losses"].values()] == [
                loss["tokens"] for loss in own["losses"].values()
            ]


def test_a_server_without_log_probabilities_gives_no_number(rt_project):
    """Nor does one that is gone: one line says so, and nothing of it is stored."""
    tiny.save(rt_project.folder / "model", model := tiny.llama(512), tiny.tokenizer(chat=tiny.CHAT))
    write_json(rt_project.folder / "data.json", rows(2))
    whole = log_probabilities(model)
    lacking = False

    def answer(path, body):
        status, told = whole(path, body)
        return status, {"choices": [{} for _ in body["prompt"]]} if lacking and body else told

    words = ("score", "data.json", "--student", "remote", "--student-tokenizer", "model", "--metric", "ifd", "--out")
    with serving(answer) as url:
        remote = [str(PARTS / "remote.py")]
        first = rt_project.rt(*words, "s.jsonl", "--student-url", url, plugins=remote)
        assert first.code == 0, first.err
        lacking = True
        refused = rt_project.rt(*words, "t.jsonl", "--student-url", url, plugins=remote)
    assert "lacks" in refused.error()
    gone = rt_project.rt(*words, "u.jsonl", "--student-url", url, plugins=remote)
    assert "refused" in gone.error()


if __name__ == "__main__":
    print("| part | lines given | lines used |\n|---|---|---|")
    for name, most in LINES.items():
        print(f"| {name} | {most} | {code_lines(PARTS / name)} |")

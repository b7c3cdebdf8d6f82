"""`rt score` and `rt run` with a student behind a server: failures, restarts, resumed runs, refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from rt_framework.protocols import answers_served, is_served
from rt_framework.testing.loss_server import LossFault, LossServer

PACKAGE = Path(__file__).parents[1]
ROWS = [
    {"instruction": f"Name {number} things that float.", "input": "", "output": f"A cork, a leaf and {number} boats."}
    for number in range(24)
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Pauses of a hundredth: a test waits for no server."""
    monkeypatch.setattr("rt_framework.scoring.served.backoff", lambda attempt, retry_after: 0.02)


@pytest.fixture
def score(rt, rt_project, tokenizer, tmp_path):
    """Scores the rows by a server, and gives what the command said and the lines."""
    rt_project.write("data.json", ROWS)

    def call(server, *words, out="s.jsonl", kind="vllm", **options):
        student = {kind: {"url": server.url, "tokenizer": tokenizer, "dtype": "float32", **options}}
        done = rt("score", "data.json", "--student", json.dumps(student), "--out", out, *words)
        path = tmp_path / out
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return done, lines

    return call


def test_a_server_scores(score):
    """Every row has both scores; each sequence is asked once, and again by nobody."""
    with LossServer() as server:
        done, lines = score(server)
        assert (done.code, done.err) == (0, ""), done
        assert all(line["metrics"]["ifd"] is not None for line in lines) and len(lines) == len(ROWS)
        asked = server.asked
        again, same = score(server, out="s.jsonl")
        assert again.code == 0 and same == lines
        assert server.asked == asked  # the losses are in the ledger


def test_the_kinds_of_server_agree(score):
    """Of the same losses both make the same scores."""
    with LossServer() as server:
        assert score(server)[1] == score(server, out="other.jsonl", kind="sglang")[1]


@pytest.mark.parametrize("fault", ["overloaded", "half_json", "dropped", "rate_limited"])
def test_failures_that_pass_are_tried_again(score, fault):
    """One request in five fails, and the scores are those of a server without failures."""
    with LossServer() as server:
        _, whole = score(server, out="whole.jsonl")
    with LossServer(lambda number, _: LossFault(fault) if number > 40 and number % 5 == 0 else None) as server:
        done, lines = score(server)
    assert done.code == 0, done
    assert lines == whole


@pytest.mark.parametrize(
    ("fault", "said", "lasts"),
    [
        ("short_list", "entries for a prompt of ", False),
        ("minus_9999", "the server gives a target token the probability 0", True),
        ("too_long", "the server has no room for ", False),
        ("bad_request", "HTTP 400: Token id 99999 is out of vocabulary", False),
    ],
)
def test_a_fault_of_one_sequence_is_a_status(score, fault, said, lasts):
    """The other samples have their scores; a status that may pass is asked again by the next command."""
    seen = []

    def faults(number, ids):
        if number > 30 and not seen:
            seen.append(ids)
        return LossFault(fault) if seen and ids == seen[0] else None

    with LossServer(faults) as server:
        done, lines = score(server)
        lacking = [line for line in lines if None in line["metrics"].values()]
        assert done.code == 0 and len(lacking) == 1, done
        assert said in lacking[0]["reason"]
        server.faults = lambda _n, _i: None
        _, after = score(server)
        lacking = [line for line in after if None in line["metrics"].values()]
        assert len(lacking) == lasts


def test_a_server_that_is_killed_and_started_again_loses_nothing(score):
    """Five times in mid-run: the file is that of a quiet run, and nothing is scored twice but what was under way."""
    with LossServer() as server:
        _, whole = score(server, out="whole.jsonl")
    with LossServer() as server:
        ended = threading.Event()

        def kill():
            for count in range(5):
                while len(server.scored) < 30 + 12 * count and not ended.is_set():
                    time.sleep(0.002)
                server.stop()
                time.sleep(0.1)
                server.start()

        killer = threading.Thread(target=kill)
        killer.start()
        done, lines = score(server, at_once=4)
        ended.set()
        killer.join()
        assert done.code == 0, done
        assert lines == whole
        # An answer that was sent and did not arrive is asked for again: of each kill, those under way.
        fixed = set(server.scored[:9])
        again = sum(count - 1 for ids, count in Counter(server.scored).items() if ids not in fixed)
        assert again <= 5 * 4


def test_other_weights_are_refused(score, rt_project):
    """On resume, and where a server comes back with others in mid-run; the way out is named."""
    with LossServer() as server:
        assert score(server)[0].code == 0
        rt_project.write("data.json", [*ROWS, {"instruction": "Sink?", "input": "", "output": "A stone sinks."}])
        server.weights = "others"
        assert "the student's weights are not those that the run directory was begun with" in score(server)[0].error()


def test_no_loss_of_other_weights_is_kept(score):
    """A server that comes back with others in mid-run: the run ends, and the next one has the scores of a quiet run."""
    with LossServer() as server:
        _, whole = score(server, out="whole.jsonl")

    with LossServer(lambda number, _: LossFault("slow") if number == 50 else None) as server:

        def replace():
            while server.asked <= 50:
                time.sleep(0.002)
            server.stop()  # while a request is under way
            server.weights = "others"
            server.start()

        replacing = threading.Thread(target=replace)
        replacing.start()
        done, _ = score(server, at_once=8)
        replacing.join()
        assert "the student's weights are not those" in done.error()
        server.weights = ""
        done, lines = score(server)
        assert (done.code, lines) == (0, whole)


def test_a_server_that_is_replaced_while_it_is_idle_is_noticed(score, rt, rt_project, tokenizer, monkeypatch):
    """The weights are checked again after a while, also where they answer questions."""
    monkeypatch.setattr("rt_framework.scoring.served._FRESH", 0.0)
    with LossServer(lambda _n, _i: setattr(server, "weights", "others") if server.asked > 60 else None) as server:
        assert "the student's weights are not those" in score(server, at_once=1)[0].error()
    answer = lambda _: setattr(server, "weights", "others") or "A raft."  # noqa: E731
    with LossServer(answer=answer) as server:
        student = json.dumps({"vllm": {"url": server.url, "tokenizer": tokenizer, "dtype": "float32", "at_once": 1}})
        done = rt("answer", "data.json", "--student", student, "--out", "a.json")
        assert "the student's weights are not those" in done.error()
        assert server.chats <= 32  # those that were under way


def test_shards_of_other_weights_are_not_merged(rt, rt_project, tokenizer):
    """And those of the same weights are; the merged directory goes on with them alone."""
    rt_project.write("data.json", ROWS)
    with LossServer() as server:
        options = {"url": server.url, "tokenizer": tokenizer, "dtype": "float32"}
        job = {"data": {"path": "data.json"}, "student": {"vllm": options}, "scoring": {"preset": "chat"}}
        rt_project.write("rt.yaml", job | {"pipeline": [{"measure": ["ifd"]}]})

        def run(number, folder):
            done = rt("run", "rt.yaml", "--shard", f"{number}/2", "--run-dir", folder)
            assert done.code == 0, done

        run(1, "one")
        run(2, "two")
        server.weights = "others"
        run(2, "other")
        assert "were scored by other weights" in rt("merge", "rt.yaml", "bad", "one", "other").error()
        assert rt("merge", "rt.yaml", "whole", "one", "two").code == 0
        rt_project.write("rt.yaml", job | {"pipeline": [{"measure": ["ifd", "r-ifd"]}]})
        assert "the student's weights are not those" in rt("run", "rt.yaml", "--run-dir", "whole").error()


def test_losses_that_depend_on_other_requests_are_refused(score):
    """Before any of them is a score; the flag that mends it is named."""
    with LossServer(lambda _n, _i: LossFault("order")) as server:
        done, _ = score(server)
        assert "--no-enable-prefix-caching" in done.error() and "nats a token" in done.error()


def test_a_server_that_stays_away_ends_the_command(score, monkeypatch):
    """After the patience of a run, with exit code 3; the next command goes on."""
    monkeypatch.setattr("rt_framework.scoring.served._PATIENCE", 0.3)
    with LossServer() as server:
        server.faults = lambda number, _: server_goes(number)

        def server_goes(number):
            return LossFault("dropped") if number > 50 else None

        done, _ = score(server)
        assert done.code == 3, done
        assert "the connection failed or broke" in done.err and "no loss that was computed is lost" in done.err
        server.faults = lambda _n, _i: None
        before = set(server.scored)
        first = len(server.scored)
        done, lines = score(server)
        assert done.code == 0 and len(lines) == len(ROWS)
        assert not {ids for ids in server.scored[first:] if ids in before} - set(server.scored[:9])


def test_refusals_are_one_line(score, rt, tokenizer, monkeypatch):
    """No server, another kind of it, a model that is not served, plain http to another machine, a key in the clear."""
    with LossServer() as server:
        gone = server
    assert "the server cannot be reached" in score(gone)[0].error()
    with LossServer(window=0) as server:
        assert "llama.cpp, TGI, LMDeploy" in score(server)[0].error()
    with LossServer() as server:
        assert "does not serve 'other', only fake" in score(server, model="other")[0].error()
        assert "the tokenizer of 'fake' cannot be loaded" in score(server, tokenizer=None)[0].error()

    def said(**options):
        student = json.dumps({"vllm": {"url": "http://gpu-7:8000", "tokenizer": tokenizer, **options}})
        return rt("score", "data.json", "--student", student, "--out", "x.jsonl").error()

    assert "must start with https://" in said()
    monkeypatch.setenv("VLLM_API_KEY", "secret-key-of-the-server")
    assert "would be sent in plain text" in said(allow_http=True)


def test_the_key_is_sent_and_never_told(score, monkeypatch):
    """Also with a line end behind it, and where a server repeats it; one that no header can hold is refused."""
    monkeypatch.setenv("MY_SERVER", "abc-secret-1\r\n")
    with LossServer() as server:
        done, lines = score(server, key_variable="MY_SERVER")
        assert done.code == 0 and len(lines) == len(ROWS)
        assert server.keys == {"Bearer abc-secret-1"}
        server.faults = lambda _n, _i: LossFault("auth")
        done, _ = score(server, out="b.jsonl", key_variable="MY_SERVER")
        assert done.code == 3 and "Unauthorized: ***" in done.err and "abc-secret-1" not in done.out + done.err
    monkeypatch.setenv("MY_SERVER", "schlüssel")
    assert "MY_SERVER holds no key" in score(server, key_variable="MY_SERVER")[0].error()


def test_another_chat_template_is_another_student(score, tokenizer, tmp_path):
    """A run directory goes on with the tokenizer and the template that it was begun with."""
    changed = tmp_path / "changed"
    shutil.copytree(tokenizer, changed)
    template = changed / "chat_template.jinja"
    template.write_text(template.read_text().replace("<{{", "[{{"))
    with LossServer() as server:
        assert score(server)[0].code == 0
        assert "student" in score(server, tokenizer=str(changed))[0].error()


def test_an_adapter_is_named_with_its_base(score, tokenizer):
    """Its window and tokenizer are those of its base; SGLang would not use it, so it is refused there."""
    with LossServer() as server:
        entries = server.models()["data"]
        adapter = {"id": "mine", "root": "/adapters/mine", "parent": entries[0]["id"]}
        server.models = lambda: {"object": "list", "data": [*entries, adapter]}
        done, lines = score(server, model="mine")
        assert done.code == 0 and len(lines) == len(ROWS), done
        assert "adapter" in score(server, model="mine", kind="sglang", out="b.jsonl")[0].error()


def test_no_property_of_a_local_student_is_read_to_tell_it_from_a_served_one():
    """One of them loads the model."""

    class Local:
        fingerprint = path = at_once = noise = property(lambda self: pytest.fail("read"))

        def score(self, batch):
            return []

    assert not is_served(Local()) and not answers_served(Local())


def test_neither_torch_nor_litellm_is_needed(tokenizer, tmp_path):
    """`rt score` and the whole of `rt run`, with the student as teacher too, where torch cannot be imported."""
    (tmp_path / "data.json").write_text(json.dumps(ROWS[:6]))
    lines = ["import sys", f"sys.path.insert(0, {str(PACKAGE)!r})", "from rt_framework.cli import main"]
    blocked = "\n".join([*lines[:1], "sys.modules.update(dict.fromkeys(('torch', 'litellm')))", *lines[1:]])

    def rt(*words):
        code = f"{blocked}\nsys.argv = {['rt', '-p', 'rt_vllm', *map(str, words)]!r}\nmain()"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout

    answer = json.dumps({"critique": "Too short.", "instruction": "Name what floats.", "response": "A raft floats."})
    with LossServer(answer=lambda _: answer) as server:
        options = {"url": server.url, "tokenizer": tokenizer, "dtype": "float32"}
        rt("score", "data.json", "--student", json.dumps({"vllm": options}), "--out", "s.jsonl")
        job = {
            "data": {"path": "data.json"},
            "student": {"vllm": options},
            "teacher": "student",
            "scoring": {"preset": "chat"},
            "pipeline": "selective-rt",
        }
        (tmp_path / "rt.yaml").write_text(json.dumps(job))
        rt("run", "rt.yaml")
        assert server.chats >= 6
        chats = server.chats
        rt("run", "rt.yaml")
        assert server.chats == chats
        rt("report", "runs/rt")
    manifest = json.loads((tmp_path / "runs/rt/manifest.json").read_text())
    assert manifest["summary"]["total"] == 6


def test_a_served_student_answers_samples(rt, rt_project, tokenizer):
    """`rt answer`: one chat a row, and none again; a dry run of a whole job sends no chat."""
    rt_project.write("data.json", ROWS[:5])
    with LossServer(answer=lambda body: f"To {body['messages'][-1]['content']}: a raft.") as server:
        student = json.dumps({"vllm": {"url": server.url, "tokenizer": tokenizer, "dtype": "float32"}})
        for _ in range(2):
            done = rt("answer", "data.json", "--student", student, "--out", "a.json")
            assert (done.code, done.err) == (0, ""), done
            assert server.chats == 5
        answers = json.loads((rt_project.folder / "a.json").read_text())
        assert [row["output"] for row in answers] == [f"To {row['instruction']}: a raft." for row in ROWS[:5]]
        job = {"data": {"path": "data.json"}, "student": json.loads(student), "teacher": "student"}
        rt_project.write("rt.yaml", job | {"scoring": {"preset": "chat"}, "pipeline": "selective-rt"})
        assert rt("run", "rt.yaml", "--dry-run").code == 0
        assert server.chats == 5


def test_doctor_tells_of_the_server(rt, rt_project, tokenizer):
    """Its version, its window and the noise to expect; and in one line that it is gone."""
    rt_project.write("data.json", ROWS)
    with LossServer() as server:
        student = json.dumps({"vllm": {"url": server.url, "tokenizer": tokenizer, "dtype": "bfloat16"}})
        done = rt("doctor", "data.json", "--student", student)
        assert done.code == 0, done
        assert "vllm 1.0, bfloat16 as configured, up to 4095 tokens" in done.words and "0.05 nats a token" in done.words
        assert "64 requests at once" in rt("doctor", "--student", student).words
    gone = rt("doctor", "data.json", "--student", student)
    assert gone.code == 2 and "the server cannot be reached" in gone.words

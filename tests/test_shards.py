"""A job in parts, each with a ledger of its own, and the parts put together: as one run would have done it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rt_framework.config.reading import read_config
from rt_framework.config.shards import Shard
from rt_framework.data.rows import SampleIds
from rt_framework.jobs import merging
from rt_framework.jobs.merging import merge
from rt_framework.ledger import merge as ledger_merge
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Pair, Sample, Version
from rt_framework.plugin.host import Host
from rt_framework.testing import FakeStudent
from rt_framework.testing.server import FaultServer
from tests import fakes_plugin
from tests.helpers import REPO, Cli, json_lines, the_error
from tests.reliability.jobs import http_job, litellm_at, priced_at
from tests.run_helpers import GATES, SELECTIVE, http_answer, row, write_json

OUTPUTS = ("kept.json", "dropped.json", "scores.jsonl")


def samples(numbers):
    """Samples of rows, as a file of them would give."""
    ids = SampleIds()
    pairs = [Pair(f"Question {number}", response="An answer.") for number in numbers]
    return [Sample(ids(pair), at, (Version("original", pair),)) for at, pair in enumerate(pairs)]


@settings(max_examples=50)
@given(numbers=st.lists(st.integers(0, 40), max_size=60), of=st.integers(1, 7), new=st.integers(50, 60))
def test_each_sample_is_in_one_part_and_stays_there(numbers, of, new):
    """Equal rows together, and a row that is inserted in front moves none."""
    parts = [Shard(number, of) for number in range(1, of + 1)]
    places = {
        sample.id: [part.number for part in parts if part.holds(sample.original.pair)] for sample in samples(numbers)
    }
    assert all(len(found) == 1 for found in places.values())
    content = {key.partition("-")[0] for key in places}
    assert all(len({tuple(places[key]) for key in places if key.startswith(one)}) == 1 for one in content)
    after = {
        sample.id: [part.number for part in parts if part.holds(sample.original.pair)]
        for sample in samples([new, *numbers])
    }
    assert {key: after[key] for key in places} == places


@given(budget=st.integers(0, 10**13), of=st.integers(1, 1000))
def test_shares_are_never_more_than_the_budget(budget, of):
    """And no part gets more than another."""
    assert sum(Shard(number, of).share(budget) for number in range(1, of + 1)) <= budget


@pytest.fixture
def server():
    """Counts what is asked."""
    with FaultServer(http_answer) as server:
        yield server


@pytest.fixture
def rt(monkeypatch, capfd, tmp_path, server):
    """The command line, in a folder with a job of 30 rows, two of them twice."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.chdir(tmp_path)
    data = [row(number) for number in range(28)] + [row(3), row(5)]
    http_job(tmp_path, server, data, teacher=priced_at(server))
    cli = Cli(monkeypatch, capfd)
    return lambda *arguments: cli("-p", "tests.fakes_plugin", *arguments, plugin=False)


def run_all(rt, of, *arguments):
    """Run every shard; gives their directories."""
    for number in range(1, of + 1):
        done = rt("run", "job.yaml", "--shard", f"{number}/{of}", *arguments)
        assert done.code == 0, done
    return [f"runs/job-shard-{number}-of-{of}" for number in range(1, of + 1)]


@pytest.mark.parametrize("of", [1, 3])
def test_merged_they_are_what_one_run_would_have_left(rt, tmp_path, server, of):
    """Outputs byte for byte, as many requests; the merged run goes on for nothing, and can be looked at."""
    assert rt("run", "job.yaml", "--run-dir", "whole").code == 0
    asked = len(server.received)
    shards = run_all(rt, of)
    assert len(server.received) == 2 * asked
    done = rt("merge", "job.yaml", "merged", *shards)
    assert done.code == 0, done
    assert "30 samples" not in done.err
    for name in OUTPUTS:
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = rt("run", "job.yaml", "--run-dir", "merged")
    assert "0 teacher calls sent" in again.words and "; 0 student tokens computed" in again.words
    for name in OUTPUTS:
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(server.received) == 2 * asked
    spent = [line for line in rt("status", "whole").out.splitlines() if line.startswith("spent")]
    assert spent == [line for line in rt("status", "merged").out.splitlines() if line.startswith("spent")]
    assert rt("explain", "merged", "0").code == 0


def test_a_stage_over_all_samples_comes_after_the_merge(rt, tmp_path, server):
    """Refused in a shard before anything is asked; in the merged run it costs nothing."""
    pipeline = f"pipeline={[*SELECTIVE, *GATES, {'select': {'top': {'metric': 'ifd', 'count': 4}}}]}"
    error = the_error(rt("run", "job.yaml", "--shard", "1/2", "--set", pipeline))
    assert error.startswith("stage '6. select top metric ifd, count 4' needs all samples and this is shard 1/2: run ")
    assert server.received == []
    shards = run_all(rt, 2)
    assert rt("merge", "job.yaml", "merged", *shards).code == 0
    asked = len(server.received)
    done = rt("run", "job.yaml", "--run-dir", "merged", "--set", pipeline)
    assert done.code == 0, done
    assert len(server.received) == asked and "; 0 student tokens computed" in done.words
    assert sum(line["kept"] is not None for line in json_lines(tmp_path / "merged/scores.jsonl")) == 4


def test_a_shard_is_killed_and_goes_on(rt, tmp_path, server):
    """As any run: what was committed is not asked for again."""
    assert rt("run", "job.yaml", "--run-dir", "whole").code == 0
    asked = len(server.received)
    command = [Path(sys.executable).with_name("rt"), "-p", "tests.fakes_plugin", "run", "job.yaml", "--shard", "2/2"]
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(REPO)}
    )
    while len(server.received) < asked + 6:
        time.sleep(0.005)
    child.kill()
    child.wait()
    shards = run_all(rt, 2)
    assert rt("merge", "job.yaml", "merged", *shards).code == 0
    assert len(server.received) <= 2 * asked + 4  # calls under way at the kill
    for name in OUTPUTS:
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_budget_is_shared_out(rt):
    """Each part has its share; a part that has reached it says so."""
    done = rt("run", "job.yaml", "--shard", "1/4", "--set", "limits.budget_usd=0.004")
    assert "more than what is left of the budget of $0.001" in the_error(done, 6)


def test_a_dry_run_and_a_pilot(rt, server):
    """One quotes the part, the other is of the whole."""
    parts = [rt("run", "job.yaml", "--shard", f"{number}/3", "--dry-run").words for number in (1, 2, 3)]
    assert sum(int(words.partition(" samples")[0].split()[-1]) for words in parts) == 30
    assert "a pilot draws its rows from all samples" in the_error(rt("pilot", "job.yaml", "--shard", "1/3"))
    assert server.received == []


def test_what_cannot_be_merged_is_one_line(rt, tmp_path, server):
    """Each with what is wrong and where."""
    one, two, three = run_all(rt, 3)
    run_all(rt, 2)
    assert rt("run", "job.yaml", "--run-dir", "whole").code == 0

    def refused(*shards, out="merged", config="job.yaml"):
        return the_error(rt("merge", config, out, *shards))

    assert refused(one, three) == "shards are missing: 2/3"
    shutil.copytree(two, "copy")
    assert refused(one, two, three, "copy") == f"copy and {two} are both shard 2/3"
    other = "runs/job-shard-1-of-2"
    assert refused(one, other) == f"{other} is shard 1/2, but {one} is shard 1/3"
    assert refused(one, "whole").startswith(
        "whole: not the run directory of a shard; 'rt run CONFIG --shard 1/n' makes one"
    )
    assert refused(one, "nothing").startswith("nothing: no ledger here")
    assert refused(one, two, three, out="whole") == "whole: holds another run; merge into a new directory"
    write_json(tmp_path / "less.json", [row(1)])
    job = (tmp_path / "job.yaml").read_text().replace("data.json", "less.json")
    (tmp_path / "less.yaml").write_text(job)
    assert refused(one, two, three, config="less.yaml").endswith("was run with another config: it differs in data")
    fakes_plugin.HELD["student"] = other_student = FakeStudent()
    other_student.fingerprint = "other-student"
    for key, other, told in (
        ("teacher", litellm_at(server, model="openai/other"), "differs in teacher: "),
        ("student", "held:student", "differs in student: fake-student-1 → other-student"),
        ("scoring", {"preset": "chat"}, "scoring.preset: selective-rt → chat"),
        ("student", None, ", student: fake-student-1 → None"),
    ):
        changed = json.loads((tmp_path / "job.yaml").read_text()) | {key: other}
        if other is None:
            changed["pipeline"] = [{"reflect": "instruction"}, {"choose": "newest"}]
        write_json(tmp_path / "other.yaml", changed)
        assert told in refused(one, two, three, config="other.yaml")
        assert not (tmp_path / "merged").exists()
    plain = (tmp_path / "job.yaml").read_text().replace('{"choose": {"lowest": "r-ifd"}}', '{"choose": "newest"}')
    (tmp_path / "plain.yaml").write_text(plain)
    assert refused(one, two, three, config="plain.yaml").endswith("it differs in pipeline")
    assert the_error(rt("run", "job.yaml", "--shard", "4/3")).startswith(
        "job.yaml: data: shard '4/3': expected i/n with i"
    )
    changed = the_error(rt("run", "job.yaml", "--shard", "2/3", "--run-dir", one))
    assert "data.shard: 1/3 → 2/3" in changed


@pytest.mark.parametrize("old", [[0], [1], [0, 1]])
def test_shards_of_an_earlier_release_are_merged(rt, tmp_path, old):
    """They hold digests of the reflections but no text of requests; with a text, another one is refused."""
    shards = run_all(rt, 2)
    for number in old:
        with Ledger.writing(tmp_path / shards[number] / "ledger.sqlite") as ledger:
            facts = {key: fact for key, fact in ledger.meta("frozen").items() if not key.startswith("request of ")}
            asyncio.run(ledger.set_meta("frozen", facts))
    assert rt("merge", "job.yaml", "merged", *shards).code == 0
    assert "0 teacher calls sent" in rt("run", "job.yaml", "--run-dir", "merged").words


def test_shards_that_asked_by_another_sentence_are_not_merged(rt, tmp_path):
    """Also one that only conversations show, which no digest holds."""
    shards = run_all(rt, 2)
    with Ledger.writing(tmp_path / shards[1] / "ledger.sqlite") as ledger:
        facts = ledger.meta("frozen")
        facts["request of response"] = facts["request of response"].replace("for context", "to read")
        asyncio.run(ledger.set_meta("frozen", facts))
    error = the_error(rt("merge", "job.yaml", "merged", *shards))
    assert error.endswith(" are of different jobs: they differ in request of response")


def test_an_unfinished_shard_is_no_whole(rt, tmp_path):
    """Its missing samples are counted, and merging anew after it is finished works."""
    shards = run_all(rt, 2)
    assert rt("run", "job.yaml", "--shard", "1/2", "--limit", "8").code == 0
    error = the_error(rt("merge", "job.yaml", "merged", *shards))
    assert error.endswith("was run with another config: it differs in limits.samples")
    ledger = sqlite3.connect(tmp_path / shards[0] / "ledger.sqlite")
    assert rt("run", "job.yaml", "--shard", "1/2").code == 0
    with ledger:
        ledger.execute("DELETE FROM samples WHERE row = (SELECT MAX(row) FROM samples)")
    ledger.close()
    (tmp_path / shards[0] / "ledger.sqlite-seal").unlink()
    assert the_error(rt("merge", "job.yaml", "merged", *shards)) == (
        "29 of 30 samples are finished: finish the shards first"
    )
    assert rt("run", "job.yaml", "--shard", "1/2").code == 0
    assert rt("merge", "job.yaml", "merged", *shards).code == 0


def test_a_merge_that_was_killed_is_done_again(rt, tmp_path, monkeypatch):
    """Half a ledger is never taken for a whole one; outputs that are missing are written."""
    shards = [tmp_path / path for path in run_all(rt, 2)]
    config = read_config(tmp_path / "job.yaml")
    host = Host(only=(), modules=["tests.fakes_plugin"])

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    for place, name in ((ledger_merge, "_copy"), (merging, "write_outputs")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, die)
            with pytest.raises(Killed):
                merge(host, config, tmp_path / "merged", shards)
        if name == "_copy":
            assert "give 'rt merge' again" in the_error(rt("run", "job.yaml", "--run-dir", "merged"))
    assert merge(host, config, tmp_path / "merged", shards).total == 30
    assert (tmp_path / "merged/kept.json").exists()
    with Ledger.reading(tmp_path / "merged/ledger.sqlite") as ledger:
        assert ledger.meta("merged") == [str(path) for path in shards]

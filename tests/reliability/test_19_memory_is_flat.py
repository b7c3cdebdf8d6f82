"""Memory is flat: 1 M synthetic samples against 10 k, < 200 MB more; data-set stages hold ids and scores only."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path

import pytest

from benchmarks import flat
from rt_framework.builtin.stages.filtering import Select
from rt_framework.config.builder import Builder
from rt_framework.config.schema import Config, Data
from rt_framework.data import open_source
from rt_framework.events import Progress
from rt_framework.ledger import Ledger, SampleHistory
from rt_framework.model import Decision, Pair, Sample, Score, Version
from rt_framework.pipeline import barrier, context
from rt_framework.plugin import structure
from rt_framework.plugin.host import Host
from rt_framework.rundir.outlet import open_outlet
from rt_framework.rundir.outputs import write_outputs
from rt_framework.rundir.summary import summarise
from rt_framework.testing import FakeStudent
from tests.helpers import Living
from tests.run_helpers import GATES, SELECTIVE, go

OWN = {
    "rt_framework.model",
    "rt_framework.ledger.samples",
    "rt_framework.ledger.statements",
    "_asyncio",
    "concurrent.futures._base",
}
"""Modules of the classes that the data of a run is made of."""


class Counting(FakeStudent):
    """A student that now and then counts what the run holds."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self._waves = 0

    def encode(self, spans):
        self._waves += 1
        if self._waves % 15 == 0:
            gc.collect()
            self.seen.append(sum(type(one).__module__ in OWN for one in gc.get_objects()))
        return super().encode(spans)


def over(data, pipeline, **more):
    """A config over a file, with the held student."""
    raw = {"data": {"path": str(data)}, "student": "held:student", "scoring": {"preset": "selective-rt"}}
    return structure(raw | {"pipeline": pipeline} | more, Config)


def test_a_run_holds_the_samples_under_way_and_no_more(tmp_path):
    """Samples, texts, requests, answers, losses and tasks, all counted together: fewer than there are samples."""
    student = Counting()
    data = flat.write_samples(tmp_path / "rows.jsonl", count := 600)
    config = over(data, [*SELECTIVE[:2], *GATES], teacher="held:teacher", limits={"in_flight": 16})
    assert go(config, tmp_path / "run", flat.Teacher(), student).total == count
    assert len(student.seen) > 2
    assert max(student.seen) < count


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.timeout(4 * 3600)
def test_many_samples_take_no_more_than_few(size):
    """Whole runs in processes of their own: less than 200 MB more, all caches included."""
    few, many = (flat.measure(count, "rewrite") for count in (size(20, 10_000), size(200, 1_000_000)))
    assert sum(many.outcomes.values()) == many.samples
    assert many.peak - few.peak < 200e6


@pytest.mark.parametrize("by", ["top", "random", "length-matched", "threshold"])
def test_a_barrier_holds_no_sample(by, tmp_path, monkeypatch):
    """Fewer than 150 of the 500 samples are in memory while the verdicts of a selector are recorded."""
    found, living = [], (Living(monkeypatch, Sample), Living(monkeypatch, Pair))
    options = {
        "top": {"metric": "ifd", "fraction": 0.5},
        "random": {"fraction": 0.5},
        "length-matched": {"metric": "ifd", "fraction": 0.3},
        "threshold": {"metric": "ifd", "below": 1},
    }
    outcome = Select._outcome

    def watched(self, sample, verdict):
        if sample.row % 100 == 0:
            found.append(max(map(len, living)))
        return outcome(self, sample, verdict)

    monkeypatch.setattr(Select, "_outcome", watched)
    monkeypatch.setattr(barrier, "WAVE", 32)
    monkeypatch.setattr(context, "WAVE", 32)
    data = flat.write_samples(tmp_path / "rows.jsonl", 500)
    config = over(data, [{"select": {by: options[by]}}], limits={"in_flight": 32})
    assert go(config, tmp_path / "run").total == 500
    assert len(found) == 5
    assert max(found) < 150


def test_reasons_that_differ_in_ranks_and_values_are_one_line_of_the_summary(tmp_path):
    """Each sample has a reason of its own, with its rank; the summary counts them together."""
    data = flat.write_samples(tmp_path / "rows.jsonl", 300)
    summary = go(over(data, [{"select": {"top": {"metric": "ifd", "count": 9}}}]), tmp_path / "run")
    assert summary.outcomes["original"] == 9
    assert summary.drops == {"not selected: rank … of … by ifd (…); the first … are selected": 291}


def finished(folder, count):
    """The source and the ledger of a run over so many samples, half of them dropped for reasons of their own."""
    folder.mkdir()
    data = flat.write_samples(folder / "rows.jsonl", count)
    source = open_source(Host(only=[]), Data(str(data)))
    ledger = Ledger.writing(folder / "ledger.sqlite")

    async def record():
        await asyncio.gather(*(ledger.samples.record(history(sample)) for sample in source.samples()))

    asyncio.run(record())
    return source, ledger


def history(sample):
    """The end of a sample: two versions, scores, a decision."""
    sample = sample.adding(Version("response", Pair("x", response=f"new {sample.row}"), "original", "response"))
    sample = sample.deciding(Decision("choose", ("original", "response"), "response", f"by {sample.row}"))
    scores = {version: {"ifd": Score(sample.row / 7), "r-ifd": Score(0.5)} for version in sample.versions}
    outcome, reason = ("dropped", f"rank {sample.row}") if sample.row % 2 else ("rewritten", None)
    return SampleHistory(sample.scoring(scores), outcome, reason)


def peak(source, ledger, folder):
    """Most bytes that account and outputs took while they were made."""
    make = Builder(Host(only=[]))
    tracemalloc.start()
    try:
        known, outlet = open_outlet(make, source)
        write_outputs(outlet, known, folder, ledger)
        assert summarise(ledger, Progress()).total == source.count()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        ledger.close()


def test_account_and_outputs_take_no_more_for_more_samples(tmp_path):
    """Less than 100 bytes a sample, for ids and counted reasons; a sample itself takes twenty times that."""
    peaks = []
    for name, count in (("first", 200), ("few", 200), ("many", 1000)):
        peaks.append(peak(*finished(tmp_path / name, count), tmp_path / name))
    assert peaks[2] - peaks[1] < 800 * 100

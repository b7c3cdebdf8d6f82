"""Memory: a long file needs no more than a short one."""

from __future__ import annotations

import gc

from benchmarks import flat, scale
from rt_framework.kit.garbage import seldom_collected
from rt_framework.model import Sample
from tests.helpers import Living


def test_what_is_done_is_let_go(tmp_path, monkeypatch):
    """However long the file is, only a window of its samples is in memory."""
    alive, living = [], Living(monkeypatch, Sample)

    class Watched(scale.Packing):
        def score(self, batch):
            alive.append(len(living))
            return super().score(batch)

    monkeypatch.setattr(scale, "Packing", Watched)
    data = flat.write_samples(tmp_path / "rows.jsonl", 6000)
    done = scale.score(data, tmp_path / "out.jsonl", ["ifd"])
    assert done.outcomes == {"ok": 6000}
    assert len(alive) > 10
    assert max(alive) < 2500


def test_a_job_leaves_the_search_for_garbage_as_it_was():
    """In a program that has left it alone, that has turned it off, or that has set objects aside itself."""
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold()[0] > before[0]
        with seldom_collected():
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
    gc.set_threshold(0)
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        with seldom_collected():
            assert (gc.get_threshold()[0], gc.get_freeze_count()) == (0, frozen)
        assert (gc.get_threshold()[0], gc.get_freeze_count()) == (0, frozen)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)

"""Memory: a long file needs no more than a short one."""

from __future__ import annotations

from benchmarks import flat, scale
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

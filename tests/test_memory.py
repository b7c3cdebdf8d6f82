"""Memory: a long file needs no more than a short one."""

from __future__ import annotations

import gc

from benchmarks import flat, scale
from rt_framework.model import Sample


def test_what_is_done_is_let_go(tmp_path, monkeypatch):
    """However long the file is, only a window of its samples is in memory."""
    alive = []

    class Watched(scale.Packing):
        def score(self, batch):
            alive.append(sum(type(one) is Sample for one in gc.get_objects()))
            return super().score(batch)

    monkeypatch.setattr(scale, "Packing", Watched)
    data = flat.write_samples(tmp_path / "rows.jsonl", 6000)
    done = scale.score(data, tmp_path / "out.jsonl", ["ifd"])
    assert done.outcomes == {"ok": 6000}
    assert len(alive) > 10
    assert max(alive) < 2500

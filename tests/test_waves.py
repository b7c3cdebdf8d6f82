"""The batches that the student computes in a run, and the words of the manifest about that computation."""

from __future__ import annotations

import asyncio
import json
import time

from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.run_helpers import GATES, SELECTIVE, go, job, rows


def test_batches_stay_full_while_answers_stream_in(tmp_path):
    """Answers come one by one, at their own time; while a batch is computed the next one gathers."""

    class Trickling(ScriptedTeacher):
        async def complete(self, request):
            await asyncio.sleep(int(request.pair_hash[:4], 16) / 0xFFFF * 0.3)
            return await super().complete(request)

    class Slow(FakeStudent):
        def score(self, batch):
            time.sleep(0.03)
            return super().score(batch)

    student = Slow()
    config = job(tmp_path, rows(120), SELECTIVE, limits={"concurrency": 64})
    go(config, tmp_path / "run", Trickling(rewriting), student)
    assert student.forward_spans > 600
    assert student.forward_spans > 15 * student.forward_passes


def test_the_manifest_says_how_losses_were_computed(tmp_path):
    """In words of the student; a run that only looks up says what was said before."""

    class Own(FakeStudent):
        packs, batch_tokens, path = True, 512, "rows of my own"

    for _ in range(2):
        go(job(tmp_path, rows(3), GATES, teacher=None), tmp_path / "run", student=Own())
        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
        assert manifest["forward_paths"] == ["rows of my own"]
    go(job(tmp_path, rows(3), GATES, teacher=None), tmp_path / "other", student=FakeStudent())
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    assert manifest["forward_paths"] == ["the student's own"]

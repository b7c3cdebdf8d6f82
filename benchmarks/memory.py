"""Bytes over the loaded model that one sequence of 2,048 tokens needs: `python -m benchmarks.memory ours MODEL`."""

from __future__ import annotations

import sys

import torch

from benchmarks.measure import loaded_memory, peak_memory
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.spans import EncodedSpan

LENGTH = 2048


def main(side: str, name: str) -> int:
    """Load, score one sequence by the published procedure or by ours, and say what that took."""
    settings = HFSettings(name, dtype="float32", device="cpu")
    student = HFStudent(settings)
    model = models.load_model(settings, None)
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.arange(LENGTH) * 97 % vocabulary
    span = EncodedSpan(tuple(ids.tolist()), 1)
    assert student.packs  # settled before, since the probe is a part of loading
    before = loaded_memory()
    if side == "published":
        with torch.no_grad():
            model(ids[None], labels=ids[None].clone())
    else:
        student.score([span])
    return peak_memory() - before


if __name__ == "__main__":
    sys.stdout.write(f"{main(*sys.argv[1:])}\n")

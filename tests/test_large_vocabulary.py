"""Memory: what one long sequence needs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPO

GEMMA = """
import sys, torch
from benchmarks.measure import loaded_memory, peak_memory
from rt_framework.builtin.students.probe import choose
from rt_framework.spans import EncodedSpan
from tests.tiny_models import family

model = family("Gemma3Text", vocab_size=262144, hidden_size=64, intermediate_size=256, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=1, head_dim=64, sliding_window=512, max_position_embeddings=4096)
way = choose(model, None)
span = EncodedSpan(tuple(at * 97 % 262144 for at in range(2048)), 1)
before = loaded_memory()
(nll,) = way.losses.sums([span])
print(way.path)
print(nll / 2047)
print(peak_memory() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
@pytest.mark.timeout(300)
def test_a_large_vocabulary_needs_little_memory():
    """262,144 tokens, as Gemma has them: 2,048 tokens of text take 1.5 GB at most over the loaded model.

    Their logits alone would be 2.1 GB in float32, and a published forward pass keeps several copies.
    """
    done = subprocess.run([sys.executable, "-c", GEMMA], cwd=REPO, capture_output=True, text=True, check=True)
    path, mean, grown = done.stdout.splitlines()
    assert path.startswith("packed rows, attention by run; head on targets")
    assert 10 < float(mean) < 20
    assert 0 < int(grown) < 1.5e9

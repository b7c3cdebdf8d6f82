"""The lock of everything that loads or runs a local model."""

from __future__ import annotations

import threading

AT_WORK = threading.RLock()
"""Lock held while a local model is loaded or computes. Two models at work at once only compete for the same cores, and
transformers can neither be imported nor load a model from two threads, because it changes torch's defaults
meanwhile."""

"""Makes the package and the parts of the tests importable, and the hub unreachable, before a test is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[2] / "docs" / "examples")]
os.environ["HF_HUB_OFFLINE"] = "1"

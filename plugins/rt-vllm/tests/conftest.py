"""The command line in the process of a test, with the package as a plugin."""

from __future__ import annotations

import os
from functools import partial

import pytest
from vllm_parts import tokenizer_folder

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the library is imported


@pytest.fixture
def tokenizer():
    """The directory of a tokenizer."""
    return tokenizer_folder()


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)


@pytest.fixture
def rt(rt_project):
    """Calls ``rt`` in the folder of ``rt_project``."""
    return partial(rt_project.rt, plugins=("rt_vllm",))

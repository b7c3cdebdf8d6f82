"""The stage keeps the contract of stages."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rt_framework.testing import contracts

OTHER = str(Path(__file__).with_name("held_out.jsonl"))
"""A data set with the prompt of one of the ten rows with which the kit checks a stage."""


class TestDecontaminate(contracts.StageContract):
    plugin = "rt_compare"
    name = "decontaminate"
    options: ClassVar = {"against": [OTHER]}
    before = ()

    def test_some_rows_are_dropped_and_some_go_on(self, tmp_path):
        """So the other checks see both."""
        outcomes = [line["outcome"] for line in self._finished(tmp_path)]
        assert (outcomes.count("dropped"), outcomes.count("original")) == (1, 9)

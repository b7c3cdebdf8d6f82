"""Every built-in plugin keeps the contract of its kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rt_framework.testing import contracts


class Builtin:
    plugin = "builtin"


def _keeps(contract, *names, **more):
    """A test class for each name, in this module."""
    for name, options in names:
        own = {"name": name, "options": options, **more}
        title = f"Test{contract.kind[:-1].capitalize()}_{name.replace('-', '_')}"
        globals()[title] = type(title, (Builtin, contract), own)


METRICS = ("ifd", "ifd-loss", "r-ifd", "r-ifd-loss", "ppl", "loss", "length")

_keeps(contracts.MetricContract, *((name, None) for name in METRICS))
_keeps(contracts.SelectorContract, ("highest", "ifd"), ("lowest", {"metric": "r-ifd", "gates": {"ifd": {"below": 1}}}))
_keeps(contracts.SelectorContract, ("newest", None))
_keeps(
    contracts.DatasetSelectorContract,
    ("top", {"metric": "ifd", "fraction": 0.3}),
    ("threshold", {"metric": "ifd", "below": 0.6}),
    ("random", {"count": 7}),
    ("length-matched", {"metric": "ifd", "count": 5}),
)
_keeps(
    contracts.ReflectionContract,
    ("instruction", None),
    ("response", {"max_tokens": 99}),
    ("prompt", {"file": str(Path(__file__).parent.parent / "docs" / "examples" / "code.md"), "temperature": 0.5}),
)
_keeps(contracts.TemplateContract, *((name, None) for name in ("alpaca", "vicuna", "wizardlm", "none", "chat")))
_keeps(
    contracts.StageContract,
    ("reflect", "instruction"),
    ("choose", {"highest": "ifd"}),
    ("gate", {"ifd": {"below": 0.9}}),
    ("select", {"top": {"metric": "ifd", "count": 4}}),
    ("measure", ["ifd", "r-ifd"]),
    ("unimproved", "drop"),
)
_keeps(contracts.ExecutorContract, ("local", None), ("processes", {"workers": 2}))
_keeps(contracts.ReporterContract, ("console", None), ("jsonl", None))
_keeps(contracts.FormatContract, ("csv", None))
_keeps(contracts.FormatContract, *((name, None) for name in ("json", "jsonl", "parquet", "dataset")), nested=True)


class TestLiteLLM(Builtin, contracts.TeacherContract):
    name = "litellm"
    options = "openai/fake-model"

    def options_for(self, url):
        return {"model": "openai/fake-model", "api_base": url, "structured": True}


class TestReplay(Builtin, contracts.TeacherContract):
    """Its answers are in a file, by reflection and pair."""

    name = "replay"
    free = True

    @pytest.fixture(autouse=True)
    def file(self, tmp_path):
        line = {"reflection": "response", "pair": "0" * 32, "index": 0, "text": "An answer."}
        (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
        type(self).options = str(tmp_path / "answers.jsonl")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A directory with a model of a few thousand weights."""
    from tests import tiny_models as tiny

    return str(tiny.save(tmp_path_factory.mktemp("model"), tiny.llama(), tiny.tokenizer()))


class TestStudentAsTeacher(Builtin, contracts.TeacherContract):
    """It asks the kit's student."""

    name = "student"
    free = True


class TestHFStudent(Builtin, contracts.StudentContract):
    name = "hf"

    @pytest.fixture(autouse=True)
    def model(self, tiny_model):
        type(self).options = {"model": tiny_model, "device": "cpu"}


class TestFakeStudent(contracts.StudentContract):
    plugin = "rt_framework.testing.parts"
    name = "fake"


class TestScripted(contracts.TeacherContract):
    plugin = "rt_framework.testing.parts"
    name = "scripted"
    free = True


@pytest.mark.model
class TestSmolLM2(Builtin, contracts.StudentContract):
    name = "hf"

    @pytest.fixture(autouse=True)
    def model(self, smollm2_saved):
        type(self).options = {"model": smollm2_saved, "dtype": "float32"}  # auto asks torch for the device


@pytest.mark.model
class TestHFTeacher(Builtin, contracts.TeacherContract):
    name = "hf"
    free = True

    @pytest.fixture(autouse=True)
    def model(self, smollm2_saved):
        type(self).options = {"model": smollm2_saved, "batch_size": 2}

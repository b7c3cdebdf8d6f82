"""The identity of models, by the content of files or the commit on the hub, and loading two of them at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import ModelError
from tests import tiny_models as tiny


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_the_fingerprint_follows_the_content(tmp_path):
    """Weights, tokenizer and dtype count; the directory's name and other files do not."""
    folder = tiny.save(tmp_path / "a", tiny.llama(), tiny.tokenizer())
    same = tiny.save(tmp_path / "b", tiny.llama(), tiny.tokenizer())
    (Path(same) / "README.md").write_text("other")
    before = HFStudent(HFSettings(folder, dtype="float32")).fingerprint
    assert HFStudent(HFSettings(same, dtype="float32")).fingerprint == before
    assert HFStudent(HFSettings(folder, dtype="bfloat16")).fingerprint != before
    assert HFStudent(HFSettings(folder, device="cpu")).fingerprint == before
    tiny.tokenizer(bos=True).save_pretrained(folder)
    assert HFStudent(HFSettings(folder, dtype="float32")).fingerprint != before


def test_a_hash_is_remembered_and_noticed_when_stale(tmp_path, monkeypatch):
    """An unchanged file is not read again; a changed one is; a broken or unwritable memory only costs time."""
    file = tmp_path / "x.gguf"
    file.write_bytes(b"one")
    first = models.model_identity(HFSettings(str(file)))
    memory = Path(os.environ["XDG_CACHE_HOME"]) / "rt_framework" / "hashes.json"
    assert first in memory.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert models.model_identity(HFSettings(str(file))) == first
    file.write_bytes(b"other")
    assert models.model_identity(HFSettings(str(file))) != first
    file.write_bytes(b"one")
    memory.write_text("[half a")
    assert models.model_identity(HFSettings(str(file))) == first
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert models.model_identity(HFSettings(str(file))) == first


def test_a_hub_commit_is_found_without_a_network(tmp_path, monkeypatch):
    """A commit is itself; a cached branch is its commit; anything else is an error that says what to give."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    models.hub_commit.cache_clear()
    assert models.model_identity(HFSettings("any/model", revision=commit)) == commit
    assert models.model_identity(HFSettings("some/model")) == commit
    assert models.model_identity(HFSettings("some/model", revision="main")) == commit
    with pytest.raises(ModelError, match=r"'other/model' does not exist: .* the hub cannot be reached\. Give a"):
        models.model_identity(HFSettings("other/model"))
    with pytest.raises(ModelError, match=r"not a valid hub id\. Give a hub id, a directory or a \.gguf file"):
        models.model_identity(HFSettings("./no/such/file.gguf"))


def test_a_teacher_and_a_student_may_load_at_once(tmp_path):
    """Loading transformers from two threads at the same time once failed with a missing attribute."""
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from rt_framework.builtin import models\n"
        "from rt_framework.builtin.students.settings import HFSettings\n"
        "from rt_framework.errors import ModelError\n"
        "def load(function):\n"
        "    try:\n"
        f"        function(HFSettings({str(tmp_path)!r}, dtype='float32', device='cpu'))\n"
        "    except ModelError as error:\n"
        "        return str(error)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    print(*pool.map(load, [models.load_tokenizer, models.load_model, models.load_config] * 4), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "has no attribute" not in done.stdout
    assert done.stdout.count("cannot be loaded") == 12

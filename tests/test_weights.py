"""A model is the model of its files: weights that are missing are refused, and never made up."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rt_framework import Span
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.teachers.hf import HFTeacher
from rt_framework.builtin.teachers.hf_settings import HFTeacherSettings
from rt_framework.builtin.weights import whole_model
from rt_framework.errors import ModelError
from tests import tiny_models as tiny
from tests.helpers import Cli, rows, the_error, write_json
from tests.run_helpers import request

SPAN = Span("Name a colour: ", "blue, as the river")


def student(folder: Path | str) -> HFStudent:
    return HFStudent(HFSettings(str(folder), device="cpu"))


def score(folder: Path | str) -> float:
    one = student(folder)
    (loss,) = one.score(one.encode([SPAN]))
    assert loss.nll is not None
    return loss.nll


def ask(folder: Path | str) -> None:
    HFTeacher(HFTeacherSettings(str(folder), device="cpu")).complete_many([request()])


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights that lie there."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def configure(folder: Path, **keys: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_a_model_without_one_of_its_weights_is_refused(name, tmp_path):
    """By every architecture; whole it gives the same loss each time it is loaded, with a tied head and without."""
    folder = tmp_path / "model"
    tiny.save(folder, tiny.FAMILIES[name](), tiny.tokenizer())
    assert score(folder) == pytest.approx(score(tiny.save(tmp_path / "again", tiny.FAMILIES[name](), tiny.tokenizer())))
    cut = Path(tiny.save(tmp_path / "cut", tiny.FAMILIES[name](), tiny.tokenizer()))
    dropped = max(load_file(cut / "model.safetensors"))
    change(cut, lambda tensors: tensors.pop(dropped))
    for use in (score, ask):
        with pytest.raises(ModelError, match=r"is not complete: its files lack \d+ tensor") as caught:
            use(cut)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        (["lm_head.weight"], "1 tensor (lm_head.weight), which"),
        (["model.norm.weight", "lm_head.weight"], "2 tensors (lm_head.weight, model.norm.weight), which"),
        (["layers"], "18 tensors (model.layers.0.input_layernorm.weight, "),
    ],
)
def test_the_line_names_what_is_missing(dropped, named, tmp_path):
    tiny.save(tmp_path, tiny.llama(), tiny.tokenizer())

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if any(word in key for word in dropped)]:
            del tensors[key]

    change(tmp_path, drop)
    with pytest.raises(ModelError) as caught:
        score(tmp_path)
    assert named in str(caught.value)
    assert "take a complete checkpoint" in str(caught.value)


def test_weights_of_other_sizes_that_are_only_reported_are_refused():
    """A loading report that names mismatched weights is refused, although transformers raises before it gets so far."""
    report = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [("lm_head.weight", (4, 2), (3, 2))]}
    with pytest.raises(ModelError, match=r"its files lack 1 tensor \(lm_head\.weight\)"):
        whole_model("m", lambda: (object(), report))


def test_a_head_that_is_tied_is_not_missing(tmp_path):
    """Its weights are those of the embeddings, whether the files hold them twice or once."""
    twice, once = (Path(tiny.save(tmp_path / name, tiny.llama(), tiny.tokenizer())) for name in ("twice", "once"))
    change(twice, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    change(once, lambda tensors: tensors.pop("lm_head.weight"))
    configure(once, tie_word_embeddings=True)
    assert score(once) == pytest.approx(score(twice))


def test_what_the_files_hold_besides_is_noted(tmp_path, caplog):
    """Further heads change no score; the run says that they are there, in its log and in the manifest's words."""
    before = score(tiny.save(tmp_path / "a", tiny.llama(), tiny.tokenizer()))
    folder = Path(tiny.save(tmp_path / "b", tiny.llama(), tiny.tokenizer()))
    change(folder, lambda tensors: tensors.update({"value_head.weight": torch.zeros(1, 32)}))
    with caplog.at_level(logging.WARNING, "rt_framework"):
        assert score(folder) == pytest.approx(before)
    note = "weights in the files that the model does not use: 1 tensor (value_head.weight)"
    assert [record.getMessage() for record in caplog.records] == [f"model '{folder}': {note}"]
    assert student(folder).path.endswith(f"; {note}")
    assert "in the files" not in student(tmp_path / "a").path


@pytest.mark.parametrize("what", ["sizes", "shard", "truncated", "empty"])
def test_broken_files_are_one_line(what, tmp_path, monkeypatch, capfd):
    """Sizes that are not the config's, a shard that is not there, a file that ends early: exit code 2, no score."""
    model = tmp_path / "model"
    tiny.llama(512).save_pretrained(model, max_shard_size="60KB" if what == "shard" else "5GB")
    tiny.tokenizer().save_pretrained(model)
    weights = sorted(model.glob("*.safetensors"))
    if what == "sizes":
        change(model, lambda tensors: tensors.update({"model.norm.weight": torch.ones(16)}))
    elif what == "shard":
        assert len(weights) > 1
        weights[0].unlink()
    else:
        weights[0].write_bytes(weights[0].read_bytes()[: 0 if what == "empty" else -100])
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(2))
    arguments = ("score", "data.json", "--student", f"hf:{model}", "--student-device", "cpu", "--out", "s.jsonl")
    error = the_error(Cli(monkeypatch, capfd)(*arguments, "--metric", "ppl", "--preset", "selective-rt"))
    assert error.startswith(f"model '{model}'")
    assert "sizes that its config.json states" in error or "cannot be loaded" in error
    assert not (tmp_path / "s.jsonl").exists()


def test_a_vocabulary_that_is_too_small_is_one_line(tmp_path):
    """Before anything is scored or asked: the tokenizer of another model gives numbers that this one does not know."""
    small = tiny.family("Llama", vocab_size=300)
    tiny.save(tmp_path, small, tiny.tokenizer())
    for use in (lambda: student(tmp_path).encode([SPAN]), lambda: ask(tmp_path)):
        with pytest.raises(ModelError, match=r"but the model only those below 300; take the tokenizer that belongs"):
            use()


def test_a_special_token_that_no_text_needs_may_have_no_embedding(tmp_path):
    """Padding that somebody has added; text that holds such a token has no score, and is refused as a question."""
    tokens = tiny.tokenizer()
    model = tiny.family("Llama", vocab_size=len(tokens))
    tokens.add_special_tokens({"pad_token": "<pad>"})
    folder = tiny.save(tmp_path, model, tokens)
    assert score(folder) > 0
    (loss,) = student(folder).encode([Span("Say ", "a <pad> b")])
    assert (loss.nll, loss.status) == (None, "bad_text")
    assert "'<pad>'" in loss.reason

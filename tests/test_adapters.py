"""Adapters: merged into the weights, they score as peft's own model does, and one that does not fit is refused."""

from __future__ import annotations

import json
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rt_framework import EncodedSpan
from rt_framework.builtin import adapters, models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.teachers.hf import HFTeacher
from rt_framework.builtin.teachers.hf_settings import HFTeacherSettings
from rt_framework.errors import ConfigError, ModelError
from rt_framework.model import Request, Sampling, Turn
from tests import tiny_models as tiny

peft = pytest.importorskip("peft")

SEQUENCES = tiny.sequences(count=6)
LINEAR = ["q_proj", "v_proj", "down_proj"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def base(tmp_path) -> str:
    """The folder of a small random model."""
    return tiny.save(tmp_path / "model", tiny.llama(), tiny.tokenizer(bos=True, chat=tiny.CHAT))


@contextmanager
def quiet():
    """Keep the warnings of peft itself, which are about releases of transformers, from failing a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def lora(folder: Path, model: str, kind: type | None = None, **options) -> str:
    """An adapter over *model* whose weights are random, saved as peft saves it."""
    torch.manual_seed(1)
    loaded = models.load_model(HFSettings(model, device="cpu"))
    models._load.cache_clear()  # peft changes the model
    if kind is None:
        options = {"r": 4, "lora_alpha": 16, "target_modules": LINEAR, **options}
    with quiet(), torch.no_grad():
        adapted = peft.get_peft_model(loaded, (kind or peft.LoraConfig)(task_type="CAUSAL_LM", **options))
        for name, weights in adapted.named_parameters():
            if ".default" in name:
                weights.normal_(std=0.2)
        adapted.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def adapter(tmp_path, base) -> str:
    """A LoRA adapter over that model."""
    return lora(tmp_path / "adapter", base)


def student(model: str, adapter: str | None = None) -> HFStudent:
    """The student, which loads the model anew."""
    models._load.cache_clear()
    return HFStudent(HFSettings(model, adapter=adapter, device="cpu"))


def losses(made: HFStudent) -> list[float]:
    """The losses of some sequences."""
    return [loss.nll for loss in made.score(SEQUENCES)]


def of_peft(model: str, adapter: str) -> list[float]:
    """The same by peft's own model, one sequence at a time, nothing merged."""
    models._load.cache_clear()
    loaded = models.load_model(HFSettings(model, device="cpu"))
    models._load.cache_clear()
    with quiet():
        adapted = peft.PeftModel.from_pretrained(loaded, adapter).eval()
    return [tiny.alone(adapted, span) * (len(span.ids) - span.start) for span in SEQUENCES]


def test_a_merged_adapter_scores_as_peft_does(base, adapter):
    """Another model than its base, by the fast way of scoring."""
    made = student(base, adapter)
    found = losses(made)
    assert found == pytest.approx(of_peft(base, adapter), rel=1e-5)
    assert found != pytest.approx(losses(student(base)), rel=1e-2)
    assert made.path.startswith("packed rows, attention by run; head on targets")


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": [*LINEAR, "embed_tokens"]},
    ],
)
def test_other_forms_of_lora_are_merged(options, base, tmp_path):
    """Scaled, with magnitudes, with a head of its own."""
    adapter = lora(tmp_path / "adapter", base, **options)
    assert losses(student(base, adapter)) == pytest.approx(of_peft(base, adapter), rel=1e-5)


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_a_head_that_is_tied_to_the_embeddings(layer, tmp_path):
    """An adapter of one of them would change both when it is merged, so it is refused; a whole new one is not."""
    model = tiny.family("Llama", tie_word_embeddings=True)
    folder = tiny.save(tmp_path / "model", model, tiny.tokenizer())
    for options in ({}, {"ensure_weight_tying": True}):
        adapter = lora(tmp_path / f"adapter{len(options)}", folder, target_modules=[*LINEAR, layer], **options)
        with pytest.raises(ModelError, match="it changes the embeddings or the head, which have one weight"):
            losses(student(folder, adapter))
    whole = lora(tmp_path / "whole", folder, modules_to_save=[layer])
    assert losses(student(folder, whole)) == pytest.approx(of_peft(folder, whole), rel=1e-5)


def test_a_merge_that_changes_the_losses_is_refused(base, adapter, monkeypatch):
    """The merged model is compared with peft's own on a probe, so the reason does not matter."""
    from peft.tuners.lora import LoraModel

    def wrong(self, **options):
        model = merge(self, **options)
        with torch.no_grad():
            model.get_output_embeddings().weight[7] += 1
        return model

    merge = LoraModel.merge_and_unload
    monkeypatch.setattr(LoraModel, "merge_and_unload", wrong)
    with pytest.raises(ModelError, match=r"cannot be merged into .*: then the model gives losses that differ"):
        losses(student(base, adapter))


def test_teacher_and_student_with_one_adapter_share_a_model(base, adapter):
    """And answer alike, in another way than the base model."""
    request = Request("test", "0", 0, (Turn("user", "Name the colours."),), Sampling(max_tokens=12))
    made = student(base, adapter)
    teacher = HFTeacher(HFTeacherSettings(base, adapter=adapter, device="cpu"))
    (own,) = made.generate([request])
    assert teacher.complete_many([request]) == [own]
    assert models._load.cache_info().misses == 1
    assert HFTeacher(HFTeacherSettings(base, device="cpu")).complete_many([request])[0].text != own.text
    assert teacher.identity != HFTeacher(HFTeacherSettings(base, device="cpu")).identity


# --- identity -----------------------------------------------------------------------------------


def test_the_fingerprint_includes_the_adapter(base, adapter, tmp_path):
    """Its content, not its place; nothing is loaded. Without an adapter it is what it was before there were any."""
    plain, made = student(base).fingerprint, student(base, adapter)
    fingerprint = made.fingerprint
    assert models._load.cache_info().misses == 0
    assert fingerprint.replace(f" adapter {adapters.adapter_identity(adapter, base)}", "") == plain
    moved = shutil.copytree(adapter, tmp_path / "moved")
    (moved / "README.md").write_text("Nothing that a loss depends on.")
    assert student(base, str(moved)).fingerprint == fingerprint
    weights = load_file(moved / "adapter_model.safetensors")
    save_file({name: 2 * values for name, values in weights.items()}, moved / "adapter_model.safetensors")
    other = student(base, str(moved)).fingerprint
    edit(moved, lora_alpha=8)
    assert len({plain, fingerprint, other, student(base, str(moved)).fingerprint}) == 4


# --- refusals -----------------------------------------------------------------------------------


def edit(folder: Path, **changes) -> None:
    """Change the adapter's configuration."""
    path = Path(folder) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    without_weights(folder)


def tensors(folder: Path, change) -> None:
    """Change the adapter's weights."""
    weights = load_file(folder / "adapter_model.safetensors")
    change(weights)
    save_file(weights, folder / "adapter_model.safetensors")


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            shutil.rmtree,
            "is no adapter of peft: give a directory with adapter_config.json and adapter_model.safetensors",
        ),
        (
            lambda folder: (folder / "adapter_config.json").unlink(),
            "is no adapter of peft: it has no adapter_config.json",
        ),
        (without_weights, "has no adapter_model.safetensors: save it with"),
        (
            pickled,
            "has no adapter_model.safetensors; adapter_model.bin is a pickle, which may run code and is not read",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "has no valid adapter_config.json"),
        (
            lambda folder: (folder / "adapter_config.json").write_text("[]"),
            "has no valid adapter_config.json: it names",
        ),
    ],
)
def test_a_directory_that_is_no_adapter_is_one_line(spoil, line, base, adapter):
    """Known from the fingerprint on, and with `rt doctor`, which asks for none."""
    spoil(Path(adapter))
    for ask in (lambda made: made.fingerprint, lambda made: losses(made)):
        with pytest.raises(ModelError) as caught:
            ask(student(base, adapter))
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: tensors(f, lambda w: w.pop(FIRST)), "it lacks 1 tensors, such as base_model.model.model.layers.0"),
        (lambda f: tensors(f, lambda w: w.update({f"{FIRST}s": w[FIRST] + 1})), "it has unknown 1 tensors, such as"),
        (lambda f: tensors(f, lambda w: w.update({FIRST: torch.ones(4, 7)})), "its tensors have other sizes"),
        (lambda f: edit(f, target_modules=["nowhere"]), "Target modules {'nowhere'} not found in the base model"),
        (lambda f: edit(f, peft_type="NONE"), "KeyError: 'NONE'"),
        (lambda f: edit(f, r=2), "its tensors have other sizes"),
        (lambda f: tensors(f, lambda w: w[FIRST].fill_(torch.nan)), "ValueError: NaNs detected"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_line(spoil, line, base, adapter):
    """Without the error, missing tensors would keep their initial values, and unexpected ones would be left out."""
    spoil(Path(adapter))
    with pytest.raises(ModelError) as caught:
        losses(student(base, adapter))
    assert f"adapter '{adapter}' does not fit the model '{base}': " in str(caught.value)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_head_that_is_missing_is_noticed(base, tmp_path):
    """It is no tensor of LoRA, but a module that was trained beside it."""
    adapter = lora(tmp_path / "adapter", base, modules_to_save=["lm_head"])
    tensors(Path(adapter), lambda weights: weights.pop("base_model.model.lm_head.weight"))
    with pytest.raises(ModelError, match=r"does not fit .*: KeyError: 'base_model\.model\.lm_head"):
        losses(student(base, adapter))


def test_an_adapter_that_cannot_be_merged_is_one_line(base, tmp_path):
    """Such as virtual tokens before every prompt."""
    adapter = lora(tmp_path / "adapter", base, peft.PromptTuningConfig, num_virtual_tokens=3)
    with pytest.raises(ModelError, match="is of the kind PROMPT_TUNING, which cannot be merged into weights"):
        losses(student(base, adapter))


@pytest.mark.parametrize(
    ("stated", "model", "good"),
    [
        ("org/base", "org/base", True),
        ("Org/Base", "org/base", True),
        ("org/base", "org/other", False),
        (None, "org/other", True),
        ("org/base", "HERE", True),
        ("HERE", "org/base", True),
        ("/moved/away", "org/base", True),
        ("/moved/away", "HERE", True),
        ("COPY", "HERE", True),
        ("ELSE", "HERE", False),
    ],
)
def test_an_adapter_of_another_base_model_is_refused(stated, model, good, base, adapter, tmp_path):
    """It shows in two names on the hub, or in two directories with other weights; else the adapter is accepted."""
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "README.md").write_text("As from the hub.")
    elsewhere = tiny.save(tmp_path / "else", tiny.family("Llama", num_hidden_layers=1), tiny.tokenizer())
    places = {"HERE": base, "COPY": str(copy), "ELSE": elsewhere}
    edit(Path(adapter), base_model_name_or_path=places.get(stated, stated))
    model = places.get(model, model)
    if good:
        assert adapters.adapter_identity(adapter, model)
    else:
        with pytest.raises(ModelError, match=f"was trained on '{places.get(stated, stated)}', not on '{model}': give"):
            adapters.adapter_identity(adapter, model)


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_that_holds_an_adapter_is_refused(whole, base, adapter, tmp_path):
    """Transformers would load it, over another model, as soon as peft is installed."""
    folder = tmp_path / "both"
    shutil.copytree(adapter, folder)
    if whole:
        shutil.copytree(base, folder, dirs_exist_ok=True)
    for ask in (lambda made: made.fingerprint, lambda made: made.score([EncodedSpan((5, 6, 7), 1)])):
        with pytest.raises(ModelError) as caught:
            ask(student(str(folder)))
        assert f"model '{folder}' holds an adapter (adapter_config.json): give a directory of it" in str(caught.value)


def test_an_adapter_beside_a_model_on_the_hub_is_refused(adapter, monkeypatch):
    """Transformers looks for one in the revision of the model."""
    asked = []

    def find(name, **where):
        asked.append((name, where))
        return f"{adapter}/adapter_config.json"

    monkeypatch.setattr("transformers.utils.peft_utils.find_adapter_config_file", find)
    options = {"revision": "a" * 40, "local_files_only": True}
    with pytest.raises(ModelError, match="model 'org/model' holds an adapter"):
        adapters.check_alone("org/model", "org/model", {**options, "trust_remote_code": False})
    assert asked == [("org/model", options)]


def test_without_peft_the_command_is_named(base, adapter, monkeypatch):
    """From the fingerprint on, before anything is asked."""
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"an adapter needs peft: pip install 'rt-framework\[adapters\]'"):
        student(base, adapter).fingerprint  # noqa: B018

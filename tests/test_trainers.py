"""Packs in the hands of real trainers: TRL takes one step on what a run exported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rt_framework.export.packs import export_pack
from rt_framework.plugin.host import Host
from tests import tiny_models as tiny
from tests.run_helpers import SELECTIVE, go, job
from tests.test_demo_data import DEMO

pytestmark = [
    # The trainers' own: what they import and will rename is not what is tested.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A finished run on some of the demo's samples, with a fake teacher and a fake student."""
    folder = tmp_path_factory.mktemp("trainers")
    samples = json.loads((DEMO / "samples.json").read_text("utf-8"))
    go(job(folder, samples[:4], SELECTIVE), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A small model with a chat template: what a trainer asks of a pack does not depend on the weights."""
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.llama(512), tiny.tokenizer(eos=True, chat=tiny.CHAT))


@pytest.fixture
def trained(run_dir, tmp_path, model):
    """Takes one step on a pack; returns the loss and whether a weight has changed."""
    trl = pytest.importorskip("trl")
    import torch
    from datasets import load_dataset

    def train(pack: str, name: str) -> tuple[float, bool]:
        export_pack(Host(only=[]), run_dir, tmp_path / pack, pack)
        data = load_dataset(str(tmp_path / pack), split="train", cache_dir=str(tmp_path / "cache"))
        step = {"max_steps": 1, "per_device_train_batch_size": 1, "max_length": 96, "learning_rate": 1e-3}
        here = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
        loading = {"model_init_kwargs": {"dtype": "float32"}}
        config = getattr(trl, f"{name}Config")(output_dir=str(tmp_path / "out"), **step, **here, **loading)
        trainer = getattr(trl, f"{name}Trainer")(model=model, args=config, train_dataset=data)
        weight = trainer.model.model.norm.weight
        before = weight.detach().clone()
        loss = trainer.train().training_loss
        return loss, not torch.equal(before, weight)

    return train


@pytest.mark.parametrize("pack", ["trl", "trl-messages"])
def test_sft_trainer_takes_a_step(trained, pack):
    """On both forms that it knows."""
    loss, changed = trained(pack, "SFT")
    assert math.isfinite(loss) and loss > 0
    assert changed


def test_dpo_trainer_takes_a_step(trained):
    """The columns that say why a pair is one are no obstacle."""
    loss, changed = trained("trl-preference", "DPO")
    assert loss == pytest.approx(math.log(2), abs=1e-3), "the policy is still the reference"
    assert changed

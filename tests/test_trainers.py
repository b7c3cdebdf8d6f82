"""Packs in the hands of real trainers: they train what was scored, and TRL takes one step on what a run exported."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from rt_framework.errors import DataError
from rt_framework.export.packs import export_pack
from rt_framework.plugin.host import Host
from tests import chat_templates
from tests import tiny_models as tiny
from tests.helpers import REPO
from tests.run_helpers import SELECTIVE, go, job
from tests.test_demo_data import DEMO
from tests.trainers.labels import compare, export, targets

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


# --- what is trained --------------------------------------------------------------------------

ENDING = "'<|im_end|>\\n' behind"
THOUGHT = "<think>\\nTHOUGHTS\\n</think>"
LEADS = {
    # The first template shows no reasoning that is apart from the text; inline reasoning is a part of the text.
    "SMOLLM2": {"", THOUGHT},
    # It begins every answer behind the last question with a thought, if need be with an empty one. White space counts
    # with what follows it.
    "REASONING": {THOUGHT, "<think>\\n\\n</think>"},
    # One token of the tokenizer holds the last character of the thought and the first one of a call.
    "TOOLS": {"", THOUGHT, "<think>THOUGHTS</think>", "<think>THOUGHTS</think><"},
}
"""Text that each template puts before an answer, and that is trained with it, though it is not scored."""


@pytest.fixture(scope="module")
def tokenizer(smollm2_saved):
    """SmolLM2's tokenizer with one of several templates, by name."""
    from transformers import AutoTokenizer

    def load(template: str):
        found = AutoTokenizer.from_pretrained(smollm2_saved)
        if template != "SMOLLM2":
            found.chat_template = getattr(chat_templates, template)
        return found

    return load


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The rows of a pack with the labels that TRL gives them."""
    trl = pytest.importorskip("trl")
    from datasets import load_dataset

    def label(folder: Path, tokenizer, **options):
        out = tmp_path_factory.mktemp("labelled")
        data = load_dataset("json", data_files=str(folder / "train.jsonl"), split="train", cache_dir=str(out))
        here = {"use_cpu": True, "bf16": False, "report_to": "none", "max_length": None}
        config = trl.SFTConfig(output_dir=str(out), **here, **options)
        trainer = trl.SFTTrainer(model=tiny.llama(), args=config, train_dataset=data, processing_class=tokenizer)
        return list(trainer.train_dataset)

    return label


@pytest.mark.model
@pytest.mark.parametrize("template", LEADS)
@pytest.mark.parametrize(("rule", "turns"), [("last", 60), ("all", 102), ("marked", 52)])
def test_trl_trains_what_is_scored(labelled, tokenizer, rule, turns, template, tmp_path):
    """On the content, character by character, after the same text as in the score; with every template."""
    tokens = tokenizer(template)
    pack = export(tmp_path, "trl", rule)
    found = labelled(pack.folder, tokens)
    assert len(found) == len(pack.rows) == turns
    beside, unscored = Counter(), set()
    for row, pair, place in zip(found, pack.pairs, pack.places, strict=True):
        expected = targets(pair, tokens, alone=True)
        if isinstance(expected, str):
            unscored.add(expected)
        else:
            beside += compare(row["input_ids"], row["labels"], tokens, expected[place : place + 1])
    # A template that does not show calls of tools has no score for a conversation in which one is trained.
    assert unscored <= (set() if template == "TOOLS" else {"template_error"})
    assert set(beside) <= {f"'{lead}' before, {ENDING}" for lead in LEADS[template]}
    assert sum(beside.values()) >= 40


@pytest.mark.model
def test_trl_trains_whole_conversations_as_they_are_scored(labelled, tokenizer, tmp_path):
    """With a chat template that says where the assistant's text is, and if all turns are trained."""
    tokens = tokenizer("MARKING")
    pack = export(tmp_path, "trl-messages", "all")
    found = labelled(pack.folder, tokens, assistant_only_loss=True)
    assert len(found) == len(pack.rows) == 57
    beside = Counter()
    for row, pair in zip(found, pack.pairs, strict=True):
        expected = targets(pair, tokens, alone=False)
        if not isinstance(expected, str):
            beside += compare(row["input_ids"], row["labels"], tokens, expected)
    assert set(beside) <= {f"'{lead}' before, '<|im_end|>' behind" for lead in ("", THOUGHT)}
    assert sum(beside.values()) == 63


@pytest.mark.parametrize("rule", ["last", "marked"])
def test_whole_conversations_are_refused_where_a_turn_is_not_trained(rule, tmp_path):
    """One line, with the pack that trains it."""
    with pytest.raises(DataError, match="take pack 'trl', which trains exactly the turns that were scored"):
        export(tmp_path, "trl-messages", rule)
    assert not (tmp_path / "trl-messages").exists()


@pytest.mark.parametrize(("pack", "rule"), [("trl", "all"), ("trl-messages", "all"), ("axolotl", "marked")])
def test_a_loader_gives_the_messages_as_they_were_written(pack, rule, tmp_path):
    """Without the keys of other messages, and calls without the arguments of others, however far down they stand."""
    from datasets import load_dataset

    made = export(tmp_path, pack, rule)
    path = str(made.folder / "train.jsonl")
    for chunk in ({}, {"chunksize": 4096}):  # the loader looks at the first chunk; by default it has 10 MiB
        data = load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"), **chunk)
        assert list(data) == made.rows


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("trainer", ["llama_factory", "axolotl_loads"])
def test_other_trainers_train_what_is_scored(trainer, run_dir, tmp_path):
    """By their own code, with the Python of an environment that has them: ``RT_PYTHON_OF_AXOLOTL_LOADS=…``."""
    python = os.environ.get(f"RT_PYTHON_OF_{trainer.upper()}")
    if python is None:
        pytest.skip(f"RT_PYTHON_OF_{trainer.upper()} names no Python that has it")
    for pack in ("llama-factory", "axolotl"):
        for name in (pack, f"{pack}-preference"):
            export_pack(Host(only=[]), run_dir, tmp_path / name, name)
    script = REPO / "tests" / "trainers" / f"{trainer}.py"
    done = subprocess.run([python, script, tmp_path], cwd=tmp_path, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]

"""Real trainings of a small model."""

from __future__ import annotations

import socket
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from prove_parts import rows
from transformers import TrainerCallback

from rt_framework import Pair, RtError
from rt_framework.model import ToolCall, Turn
from rt_prove import outcomes
from rt_prove.held_out import HeldOutSet
from rt_prove.settings import Learner, Training
from rt_prove.training import count_tokens, train

PAIRS = [Pair(row["instruction"], row["input"], row["output"]) for row in rows(12)]
SETTINGS = Training(batch_size=4)


@pytest.fixture
def learner(model):
    return Learner.named(model, "float32")


@pytest.fixture
def losses(learner, host, tmp_path):
    """Losses of the samples that were trained on, by an adapter, or by the model alone."""
    pairs = tuple(PAIRS)

    def measure(adapter=None, model=None):
        student = (model or learner).student(adapter)
        folder = tmp_path / f"losses{len(list(tmp_path.iterdir()))}"
        return outcomes.held_out_losses(host, student, [HeldOutSet("plain", pairs, 0)], folder)["plain"]

    return measure


class Targets(TrainerCallback):
    """Counts the tokens on which the loss is, and those that are shown, in the batches that the trainer makes."""

    def __init__(self):
        self.targets = self.shown = 0

    def on_train_begin(self, *_, train_dataloader, **__):
        for batch in train_dataloader:
            self.targets += int((batch["labels"] != -100).sum())
            self.shown += int(batch["attention_mask"].sum()) if "attention_mask" in batch else 0


def test_a_training_is_repeatable_and_lowers_the_loss(learner, losses, tmp_path, capfd):
    """To the last bit; another seed or other samples give other losses. The trainer prints nothing."""
    base = losses()
    trained = {}
    for name, pairs, seed in (("a", PAIRS, 0), ("same", PAIRS, 0), ("seed", PAIRS, 1), ("other", PAIRS[::-1], 0)):
        train(learner, pairs, SETTINGS, seed, 1e-2, tmp_path / name)
        trained[name] = losses(tmp_path / name)
    assert trained["a"] == trained["same"]
    assert len({tuple(one) for one in trained.values()}) == 3
    assert sum(trained["a"]) < sum(base)
    assert capfd.readouterr().out == ""


def test_the_loss_is_on_the_responses(learner, tmp_path):
    """As many tokens as were counted beforehand; longer samples are cut."""
    for settings in (SETTINGS, Training(batch_size=4, max_length=70)):
        seen = Targets()
        train(learner, PAIRS, settings, 0, 1e-3, tmp_path / "out", 1, [seen])
        counted = count_tokens(learner, PAIRS, settings)
        assert (seen.targets, seen.shown) == (counted.target, counted.all)
        assert 0 < counted.target < counted.all
    assert 0 < counted.cut < 12 and counted.lost == 0
    assert count_tokens(learner, PAIRS, Training(max_length=30)).lost == 12


def test_each_trained_turn_of_a_conversation_is_trained(learner, tmp_path):
    """Calls of tools with their own arguments, beside samples that have neither calls nor tools."""
    schema = '{"type": "function", "function": {"name": "look", "parameters": {}}}'
    called, other = (
        Turn("assistant", "", tool_calls=(ToolCall("look", text),)) for text in ('{"at": 1}', '{"to": "x"}')
    )
    history = (Turn("user", "Look."), called, Turn("tool", "Nothing."), Turn("assistant", "Nothing.", trained=True))
    turns = Pair("Again.", "", "Still nothing.", history=history, since=(other, Turn("tool", "-")), tools=(schema,))
    pairs = [*PAIRS[:2], turns]
    seen = Targets()
    train(learner, pairs, SETTINGS, 0, 1e-3, tmp_path / "out", 1, [seen])
    counted = count_tokens(learner, pairs, SETTINGS)
    assert counted.rows == 4
    assert (seen.targets, seen.shown) == (counted.target, counted.all)


def test_nothing_is_sent(learner, tmp_path, monkeypatch):
    """Neither to the hub nor to the makers of the libraries."""

    def refuse(*_):
        raise AssertionError("a connection")

    reports = []
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.utils._telemetry._TELEMETRY_QUEUE.put", reports.append)
    train(learner, PAIRS[:2], SETTINGS, 0, 1e-3, tmp_path / "out")
    assert reports == []
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {
        *("adapter_config.json", "adapter_model.safetensors", "README.md")
    }


def test_all_weights(learner, losses, tmp_path):
    """The folder is a model by itself."""
    train(learner, PAIRS, Training(batch_size=4, full=True), 0, 1e-3, tmp_path / "whole")
    assert sum(losses(model=Learner.named(str(tmp_path / "whole"), "float32"))) < sum(losses())


def test_a_model_that_is_none_is_one_line(tmp_path):
    with pytest.raises(RtError, match="cannot be trained: "):
        train(Learner.named(str(tmp_path), "float32"), PAIRS, SETTINGS, 0, 1e-3, tmp_path / "out")


# --- outcomes of other packages -----------------------------------------------------------------


def measure(model, adapter):
    """An outcome: two numbers, which differ between the model alone and a trained one."""
    return [0.0, 1.0] if adapter is None else [0.5, float(Path(adapter).is_dir())]


def broken(model, adapter):
    return [float("nan")]


@pytest.fixture
def offered(monkeypatch):
    """Entry points of the group."""
    made = [EntryPoint(name, f"test_training:{name}", outcomes.GROUP) for name in ("measure", "broken")]
    monkeypatch.setattr(outcomes, "entry_points", lambda group: made if group == outcomes.GROUP else [])


def test_outcomes_are_found_by_their_entry_points(offered, tmp_path):
    """They get what a student gets: the model, and the adapter if there is one."""
    found = outcomes.find_outcome("measure")
    assert found.measure("m", None) == [0.0, 1.0]
    assert found.measure("m", tmp_path) == [0.5, 1.0]


def test_an_outcome_that_fails_is_blamed(offered):
    with pytest.raises(RtError, match="outcome 'broken' of a package: expected one finite number a prompt"):
        outcomes.find_outcome("broken").measure("m", None)
    with pytest.raises(RtError, match="no installed package offers it; known: measure, broken"):
        outcomes.find_outcome("other")

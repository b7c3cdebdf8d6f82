"""A model of a few kilobytes, data, and trainings that cost nothing."""

from __future__ import annotations

import json
from pathlib import Path

from rt_framework.model import digest

SELECTIVE = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
]
"""A pipeline with two choices between versions."""
BEST = {"select": {"random": {"count": 8}}}
"""A choice between samples."""

_CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def rows(count=20):
    """Alpaca rows that differ in their words and lengths."""
    return [
        {
            "instruction": f"Name {number} things that float on water.",
            "input": "In one line." if number % 2 else "",
            "output": f"A cork, a leaf and boat number {number}" + ", again" * (number % 7),
        }
        for number in range(1, count + 1)
    ]


def held_out(count=6):
    """Rows with other prompts."""
    return [
        {"instruction": f"Count {n} stones in the old river bed.", "input": "", "output": f"There are {n} and a fish."}
        for n in range(1, count + 1)
    ]


def save_model(folder: Path) -> str:
    """Save a random Llama with a chat template that ends its answers; return the folder's name."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([row["output"] for row in rows()], trainer)
    tokens = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", chat_template=_CHAT)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return str(folder)


class FakeTraining:
    """Stands for the training and the scoring: the losses of an arm are hashes of its content, seed and rate.

    Args:
        fails: numbers of the trainings, from 1, before which *error* is raised.
        error: the exception.
    """

    def __init__(self, fails=(), error=KeyboardInterrupt):
        self.count = 0
        self.trained = []
        self.fails, self.error = set(fails), error

    def train(self, learner, pairs, settings, seed, rate, folder, *_):
        self.count += 1
        if self.count in self.fails:
            raise self.error
        folder.mkdir()
        said = {"pairs": [pair.hash for pair in pairs], "seed": seed, "rate": rate}
        (folder / "said.json").write_text(json.dumps(said))
        self.trained.append(said)

    def losses(self, host, student, sets, folder):
        adapter = student.options.get("adapter")
        said = "" if adapter is None else (Path(adapter) / "said.json").read_text()
        return {one.name: [int(digest([said, pair.hash])[:4], 16) / 2**16 for pair in one.pairs] for one in sets}

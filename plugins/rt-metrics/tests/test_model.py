"""Real models: every score against full logits of transformers, one sequence at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rt_metrics.deita import COMPLEXITY, QUALITY

torch = pytest.importorskip("torch")

ROWS = [
    ("Name the largest ocean.", "", "The Pacific Ocean is the largest ocean on Earth."),
    ("Add the numbers.", "2 and 3", "2 and 3 add up to 5."),
    ("Name a gas.", "", "A banana is a yellow fruit, and it is no gas."),
    ("Spell cat.", "", "C, A, T."),
    ("Translate into German.", "good morning", "Guten Morgen!"),
    ("Why is the sky blue?", "", "Air scatters blue light more than red light."),
]


_CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A random Llama with a byte-level tokenizer, saved as a directory."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator([row[2] for row in ROWS], trainer)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=300, max_position_embeddings=1024, initializer_range=0.3, **shape)
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=core, chat_template=_CHAT).save_pretrained(folder)
    return folder


class Plain:
    """The model alone."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
        self.tokenizer = AutoTokenizer.from_pretrained(where[0], **where[1])
        self.model = AutoModelForCausalLM.from_pretrained(where[0], dtype=torch.float32, **where[1]).eval()

    def chat(self, question):
        turns = [{"role": "user", "content": question}]
        return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def tokens(self, context, target):
        """Loss and rank of each token of *target* after *context*."""
        before, own = (self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (context, target))
        with torch.inference_mode():
            logits = self.model(torch.tensor([before + own])).logits[0, len(before) - 1 : -1].double()
        logs = logits.log_softmax(-1)
        nll = np.array([-float(row[token]) for row, token in zip(logs, own, strict=True)])
        return nll, np.array([1 + int((row > row[token]).sum()) for row, token in zip(logits, own, strict=True)])

    def grade(self, prompt):
        """The expected label."""
        before = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        labels = [self.tokenizer(str(label), add_special_tokens=False)["input_ids"] for label in range(1, 7)]
        assert all(len(label) == 1 for label in labels)
        with torch.inference_mode():
            logits = self.model(torch.tensor([before])).logits[0, -1].double()
        chances = torch.stack([logits[label[0]] for label in labels]).softmax(0).numpy()
        return float(chances @ np.arange(1, 7))


NAMES = ("s-ifd-50", "s-ifd-75", "grape", "rsr", "ifd-length-residual", "deita-complexity", "deita-quality", "deita")
SMOLLM2 = pytest.param("smollm2", marks=[pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(900)])


@pytest.mark.parametrize("which", ["tiny", SMOLLM2])
def test_every_score_is_that_of_full_logits(score, request, monkeypatch, which):
    """To the noise of float32, with the threshold of numpy's percentile; labels are single tokens of these models."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = request.getfixturevalue(which)
    columns = ("instruction", "input", "output")
    Path("rows.json").write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in ROWS]))
    found = [line["metrics"] for line in score(*NAMES, student=f"hf:{path}", preset="chat", data="rows.json")[0]]
    for line, wanted in zip(found, expected(Plain(path)), strict=True):
        assert line == pytest.approx(wanted, rel=2e-4, abs=2e-5)


def expected(plain):
    """All scores of the rows."""
    questions = ["\n".join(filter(None, row[:2])) for row in ROWS]
    given = [plain.tokens(plain.chat(asked), row[2]) for asked, row in zip(questions, ROWS, strict=True)]
    alone = [plain.tokens(plain.chat(""), row[2])[0] for row in ROWS]
    deltas = [nll - other for (nll, _), other in zip(given, alone, strict=True)]
    every = np.abs(np.concatenate(deltas))
    ifd = np.array([np.exp(delta.mean()) for delta in deltas])
    lengths = np.log([len(delta) for delta in deltas])
    low = ifd < 1
    assert low.sum() >= 2
    line = np.polyfit(lengths[low], ifd[low], 1)
    for at, (asked, row) in enumerate(zip(questions, ROWS, strict=True)):
        nll, ranks = given[at]
        complexity = plain.grade(COMPLEXITY.prompt.format(instruction=asked))
        quality = plain.grade(QUALITY.prompt.format(instruction=asked, response=row[2]))
        yield {
            "s-ifd-50": selective(deltas[at], np.percentile(every, 50)),
            "s-ifd-75": selective(deltas[at], np.percentile(every, 25)),
            "grape": -nll.mean(),
            "rsr": np.minimum(ranks, 100).sum() / nll.sum(),
            "ifd-length-residual": ifd[at] - np.polyval(line, lengths[at]),
            "deita-complexity": complexity,
            "deita-quality": quality,
            "deita": complexity * quality,
        }


def selective(deltas, threshold):
    """As the authors compute it."""
    mask = np.abs(deltas) > threshold
    return np.exp((deltas * mask).sum() / max(mask.sum(), 1))

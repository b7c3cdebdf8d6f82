"""A model of a few kilobytes, data, and trainings, answers and judges that cost nothing: ``rt -p prove_parts``."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rt_framework import Reply, Usage, hookimpl
from rt_framework.model import digest
from rt_framework.testing import FakeStudent, ScriptedTeacher

SELECTIVE = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
]
"""A pipeline with two choices between versions."""
BEST = {"select": {"random": {"count": 8}}}
"""A choice between samples."""
SMALL = ("--seeds", 2, "--arms", "kept,original,random", "--lr", "1e-3,2e-3")
"""Options of 12 trainings."""

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
    """Stands for training, scoring and answering: losses and answers are hashes of an arm's content, seed and rate.

    Args:
        fails: numbers of the trainings, from 1, before which *error* is raised.
        error: the exception.
        answer: returns the answer from a number; that of :func:`quality` when left out.
    """

    def __init__(self, fails=(), error=KeyboardInterrupt, answer=None):
        self.count = 0
        self.trained = []
        self.fails, self.error = set(fails), error
        self.answer = answer or quality

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
        return {one.name: [number(said, pair) / 2**16 for pair in one.pairs] for one in sets}

    def answers(self, host, student, prompts, max_tokens, folder):
        adapter = student.options.get("adapter")
        said = "" if adapter is None else (Path(adapter) / "said.json").read_text()
        return {name: [self.answer(number(said, pair)) for pair in pairs] for name, pairs in prompts.items()}


def number(said, pair):
    """A number below 2¹⁶ that a training and a prompt decide."""
    return int(digest([said, pair.hash])[:4], 16)


# --- answers and judges -------------------------------------------------------------------------


def quality(number):
    """An answer of one of four qualities and one of two lengths, so that some answers are equal."""
    return f"quality {number % 4}{', and more' if number % 8 > 3 else ''}"


def quality_of(answer):
    """The quality that an answer has."""
    return int(re.search(r"\d", answer)[0])


def answers_of(request):
    """Both answers in a question to the judge, in the order shown."""
    return answers_in(request.messages[1].content)


def answers_in(asked):
    """Both answers in the text of a question to the judge."""
    return tuple(re.search(rf"<<<{name} \w+>>>\n(.*?)\n<<<end", asked, re.DOTALL)[1] for name in ("first", "second"))


def honest(request):
    """A judge's answer: the marks of both answers are their qualities."""
    return marked(answers_of(request))


def marked(answers):
    """The text of an honest judge's answer about two answers."""
    first, second = (1 + quality_of(answer) for answer in answers)
    return json.dumps({"reasons": "seen", "first": first, "second": second})


class Priced(ScriptedTeacher):
    """A judge that costs seven nano-dollars a token of its answers."""

    def cost(self, prompt_tokens, completion_tokens):
        return 7 * completion_tokens

    async def complete(self, request):
        text = (await super().complete(request)).text
        tokens = -(-len(text) // 4)
        return Reply(text, usage=Usage(10, tokens), nano_dollars=7 * tokens)


class Moody(FakeStudent):
    """A student that repeats what it was shown, or answers in the way that this names."""

    def generate(self, requests):
        return [self._reply(" / ".join(turn.content for turn in request.messages)) for request in requests]

    def _reply(self, asked):
        if "break" in asked:
            raise RuntimeError("no memory is left")
        ends = {"silent": Reply("  "), "endless": Reply("", "too_long"), "cut": Reply("half an", "length")}
        return next((reply for word, reply in ends.items() if word in asked), Reply(f"to {asked}"))


HELD = []
"""The judges that tests have put here; the last one judges."""


def held():
    return HELD[-1]


@hookimpl
def rt_register_teachers(register):
    register("held", "prove_parts:held")


@hookimpl
def rt_register_students(register):
    register("moody", "prove_parts:Moody")

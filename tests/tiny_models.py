"""Random models of a few kilobytes, saved as directories that transformers loads, and losses to hold them to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rt_framework.builtin.students.probe import Way
from rt_framework.spans import EncodedSpan

_TEXT = ["Name the colours of the rainbow.", "Write a short poem about a river.", "What is 12 times 7? It is 84."]
CHAT = "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"
_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def tokenizer(bos: bool = False, eos: bool = False, chat: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer; *bos* and *eos* say what it puts around every text by itself."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_TEXT, trainer)
    template = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
    core.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", chat_template=chat)


def save(folder: Path, model: Any, tokens: PreTrainedTokenizerFast) -> str:
    """Save both and return the directory's name."""
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return str(folder)


def llama(window: int = 64) -> Any:
    """A Llama: rotary positions, plain head."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=320, max_position_embeddings=window, bos_token_id=0, eos_token_id=1, **_SHAPE)
    return LlamaForCausalLM(config).eval()


def family(name: str, **options: Any) -> Any:
    """A model of the architecture that transformers calls *name*, with a shape as small as Llama's above.

    Args:
        name: the prefix of its config class, ``Qwen3`` for one.
        options: what is special about it; they come on top of the common ones.
    """
    torch.manual_seed(0)
    common = {"vocab_size": 320, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(**{**common, **_SHAPE, **options})
    return AutoModelForCausalLM.from_config(config).eval()


def gpt2() -> Any:
    """A GPT-2: learned absolute positions."""
    return family("GPT2", n_positions=64, n_embd=32, n_layer=2, n_head=2)


def gemma2() -> Any:
    """A Gemma 2 with soft caps so low that leaving one out changes every loss, and a sliding window."""
    return family("Gemma2", head_dim=16, sliding_window=8, final_logit_softcapping=0.05, attn_logit_softcapping=0.02)


def gemma3() -> Any:
    """A Gemma 3: three of four layers slide, each kind with a rotary base of its own."""
    return family("Gemma3Text", num_hidden_layers=4, head_dim=16, sliding_window=8, sliding_window_pattern=4)


def mistral() -> Any:
    """A Mistral: all layers slide, and two query heads share a key head."""
    return family("Mistral", sliding_window=8, num_attention_heads=4, num_key_value_heads=2)


def phi3() -> Any:
    """A Phi-3 whose rotary positions change behind 16 tokens."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 16,
    }
    return family("Phi3", rope_parameters=rope, original_max_position_embeddings=16)


def cohere() -> Any:
    """A Cohere: logits are scaled behind the head."""
    return family("Cohere", logit_scale=4.0)


FAMILIES = {
    "llama": llama,
    "qwen2": lambda: family("Qwen2", num_attention_heads=4, num_key_value_heads=2),
    "qwen3": lambda: family("Qwen3", head_dim=16),
    "gemma2": gemma2,
    "gemma3": gemma3,
    "mistral": mistral,
    "gpt2": gpt2,
    "phi": lambda: family("Phi", partial_rotary_factor=0.5),
    "phi3-longrope": phi3,
    "cohere": cohere,
    "olmo2": lambda: family("Olmo2"),
    "granite": lambda: family("Granite", logits_scaling=3.0, embedding_multiplier=2.0),
    "qwen3-moe": lambda: family("Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
}
"""Architectures that can be packed."""


def sequences(seed: int = 0, count: int = 14, longest: int = 40) -> list[EncodedSpan]:
    """Sequences that share starts of several lengths, in any order, some longer than every window."""
    source = random.Random(seed)
    spans: list[EncodedSpan] = []
    for _ in range(count):
        ids = source.choice(spans).ids if spans and source.random() < 0.7 else ()
        ids = ids[: source.randrange(len(ids) + 1)]
        ids += tuple(source.randrange(2, 320) for _ in range(source.randrange(2, longest // 2)))
        spans.append(EncodedSpan(ids[:longest], source.randrange(1, min(len(ids), longest))))
    return spans


def alone(model: Any, span: EncodedSpan) -> float:
    """Mean loss by the model alone, with full logits: what the published procedure computes."""
    ids = torch.tensor(span.ids)
    with torch.inference_mode():
        logits = model(ids[None, :-1]).logits[0]
    return float(cross_entropy(logits[span.start - 1 :], ids[span.start :]))


def means(way: Way, batch: Sequence[EncodedSpan]) -> list[float]:
    """Mean losses of one batch."""
    return [nll / (len(span.ids) - span.start) for nll, span in zip(way.losses.sums(batch), batch, strict=True)]

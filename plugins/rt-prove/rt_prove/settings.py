"""The settings that decide the result of a training besides its samples, its seed and its learning rate."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.errors import ConfigError
from rt_framework.kit.parts import Spec

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate")
"""Packages whose release may change a result."""


@frozen
class Training:
    """Settings of a training."""

    epochs: int = 1
    batch_size: int = 8
    """Samples of a step."""
    accumulate: int = 1
    """Parts in which the samples of a step go through the model."""
    max_length: int = 1024
    """Longest sample in tokens; the end of a longer one is cut off."""
    full: bool = False
    """Train all weights instead of an adapter."""
    rank: int = 16
    alpha: int = 32
    schedule: str = "cosine"
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises."""


@frozen
class Generation:
    """Prompts that every trained model answers."""

    prompts: int
    """Number of prompts of each held-out set, those with the smallest hashes."""
    max_tokens: int
    """Longest answer in tokens; a longer one is cut off, and used."""


@frozen
class Learner:
    """The model that is trained."""

    model: str
    """Hub id, or directory with safetensors."""
    dtype: str
    """Number format of the weights: a torch dtype."""

    @classmethod
    def named(cls, model: str, dtype: str) -> Learner:
        """Return the learner of a name.

        Args:
            model: as the user gave it; ``hf:`` before it is allowed, as for a student.
            dtype: a torch dtype; ``auto`` is bfloat16 on CUDA and float32 elsewhere.

        Raises:
            ConfigError: it is a GGUF file.
        """
        name = model.removeprefix("hf:")
        if name.lower().endswith(".gguf") or Path(name).expanduser().is_file():
            raise ConfigError(
                f"{name}: a GGUF file cannot be trained; give a folder with safetensors. 'python demo/model.py FOLDER' "
                "saves the demo's model as one; others: AutoModelForCausalLM.from_pretrained(DIR, gguf_file=FILE, "
                "dtype=torch.float32).save_pretrained(FOLDER) of transformers, and the tokenizer likewise"
            )
        return cls(name, _device_dtype() if dtype == "auto" else dtype)

    def student(self, adapter: Path | None = None) -> Spec:
        """Return the student that scores and answers with the model and an adapter over it."""
        options: dict[str, Any] = {"model": self.model, "dtype": self.dtype}
        return Spec("hf", options if adapter is None else {**options, "adapter": str(adapter)})


def _device_dtype() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"


def versions() -> dict[str, str]:
    """Return the releases of the packages that a training depends on."""
    return {package: metadata.version(package) for package in PACKAGES}

"""Options of the students."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import Attribute, field, frozen

from rt_framework.errors import ConfigError

_COMMIT = re.compile("[0-9a-f]{40}")

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""Number format of the weights; ``auto`` is bfloat16 on CUDA and float32 elsewhere and for GGUF files."""


def pinned(instance: Any, _attribute: Attribute[bool], value: bool) -> None:
    """Check ``trust_remote_code``, as attrs validator: code from a repository runs only at a fixed revision.

    Raises:
        ConfigError: the option is on and ``revision`` is no commit. A branch or tag can be moved to other code.
    """
    if value and not _COMMIT.fullmatch(instance.revision or ""):
        raise ConfigError(
            "trust_remote_code runs the repository's code: set `revision` to the commit you have read, "
            "all 40 hexadecimal digits of it"
        )


def known_device(_instance: object, _attribute: Attribute[Any], value: str | None) -> None:
    """Check that a model may run on a device, as attrs validator.

    Raises:
        ConfigError: the device is Apple's GPU, whose losses were never compared with others.
    """
    if value is not None and value.startswith("mps"):
        raise ConfigError("device mps: losses on Apple's GPU were never compared with others; run the model on the CPU")


def alone(instance: Any, _attribute: Attribute[Any], value: str | None) -> None:
    """Check that ``devices`` and ``device`` are not both given, as attrs validator.

    Raises:
        ConfigError: they are.
    """
    if value is not None and instance.device is not None:
        raise ConfigError(f"device '{instance.device}' and devices '{value}' are given; give one of them")


@frozen
class HFSettings:
    """Options of the student ``hf``: a causal language model that transformers loads."""

    model: str
    """Hub id, directory with safetensors, or ``.gguf`` file."""
    adapter: str | None = None
    """Directory of an adapter that peft has trained over the model, which is merged into its weights."""
    dtype: Dtype = "auto"
    """Number format of the weights."""
    attention: str | None = None
    """Attention implementation, as transformers names it, on padded batches; none: packed rows where possible."""
    device: str | None = field(default=None, validator=known_device)
    """Torch device; none: CUDA if there is one, else the CPU."""
    devices: Literal["auto"] | None = field(default=None, validator=alone)
    """``auto`` spreads the layers of one model over all GPUs; none: the whole model is on one device."""
    revision: str | None = None
    """Branch, tag or commit on the hub; none: the main branch."""
    trust_remote_code: bool = field(default=False, validator=pinned)
    """Run model code from the repository; needs a commit as ``revision``."""

"""Options of the local teacher."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from rt_framework.builtin.students.settings import Dtype, alone, known_device, pinned
from rt_framework.kit.bounds import within


@frozen
class HFTeacherSettings:
    """Options of the teacher ``hf``: a causal language model that transformers loads and that answers in batches."""

    model: str
    """Hub id, directory with safetensors, or ``.gguf`` file."""
    adapter: str | None = None
    """Directory of an adapter that peft has trained over the model, which is merged into its weights."""
    dtype: Dtype = "auto"
    """Number format of the weights."""
    device: str | None = field(default=None, validator=known_device)
    """Torch device; none: CUDA if there is one, else the CPU."""
    devices: Literal["auto"] | None = field(default=None, validator=alone)
    """``auto`` spreads the layers of one model over all GPUs; none: the whole model is on one device."""
    revision: str | None = None
    """Branch, tag or commit on the hub; none: the main branch."""
    trust_remote_code: bool = field(default=False, validator=pinned)
    """Run model code from the repository; needs a commit as ``revision``."""
    batch_size: int = field(default=8, validator=within(least=1))
    """Most requests that are answered at once."""

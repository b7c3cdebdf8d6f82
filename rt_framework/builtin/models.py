"""Identity and loading of causal language models from the hub, a directory or a GGUF file.

Shared by the local student and the local teacher. Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Protocol

from attrs import frozen

from rt_framework.builtin.adapters import adapter_identity, check_alone, check_not_adapter, merged
from rt_framework.builtin.hashes import file_hashes
from rt_framework.builtin.model_places import commit_of, hub_commit, is_gguf, local_path
from rt_framework.builtin.placement import free_memory, placement
from rt_framework.builtin.weights import check_plain, whole_model, without_embedding
from rt_framework.errors import ModelError
from rt_framework.kit.at_work import AT_WORK

# By default idle OpenMP threads wait by spinning. If another process needs the core, each barrier then costs a time
# slice, and a forward pass takes tens of times longer. The variable is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_DECISIVE = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.py")
"""Files of a model directory that affect the model's output."""
_SANE_LENGTH = 10_000_000
"""Longest plausible length limit in tokens: tokenizers without a limit state one of 10³⁰ tokens."""


class ModelSettings(Hashable, Protocol):
    """The settings that every local model has."""

    @property
    def model(self) -> str:
        """Hub id, directory or ``.gguf`` file."""

    @property
    def adapter(self) -> str | None:
        """Directory of an adapter over the model, or ``None``."""

    @property
    def dtype(self) -> str:
        """``auto`` or a torch dtype."""

    @property
    def device(self) -> str | None:
        """Torch device, or ``None`` for CUDA if there is one and else the CPU."""

    @property
    def devices(self) -> str | None:
        """``auto`` for all GPUs together, or ``None`` for one device."""

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit on the hub."""

    @property
    def trust_remote_code(self) -> bool:
        """Return whether model code from the repository may run."""


@frozen
class _Shared:
    """The settings that decide which model is loaded; student and teacher share a model if these are equal."""

    model: str
    adapter: str | None
    dtype: str
    device: str
    devices: str | None
    revision: str | None
    trust_remote_code: bool


@frozen
class Loaded:
    """A model in memory."""

    model: Any
    """The model with its language head, on its device, ready for inference."""
    unused: str
    """Weights of the model's files that are not used, in words: further heads, a vision tower; else empty."""


# --- which model ------------------------------------------------------------------------------


def model_identity(settings: ModelSettings) -> str:
    """Return the content hash of the model: of a GGUF file or a directory's decisive files, or the hub commit.

    The hash of files is SHA-256. With an adapter its hash is added.

    Raises:
        ModelError: there is no such model, or no such adapter of it.
        ConfigError: there is an adapter, and peft is not installed.
    """
    base = _base_identity(settings)
    if settings.adapter is None:
        return base
    return f"{base} adapter {adapter_identity(settings.adapter, settings.model)}"


def _base_identity(settings: ModelSettings) -> str:
    path = local_path(settings.model)
    if path is None:
        return commit_of(settings.model, settings.revision)
    if path.is_file():
        return file_hashes([path])[0]
    check_not_adapter(settings.model, path)
    files = sorted({file for pattern in _DECISIVE for file in path.glob(pattern) if file.is_file()})
    if not files:
        raise ModelError(f"model '{settings.model}' is a directory without any model file")
    return hashlib.sha256("\n".join(sorted(file_hashes(files))).encode()).hexdigest()


def resolved_dtype(settings: ModelSettings) -> str:
    """Return the name of the weights' torch dtype. Imports torch only to resolve ``auto`` on an unnamed device."""
    if settings.dtype != "auto":
        return settings.dtype
    # A GGUF file is dequantised, and the published losses of GGUF models are in float32.
    if is_gguf(local_path(settings.model)):
        return "float32"
    return "bfloat16" if resolved_device(settings).startswith("cuda") else "float32"


def resolved_device(settings: ModelSettings) -> str:
    """Return the torch device to use."""
    if settings.device is not None:
        return settings.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


# --- loading ----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def load_config(settings: ModelSettings) -> Any:
    """Return the transformers configuration. Cached, since a GGUF file takes seconds to parse.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    with _loading(settings.model) as transformers:
        name, options = _source(settings)
        return transformers.AutoConfig.from_pretrained(name, **options)


def load_tokenizer(settings: ModelSettings) -> Any:
    """Return the tokenizer, as transformers makes it.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    with _loading(settings.model) as transformers:
        name, options = _source(settings)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    if tokenizer.is_fast:
        # The first use turns off what the files say about cutting and padding, which fails while another thread uses
        # the tokenizer; so it is done here.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def foreign_tokens(settings: ModelSettings, tokenizer: Any) -> dict[int, str]:
    """Return the special tokens, by id, that the tokenizer has but the model has no embedding for.

    Raises:
        ModelError: an ordinary token has no embedding either, so that this is not the tokenizer of the model.
    """
    return foreign_to(settings.model, load_config(settings), tokenizer)


def foreign_to(name: str, config: Any, tokenizer: Any) -> dict[int, str]:
    """Return the same for a model with this configuration."""
    return without_embedding(name, getattr(config.get_text_config(), "vocab_size", None), tokenizer)


def load_model(settings: ModelSettings, attention: str | None = None) -> Any:
    """Return the model with its language head, on its device, ready for inference. Safetensors and GGUF only.

    A model that is both teacher and student is loaded once.

    Raises:
        ModelError: there is no such model, it cannot be read, or weights of it are missing.
    """
    return load(settings, attention).model


def load(settings: ModelSettings, attention: str | None = None) -> Loaded:
    """Return the same with what is to be said about its weights; see :func:`load_model`."""
    shared = _Shared(
        settings.model,
        settings.adapter,
        resolved_dtype(settings),
        resolved_device(settings),
        settings.devices,
        settings.revision,
        settings.trust_remote_code,
    )
    return _load(shared, attention)


@lru_cache(maxsize=2)
def _load(settings: _Shared, attention: str | None) -> Loaded:
    import torch

    with _loading(settings.model) as transformers:
        name, options = _source(settings)
        if "gguf_file" not in options:
            options["use_safetensors"] = True
        if attention is not None:
            options["attn_implementation"] = attention
        options["config"] = load_config(settings)
        options["dtype"] = getattr(torch, resolved_dtype(settings))
        check_alone(settings.model, name, options)
        check_plain(settings.model, options["config"])
        if settings.devices is not None:
            options["device_map"] = _placed(settings, options["config"], options["dtype"])
        load = partial(transformers.AutoModelForCausalLM.from_pretrained, output_loading_info=True)
        model, unused = whole_model(settings.model, partial(load, name, **options))
        model = model.eval().requires_grad_(False)
        if settings.devices is None:
            model = model.to(resolved_device(settings))
        if settings.adapter is not None:
            adapter_identity(settings.adapter, settings.model)  # which checks that it belongs to the model
            model = merged(model, settings.model, settings.adapter)
        return Loaded(model, unused)


def _placed(settings: _Shared, config: Any, dtype: Any) -> dict[str, int]:
    """Return the GPU of each part of the model. Computed without its weights."""
    import torch
    import transformers

    with torch.device("meta"):
        # Code of the repository runs at the revision that was named, never in its newest one.
        code = {"trust_remote_code": True, "code_revision": settings.revision} if settings.trust_remote_code else {}
        shape = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, **code)
    shape.tie_weights()
    return placement(settings.model, shape, free_memory())


def window(config: Any, tokenizer: Any) -> int:
    """Return the longest sequence in tokens that the model and its tokenizer state as their limit."""
    text = config.get_text_config()
    stated = (getattr(text, "max_position_embeddings", None), tokenizer.model_max_length)
    return min((limit for limit in stated if limit and limit < _SANE_LENGTH), default=sys.maxsize)


def _source(settings: ModelSettings) -> tuple[str, dict[str, Any]]:
    """Return the name and the options that every ``from_pretrained`` takes."""
    options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    if settings.trust_remote_code:
        # The configuration may name code of another repository, which would otherwise run in its newest revision.
        options["code_revision"] = settings.revision
    path = local_path(settings.model)
    if path is None:
        # With the hub out of reach every file would be requested in vain, many times.
        commit, local_only = hub_commit(settings.model, settings.revision)
        return settings.model, {**options, "revision": commit, "local_files_only": local_only}
    if path.is_file():
        parse_once()
        return str(path.parent), {**options, "gguf_file": path.name}
    check_not_adapter(settings.model, path)
    return str(path), options


@contextmanager
def _loading(model: str) -> Iterator[Any]:
    """Yield transformers, silenced, and turn any exception of it into a :class:`ModelError` of one line."""
    try:
        with AT_WORK:
            import transformers

            _silence()
            yield transformers
    except ModelError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(f"model '{model}' cannot be loaded: {type(error).__name__}: {first}") from error


@lru_cache
def _silence() -> None:
    """Turn off the log lines and progress bars of transformers, because the console belongs to the run."""
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # The GGUF loader has a progress bar of its own, which no setting turns off.
    gguf.tqdm = partial(gguf.tqdm, disable=True)


@lru_cache
def parse_once() -> None:
    """Make transformers parse a GGUF file once.

    transformers reads the file separately for the tokenizer, the configuration and the model, and builds the map of
    tensor names anew for every tensor: with a small model that is most of the start-up time. Both are pure functions,
    so their results can be cached. The reader also takes hundreds of thousands of slices of the mapped file, one for
    each token; a slice of a plain array over the same memory takes a third of the time of one of a ``numpy.memmap``.
    """
    import numpy as np

    gguf: Any = importlib.import_module("gguf")

    class Reader(gguf.GGUFReader):  # type: ignore[misc]  # gguf is imported late
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    gguf.GGUFReader = lru_cache(maxsize=1)(Reader)
    gguf.get_tensor_name_map = lru_cache(gguf.get_tensor_name_map)

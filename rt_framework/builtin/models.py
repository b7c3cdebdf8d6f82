"""Causal language models from the hub, a directory or a GGUF file: which one it is, and how to load it.

Shared by the local student and the local teacher. Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from rt_framework.builtin.hashes import file_hashes
from rt_framework.builtin.weights import whole_model, without_embedding
from rt_framework.errors import ModelError, Unscorable
from rt_framework.model import Turn

# Idle OpenMP threads spin by default. Where another process wants the core that costs a time slice at
# every barrier, and a forward pass takes tens of times longer. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

AT_WORK = threading.RLock()
"""Held by the local model that loads or computes. Two at once only take the cores from each other, and
transformers can neither be imported nor load from two threads: it changes torch's defaults meanwhile."""

_DECISIVE = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.py")
"""Files of a model directory that its answers depend on."""
_HUB_SECONDS = 5.0
_SANE_LENGTH = 10_000_000
"""Tokenizers without a limit state one of 10³⁰ tokens."""

# Some templates show the date of the day, and a score must not depend on it. The newline is no part of what
# is rendered: chat templates drop the one behind a block.
_FIXED_DATE = "{% macro strftime_now(style) %}26 Jul 2024{% endmacro %}\n"


class ModelSettings(Hashable, Protocol):
    """What the settings of every local model have."""

    @property
    def model(self) -> str:
        """Hub id, directory or ``.gguf`` file."""

    @property
    def dtype(self) -> str:
        """``auto`` or a torch dtype."""

    @property
    def device(self) -> str | None:
        """Torch device, or none for the best there is."""

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit on the hub."""

    @property
    def trust_remote_code(self) -> bool:
        """Whether model code from the repository may run."""


@frozen
class _Shared:
    """What two settings have in common that load the same model."""

    model: str
    dtype: str
    device: str
    revision: str | None
    trust_remote_code: bool


# --- which model ------------------------------------------------------------------------------


def model_identity(settings: ModelSettings) -> str:
    """Content hash of the model: SHA-256 of a GGUF file, of a directory's decisive files, or the hub commit.

    Raises:
        ModelError: there is no such model.
    """
    path = _local(settings.model)
    if path is None:
        return _commit(settings.model, settings.revision)
    if path.is_file():
        return file_hashes([path])[0]
    files = sorted({file for pattern in _DECISIVE for file in path.glob(pattern) if file.is_file()})
    if not files:
        raise ModelError(f"model '{settings.model}' is a directory without any model file")
    return hashlib.sha256("\n".join(sorted(file_hashes(files))).encode()).hexdigest()


def resolved_dtype(settings: ModelSettings) -> str:
    """Name of the torch dtype the weights get. Imports torch only to tell ``auto`` on an unnamed device."""
    if settings.dtype != "auto":
        return settings.dtype
    # A GGUF file is dequantised, and the published losses of one are in float32.
    if _is_gguf(_local(settings.model)):
        return "float32"
    return "bfloat16" if resolved_device(settings).startswith("cuda") else "float32"


def resolved_device(settings: ModelSettings) -> str:
    """The torch device to use."""
    if settings.device is not None:
        return settings.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _local(model: str) -> Path | None:
    path = Path(model).expanduser()
    return path if path.exists() else None


def _is_gguf(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _commit(model: str, revision: str | None) -> str:
    """A full commit hash is an identity by itself; everything else is looked up."""
    if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return _hub(model, revision)[0]


@lru_cache
def _hub(model: str, revision: str | None) -> tuple[str, bool]:
    """Commit, and whether it is known from the local cache alone because the hub did not answer."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        commit = HfApi().model_info(model, revision=revision, timeout=_HUB_SECONDS).sha
        if commit:
            return commit, False
        reason = "it names no commit"
    except HFValidationError:
        raise _missing(model, "this is no hub id") from None
    except Exception as error:
        reason = _hub_reason(error)
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    if not isinstance(cached, str):
        raise _missing(model, reason)
    return Path(cached).parent.name, True


def _hub_reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    reasons: tuple[tuple[type[Exception], str], ...] = (
        (GatedRepoError, "access to it has to be asked for"),
        (RepositoryNotFoundError, "no such repository, or a private one"),
        (RevisionNotFoundError, "it has no such revision"),
        (HfHubHTTPError, "the hub answered with an error"),
    )
    return next((reason for kind, reason in reasons if isinstance(error, kind)), "the hub cannot be reached")


def _missing(model: str, reason: str) -> ModelError:
    return ModelError(
        f"model '{model}' does not exist: no such file or directory, and not found on the hub: {reason}. "
        "Give a hub id, a directory or a .gguf file"
    )


# --- loading ----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def load_config(settings: ModelSettings) -> Any:
    """The transformers configuration. Kept, since a GGUF file takes seconds to parse.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    with _loading(settings.model) as transformers:
        name, options = _source(settings)
        return transformers.AutoConfig.from_pretrained(name, **options)


def load_tokenizer(settings: ModelSettings) -> Any:
    """The tokenizer, as transformers makes it.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    with _loading(settings.model) as transformers:
        name, options = _source(settings)
        return transformers.AutoTokenizer.from_pretrained(name, **options)


def foreign_tokens(settings: ModelSettings, tokenizer: Any) -> dict[int, str]:
    """The special tokens of the tokenizer that the model has no embedding for, by number.

    Raises:
        ModelError: another token has none either, so that this is not the tokenizer of the model.
    """
    size = getattr(load_config(settings).get_text_config(), "vocab_size", None)
    return without_embedding(settings.model, size, tokenizer)


def load_model(settings: ModelSettings, attention: str | None = None) -> Any:
    """The model with its language head, on its device, ready for inference. Safetensors and GGUF only.

    A model that is teacher and student is loaded once.

    Raises:
        ModelError: there is no such model, it cannot be read, or weights of it are missing.
    """
    return _load(_shared(settings), attention)[0]


def unused_weights(settings: ModelSettings, attention: str | None = None) -> str:
    """What the files of the model hold besides, in words: further heads, a vision tower; empty where all is used."""
    return _load(_shared(settings), attention)[1]


def _shared(settings: ModelSettings) -> _Shared:
    return _Shared(
        settings.model,
        resolved_dtype(settings),
        resolved_device(settings),
        settings.revision,
        settings.trust_remote_code,
    )


@lru_cache(maxsize=2)
def _load(settings: _Shared, attention: str | None) -> tuple[Any, str]:
    import torch

    with _loading(settings.model) as transformers:
        name, options = _source(settings)
        if "gguf_file" not in options:
            options["use_safetensors"] = True
        if attention is not None:
            options["attn_implementation"] = attention
        options["config"] = load_config(settings)
        options["dtype"] = getattr(torch, resolved_dtype(settings))
        load = partial(transformers.AutoModelForCausalLM.from_pretrained, output_loading_info=True)
        model, unused = whole_model(settings.model, partial(load, name, **options))
        return model.eval().requires_grad_(False).to(resolved_device(settings)), unused


def window(config: Any, tokenizer: Any) -> int:
    """Longest sequence in tokens that the model and its tokenizer state."""
    text = config.get_text_config()
    stated = (getattr(text, "max_position_embeddings", None), tokenizer.model_max_length)
    return min((limit for limit in stated if limit and limit < _SANE_LENGTH), default=sys.maxsize)


def _source(settings: ModelSettings) -> tuple[str, dict[str, Any]]:
    """Name and options that every ``from_pretrained`` takes."""
    options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    if settings.trust_remote_code:
        # A config may name code of another repository, which would be run as it is there today.
        options["code_revision"] = settings.revision
    path = _local(settings.model)
    if path is None:
        # With the hub out of reach each file would be asked for in vain, many times.
        commit, local_only = _hub(settings.model, settings.revision)
        return settings.model, {**options, "revision": commit, "local_files_only": local_only}
    if path.is_file():
        _parse_once()
        return str(path.parent), {**options, "gguf_file": path.name}
    return str(path), options


@contextmanager
def _loading(model: str) -> Iterator[Any]:
    """Gives transformers, silenced, and makes whatever it raises one line."""
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
    """The console belongs to the run."""
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # The GGUF loader has a bar of its own that no switch reaches.
    gguf.tqdm = partial(gguf.tqdm, disable=True)


@lru_cache
def _parse_once() -> None:
    """Parse a GGUF file once.

    transformers reads it for the tokenizer, the config and the model, and makes the map of names anew for
    every tensor: with a small model that is most of the start. Both are pure.
    """
    gguf: Any = importlib.import_module("gguf")
    gguf.GGUFReader = lru_cache(maxsize=1)(gguf.GGUFReader)
    gguf.get_tensor_name_map = lru_cache(gguf.get_tensor_name_map)


# --- text -------------------------------------------------------------------------------------


def leading_ids(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer puts before every text: a BOS, or nothing.

    The ids of a probe without special tokens are looked up in those with: what stands before is
    leading. What some tokenizers append (EOS) is left out for good, since a text that goes on has no end.
    """
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = (at for at in range(len(full)) if full[at : at + len(bare)] == bare)
    return tuple(full[: next(starts, 0)])


def render(tokenizer: Any, turns: Sequence[Turn]) -> str:
    """Messages as text, by the chat template, up to where the assistant speaks.

    Raises:
        Unscorable: ``no_template``: there is no chat template; ``template_error``: it refuses these messages.
    """
    if not tokenizer.chat_template:
        raise Unscorable("no_template", "the tokenizer has no chat template")
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        # As a batch of one, since a conversation without any message is read as no conversation.
        texts = tokenizer.apply_chat_template(
            [messages],
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            add_generation_prompt=True,
            tokenize=False,
        )
    except Exception as error:
        raise Unscorable("template_error", f"the chat template refuses the messages: {error}") from error
    return str(texts[0])

"""The student that a model and a tokenizer of transformers are, which a Python program has in memory."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

from rt_framework.builtin import models
from rt_framework.builtin.students.encoding import ENCODING
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.students.tokens import Encoder
from rt_framework.builtin.weights import without_embedding
from rt_framework.errors import ModelError

if TYPE_CHECKING:
    from rt_framework.builtin.students.probe import Way


class ModelInMemory(HFStudent):
    """Student that scores with a model in memory. While it is at work, the model may not be trained.

    Args:
        model: a causal language model of transformers; it is set to inference mode.
        tokenizer: its tokenizer, one of the fast ones.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(HFSettings(type(model).__name__, device=model.device.type))
        self._model = model.eval()
        self._tokenizer = tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all tensors, the model's configuration and the tokenizer: equal for equal models.

        Raises:
            ModelError: the tokenizer has no rules that can be hashed.
        """
        import torch

        rules = getattr(self._tokenizer, "backend_tokenizer", None)
        if rules is None:
            raise ModelError(f"{type(self._tokenizer).__name__}: give a fast tokenizer, as AutoTokenizer makes it")
        content = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            content.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        texts = (self._model.config.to_json_string(), rules.to_str(), str(self._tokenizer.chat_template))
        for text in texts:
            content.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        release = ".".join(metadata.version("transformers").split(".")[:2])
        return f"hf in memory {content.hexdigest()} encoding-{ENCODING} transformers-{release}"

    @property
    def path(self) -> str:
        """Description of how losses are computed, and why not faster."""
        return self._way.path

    @cached_property
    def _encoder(self) -> Encoder:
        config = self._model.config
        size = getattr(config.get_text_config(), "vocab_size", None)
        foreign = without_embedding(self._settings.model, size, self._tokenizer)
        return Encoder(self._tokenizer, models.window(config, self._tokenizer), foreign)

    @cached_property
    def _way(self) -> Way:
        from rt_framework.builtin.students.probe import choose

        with models.AT_WORK:
            return choose(self._model, None)

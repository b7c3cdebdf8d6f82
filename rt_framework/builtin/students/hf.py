"""The student that transformers loads from a hub id, a directory or a GGUF file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from rt_framework.builtin import models
from rt_framework.builtin.generation import Generation
from rt_framework.builtin.students import hf_look
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import ModelError, OutOfMemory
from rt_framework.kit.at_work import AT_WORK, lazy_property
from rt_framework.kit.encoding import ENCODING, Encoder
from rt_framework.model import Finding, Reply, Request
from rt_framework.spans import EncodedSpan, Span, SpanLoss

if TYPE_CHECKING:
    from rt_framework.builtin.students.forward import TargetMeans
    from rt_framework.builtin.students.probe import Way

T = TypeVar("T")

_CPU_TOKENS = 1024
_GPU_TOKENS = 32768
"""Most tokens of a batch on a GPU before the model is loaded, which shows whether there is room for as many."""


class HFStudent:
    """Student that scores with a causal language model of transformers, and answers with the same weights.

    The tokenizer is loaded by the first ``encode``, the model by the first ``score`` or ``generate``.

    Args:
        settings: which model to load, and how to run it.
    """

    structured = True
    reads_turns = True

    def __init__(self, settings: HFSettings) -> None:
        self._settings = settings

    @staticmethod
    def holding(model: Any, tokenizer: Any) -> HFStudent:
        """Return the student that a model and a tokenizer in memory are."""
        return ModelInMemory(model, tokenizer)

    @lazy_property
    def fingerprint(self) -> str:
        """Identity of weights, tokenizer, dtype and encoding; loads nothing.

        Raises:
            ModelError: there is no such model.
        """
        release = ".".join(metadata.version("transformers").split(".")[:2])
        identity = models.model_identity(self._settings)
        return f"hf {identity} {models.resolved_dtype(self._settings)} encoding-{ENCODING} transformers-{release}"

    def look(self) -> Iterator[Finding]:
        """Yield device, memory, tokenizer and window. Loads the tokenizer, and no weights.

        Raises:
            ModelError: files of the model are missing, or the tokenizer cannot be loaded.
        """
        yield from hf_look.of_weights(self._settings, _CPU_TOKENS if self._device == "cpu" else _GPU_TOKENS)
        yield from hf_look.of_tokenizer(self._tokenizer, self._window)

    def stored(self) -> bool:
        """Return whether the tokenizer is on this machine, so that ``encode`` downloads nothing."""
        return hf_look.stored(self._settings)

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch: on a CPU as many as its caches hold, on CUDA as there is room for, by the model."""
        if self._device == "cpu":
            return _CPU_TOKENS
        return self._room if self._device.startswith("cuda") else _GPU_TOKENS

    @property
    def threads(self) -> int:
        """Most threads that may use the student at once: on a GPU one queues a batch while another waits for losses."""
        return 2 if self._device.startswith("cuda") else 1

    @property
    def packs(self) -> bool:
        """Return whether a batch is run as one packed row. Loads the model."""
        return self._way.packs

    @property
    def path(self) -> str:
        """Description of how losses are computed, why not faster, and of unused weights. Loads the model."""
        unused = self._loaded.unused
        return f"{self._way.path}; {unused}" if unused else self._way.path

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result that says why there are none.

        Raises:
            ModelError: the tokenizer cannot be loaded.
        """
        return self._encoder.encode(spans)

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """Return the losses of a batch, in order, computed in one forward pass.

        Raises:
            OutOfMemory: the batch does not fit the device.
            ModelError: the model cannot be loaded.
        """
        losses = iter(self._within_memory(self._way.losses.begin, [span for span in batch if not span.count_only]))
        return [_counted(span) if span.count_only else _finite(next(losses)) for span in batch]

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer a batch, in order. A prompt that fills the window gets a reply that ends with ``too_long``.

        Raises:
            TeacherError: ``bad_request``: the chat template or the grammar does not accept a request.
            ModelError: the model cannot be loaded.
        """
        with AT_WORK:
            return self._generation.replies(requests)

    def embed(self, batch: Sequence[EncodedSpan]) -> list[Sequence[float]]:
        """Return the mean of the last hidden states over the target tokens of each sequence, in order.

        Raises:
            OutOfMemory: the batch does not fit the device.
            ModelError: the model cannot be loaded.
        """
        return self._within_memory(self._means.begin, batch)

    def _within_memory(
        self, begin: Callable[[Sequence[EncodedSpan]], Callable[[], list[T]]], batch: Sequence[EncodedSpan]
    ) -> list[T]:
        from rt_framework.builtin.students.forward import free_memory, out_of_memory

        try:
            with AT_WORK:
                results = begin(batch)
            # On a GPU another thread queues the next batch while this one waits for the results.
            return results()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Memory is freed here, after the except block, because the traceback kept references to the tensors.
        free_memory()
        raise OutOfMemory(f"{len(batch)} sequences, the longest of {max(len(span.ids) for span in batch)} tokens")

    @property
    def _device(self) -> str:
        return models.resolved_device(self._settings)

    @lazy_property
    def _room(self) -> int:
        with AT_WORK:
            return self._way.tokens_with_room(self._loaded.model, self._window)

    @lazy_property
    def _tokenizer(self) -> Any:
        return models.load_tokenizer(self._settings)

    @lazy_property
    def _loaded(self) -> models.Loaded:
        # Kept here, since the cache of loaded models may give way to others between a forward pass and an answer.
        with AT_WORK:  # of two threads the second one finds the model of the first in that cache
            return models.load(self._settings, self._settings.attention)

    @lazy_property
    def _window(self) -> int:
        return models.window(models.load_config(self._settings), self._tokenizer)

    @lazy_property
    def _foreign(self) -> Mapping[int, str]:
        return models.foreign_tokens(self._settings, self._tokenizer)

    @lazy_property
    def _encoder(self) -> Encoder:
        return Encoder.of(self._tokenizer, self._window, self._foreign)

    @lazy_property
    def _generation(self) -> Generation:
        return Generation(self._settings.model, self._loaded.model, self._tokenizer, self._window, self._foreign)

    @lazy_property
    def _means(self) -> TargetMeans:
        from rt_framework.builtin.students.forward import TargetMeans

        return TargetMeans(self._loaded.model)

    @lazy_property
    def _way(self) -> Way:
        from rt_framework.builtin.students.probe import choose

        with AT_WORK:
            return choose(self._loaded.model, self._settings.attention)


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

    @lazy_property
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

    def look(self) -> Iterator[Finding]:
        """Yield what the tokenizer is, and the window."""
        yield from hf_look.of_tokenizer(self._tokenizer, self._window)

    def stored(self) -> bool:
        """Return true: the tokenizer is in memory."""
        return True

    @lazy_property
    def _loaded(self) -> models.Loaded:
        return models.Loaded(self._model, "")

    @lazy_property
    def _window(self) -> int:
        return models.window(self._model.config, self._tokenizer)

    @lazy_property
    def _foreign(self) -> Mapping[int, str]:
        return models.foreign_to(self._settings.model, self._model.config, self._tokenizer)


def _counted(span: EncodedSpan) -> SpanLoss:
    return SpanLoss(None, len(span.positions))


def _finite(loss: SpanLoss) -> SpanLoss:
    if loss.nll is not None and math.isfinite(loss.nll):
        return loss
    return SpanLoss(None, loss.tokens, "nonfinite", "the model's loss is not a finite number")

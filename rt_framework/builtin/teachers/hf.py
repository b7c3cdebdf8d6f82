"""The teacher that transformers loads from a hub id, a directory or a GGUF file, and runs in batches."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.builtin import models
from rt_framework.builtin.generation import Generation
from rt_framework.builtin.teachers.hf_settings import HFTeacherSettings
from rt_framework.kit.at_work import AT_WORK, lazy_property
from rt_framework.kit.places import HERE
from rt_framework.model import Reply, Request


class HFTeacher:
    """Teacher that answers batches of requests with a local causal language model, loaded by the first batch.

    Args:
        settings: which model to load, and how to run it.
    """

    structured = True
    place = HERE

    def __init__(self, settings: HFTeacherSettings) -> None:
        self._settings = settings

    @lazy_property
    def identity(self) -> str:
        """Identity of the model by a hash of its content; loads nothing.

        Raises:
            ModelError: there is no such model.
        """
        return f"hf {models.model_identity(self._settings)}"

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:  # noqa: ARG002 - as the protocol names them
        """Return 0, since a local model costs no money."""
        return 0

    @property
    def batch_size(self) -> int:
        """Most requests of one batch."""
        return self._settings.batch_size

    def complete_many(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer a batch, in order. A prompt that fills the window gets a reply that ends with ``too_long``.

        Raises:
            TeacherError: ``bad_request``: the chat template or the grammar does not accept a request.
            ModelError: the model cannot be loaded.
        """
        with AT_WORK:
            return self._generation.replies(requests)

    @lazy_property
    def _generation(self) -> Generation:
        own, model, tokenizer = self._settings, models.load_model(self._settings), models.load_tokenizer(self._settings)
        window, foreign = models.window(models.load_config(own), tokenizer), models.foreign_tokens(own, tokenizer)
        return Generation(own.model, model, tokenizer, window, foreign)

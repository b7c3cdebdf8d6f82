"""The batch APIs of providers: what they share, and a module for each provider.

A line of a batch is exactly the body that the live path would send, and an answer is read as the live path reads it.
Address and login are those of the live path too: litellm makes a request that is not sent, and they are taken from it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rt_framework.builtin.teachers.batch_apis.api import BatchApi as BatchApi
    from rt_framework.builtin.teachers.batch_apis.door import Door as Door

_CLASSES = {
    "anthropic": "AnthropicBatches",
    "azure": "AzureBatches",
    "gemini": "GeminiBatches",
    "mistral": "MistralBatches",
    "openai": "OpenAIBatches",
}
"""Class of each provider's batch API, by litellm's name of the provider, which is the module's name too."""

PROVIDERS = tuple(_CLASSES)
"""Providers whose batches are found again after a crash."""


def batch_api(provider: str, model: str) -> BatchApi:
    """Return the batch API of a provider, one of :data:`PROVIDERS`, for a model by the provider's own name of it."""
    module = import_module(f"{__name__}.{provider}")
    api: BatchApi = getattr(module, _CLASSES[provider])(model)
    return api

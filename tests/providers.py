"""The providers with batch APIs, as the fault server plays them."""

from __future__ import annotations

from typing import Any

from rt_framework.testing.server import FaultServer

_BASES = {"openai": "/v1", "azure": "", "mistral": "/v1", "anthropic": "", "gemini": "/v1beta"}

PROVIDERS = tuple(_BASES)
OTHERS = PROVIDERS[1:]
"""All but OpenAI."""


def environment(key: str) -> dict[str, str]:
    """The variables with which a run reaches every provider."""
    return {f"{provider.upper()}_API_KEY": key for provider in PROVIDERS} | {"AZURE_API_VERSION": "2024-10-21"}


def reached_at(provider: str, server: FaultServer) -> dict[str, Any]:
    """The teacher's options by which that server is this provider."""
    # litellm writes a schema into the prompt of a Gemini model that it does not know.
    model = "gemini-2.5-flash" if provider == "gemini" else "fake-model"
    return {"model": f"{provider}/{model}", "api_base": server.url.removesuffix("/v1") + _BASES[provider]}

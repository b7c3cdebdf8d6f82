"""Addresses to which litellm sends the requests of a model: the provider's, or that of a setting or variable."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rt_framework.kit.addresses import check_address
from rt_framework.kit.places import origin

_ENDINGS = ("API_BASE", "BASE_URL")
"""Endings of the environment variables by which litellm takes a provider's address."""

_OTHERS = {
    "bedrock": ("AWS_BEDROCK_RUNTIME_ENDPOINT",),
    "custom_openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    "datarobot": ("DATAROBOT_ENDPOINT",),
    "featherless_ai": ("FEATHERLESS_API_BASE",),
    "fireworks_ai": ("FIREWORKS_API_BASE",),
    "friendliai": ("FRIENDLI_API_BASE",),
    "gradient_ai": ("GRADIENT_AI_AGENT_ENDPOINT",),
    "huggingface": ("HF_API_BASE",),
    "lambda_ai": ("LAMBDA_API_BASE",),
    "meta_llama": ("LLAMA_API_BASE",),
    "mistral": ("MISTRAL_AZURE_API_BASE",),
    "text-completion-openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    "vertex_ai": ("VERTEXAI_API_BASE", "VERTEX_API_BASE"),
    "watsonx": ("WATSONX_URL", "WX_URL", "WML_URL"),
}
"""Variables whose names are not the provider's name and one of these endings, by provider."""


def check_place(provider: str, api_base: str | None, environ: Mapping[str, str]) -> None:
    """Check the addresses that the environment names in place of a provider's own.

    Raises:
        ConfigError: the environment sends the requests over plain http.
    """
    for ending in _ENDINGS:
        name = f"{provider.upper()}_{ending}"
        check_address(None if api_base else environ.get(name), name)


def place(provider: str, api_base: str | None, environment: Mapping[str, str]) -> str:
    """Return the provider's name, or scheme, host and port of the address that is used in its place.

    Args:
        provider: as litellm names it.
        api_base: the teacher's setting; it beats the environment.
        environment: variables; where two of them name different addresses both are returned, since litellm decides
            which one it uses.

    Raises:
        ConfigError: an address has no host.
    """
    if api_base:
        return origin(api_base)
    named = dict.fromkeys(origin(environment[name]) for name in variables(provider) if environment.get(name))
    return " or ".join(named) or provider


def provider_of(model: str) -> str:
    """Return the provider in a model's name. A name without a provider counts as OpenAI's, as litellm takes it."""
    return model.partition("/")[0] if "/" in model else "openai"


def variables(provider: str) -> tuple[str, ...]:
    """Return the variables that can name a provider's address."""
    base = re.sub(r"_(chat|text|beta|converse)$", "", provider)
    beginnings = dict.fromkeys(re.sub("[^A-Z0-9]", "_", name.upper()) for name in (provider, base))
    usual = (f"{beginning}_{ending}" for beginning in beginnings for ending in _ENDINGS)
    return (*usual, *_OTHERS.get(base, ()))

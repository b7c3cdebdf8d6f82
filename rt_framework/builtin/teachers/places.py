"""Where litellm sends the requests of a model: to its provider, or to the address that a setting or variable names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rt_framework.kit.places import origin

_ENDINGS = ("API_BASE", "BASE_URL")
"""How the variables end by which litellm lets an environment name a provider's address."""

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
"""Variables that are not the provider's name and such an ending."""


def place(provider: str, api_base: str | None, environment: Mapping[str, str]) -> str:
    """The provider's name, or scheme, host and port of the address that is asked in its stead.

    Args:
        provider: as litellm names it.
        api_base: the teacher's setting; it beats the environment.
        environment: variables; where two of them name different addresses both are given, since which one counts is
            litellm's affair.

    Raises:
        ConfigError: an address has no host.
    """
    if api_base:
        return origin(api_base)
    named = dict.fromkeys(origin(environment[name]) for name in variables(provider) if environment.get(name))
    return " or ".join(named) or provider


def provider_of(model: str) -> str:
    """The provider in a model's name; litellm takes the names that it knows without one for OpenAI's."""
    return model.partition("/")[0] if "/" in model else "openai"


def variables(provider: str) -> tuple[str, ...]:
    """Variables that can name a provider's address."""
    base = re.sub(r"_(chat|text|beta|converse)$", "", provider)
    beginnings = dict.fromkeys(re.sub("[^A-Z0-9]", "_", one.upper()) for one in (provider, base))
    usual = (f"{beginning}_{ending}" for beginning in beginnings for ending in _ENDINGS)
    return (*usual, *_OTHERS.get(base, ()))

"""Options of the built-in teachers."""

from __future__ import annotations

import os
import re
from typing import Any

from attrs import field, frozen

from rt_framework.builtin.teachers.batch_apis import PROVIDERS
from rt_framework.builtin.teachers.extra import refusal
from rt_framework.builtin.teachers.places import check_place, place, provider_of
from rt_framework.errors import ConfigError
from rt_framework.kit.addresses import check_address
from rt_framework.kit.bounds import within
from rt_framework.model import MOST_TOKENS
from rt_framework.text import secret_place

_MOST_PRICE = 1e6
"""Highest price in dollars per million tokens: far above that of any model, and low enough that the cost of a request
still fits into 64 bits."""

_SECRET = re.compile(r"key|secret|passw|credential|auth|token$", re.IGNORECASE)


def _check_api_base(_: object, __: object, value: str | None) -> None:
    check_address(value, "teacher api_base")


def _check_extra(_: object, __: object, value: dict[str, Any]) -> None:
    secret = secret_place(value, "teacher extra")
    if secret is not None:
        raise ConfigError(f"{secret}: API keys come only from the environment")
    for name in value:
        if _SECRET.search(name):
            raise ConfigError(f"teacher extra holds '{name}'; API keys come only from the environment")
        reason = refusal(name, value[name])
        if reason:
            raise ConfigError(f"teacher extra holds '{name}', which cannot be set there: {reason}")


@frozen
class LiteLLMSettings:
    """Options of the teacher ``litellm``: a model behind an API, by its litellm name.

    Raises:
        ConfigError: an address that is not https, a key among the options, one price without the other.
    """

    model: str
    """litellm's name of the model: ``openai/gpt-4o-mini``, ``anthropic/claude-…``, ``hosted_vllm/…``."""
    api_base: str | None = field(default=None, validator=_check_api_base)
    """Address of the server, where it is not the provider's own."""
    structured: bool | None = None
    """True if the model holds to a JSON schema; left out, litellm's model list decides."""
    extra: dict[str, str | int | float | bool] = field(factory=dict, validator=_check_extra)
    """Further provider parameters to send, such as ``reasoning_effort``. Never a key."""
    input_price: float | None = field(default=None, validator=within(least=0, most=_MOST_PRICE))
    """Dollars per million prompt tokens, for a model that litellm has no price for."""
    output_price: float | None = field(default=None, validator=within(least=0, most=_MOST_PRICE))
    """Dollars per million answer tokens; goes with ``input_price``."""
    batch: bool = False
    """Ask through the provider's batch API: half the price, answers within 24 hours. For models of ``anthropic/``,
    ``azure/``, ``gemini/``, ``mistral/`` and ``openai/``."""
    cached_price: float | None = field(default=None, validator=within(least=0, most=_MOST_PRICE))
    """Dollars per million prompt tokens read from the provider's cache; as ``input_price`` when left out."""
    cache_write_price: float | None = field(default=None, validator=within(least=0, most=_MOST_PRICE))
    """Dollars per million prompt tokens written to the provider's cache; as ``input_price`` when left out."""
    reasoning_tokens: int | None = field(default=None, validator=within(least=0, most=MOST_TOKENS))
    """Most tokens that the model may think before each answer: they are added to ``max_tokens`` of the reflection, and
    billed as the answer. Left out, they are 4096 for a model that litellm knows to think, else 0."""

    @property
    def provider(self) -> str:
        """Provider of the model, by litellm's name."""
        return provider_of(self.model)

    @property
    def place(self) -> str:
        """The provider, or the server that ``api_base`` or the environment names in its place."""
        return place(self.provider, self.api_base, os.environ)

    def check_environment(self) -> None:
        """Check the addresses that the environment names in place of the provider's own.

        Raises:
            ConfigError: the environment sends the requests over plain http.
        """
        check_place(self.provider, self.api_base, os.environ)

    def __attrs_post_init__(self) -> None:
        if self.batch and self.provider not in PROVIDERS:
            raise ConfigError(
                f"teacher batch is for models of {', '.join(f'{name}/' for name in PROVIDERS)}; "
                f"'{self.model}' is of another provider"
            )
        if (self.input_price, self.output_price).count(None) == 1:
            raise ConfigError("teacher: give both input_price and output_price, or neither")
        if self.input_price is None and (self.cached_price, self.cache_write_price) != (None, None):
            raise ConfigError("teacher: cached_price and cache_write_price go with input_price and output_price")


@frozen
class StudentTeacherSettings:
    """Options of the teacher ``student``: a student of the run, which answers with the weights that also score."""

    student: str | None = None
    """Name of the student, one of ``students``; the main student when left out."""
    batch_size: int = field(default=8, validator=within(least=1))
    """Most requests that one worker answers at once."""


@frozen
class ReplaySettings:
    """Options of the teacher ``replay``: answers from a file."""

    path: str
    """JSONL file, packed if its name ends with ``.gz``; each line has ``reflection``, ``pair`` (the pair's hash),
    ``index`` and ``text``, and may have ``draw`` and ``step`` (0 when left out) and ``teacher``."""
    structured: bool | None = None
    """True if the answers are JSON, as a teacher with structured output gives; false for text with markers. Left out,
    it is as in the run that the file was exported from, and true for any other file."""
    teacher: str | None = None
    """Name of one of several teachers in the file: only lines whose ``teacher`` is this name are used."""

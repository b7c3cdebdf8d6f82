"""The look at a teacher of litellm before a run: its key, its model, its price, and a server of the user's own."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from rt_framework.builtin.teachers.places import provider_of, variables
from rt_framework.builtin.teachers.prices import Rates
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.kit.addresses import is_loopback
from rt_framework.model import Finding

_SECONDS = 5.0
"""Seconds within which a server has to say which models it has."""


def look(settings: LiteLLMSettings, litellm: Any, rates: Rates | None) -> Iterator[Finding]:
    """Yield the findings; only a server of the user's own is asked, for the list of its models."""
    try:
        litellm.get_llm_provider(settings.model)
    except Exception:
        yield Finding(
            "model",
            f"litellm knows no provider of '{settings.model}': write PROVIDER/MODEL, such as openai/gpt-4o-mini",
            good=False,
        )
        return
    yield _key(settings, litellm)
    named = _own_server(settings, litellm)
    yield _model(settings, litellm) if named is None else _server(settings, *named)
    yield from _schema(settings, litellm)
    yield _price(rates)


def _own_server(settings: LiteLLMSettings, litellm: Any) -> tuple[str, str] | None:
    """Return the setting or variable that names a server with OpenAI's API, and its address; ``None`` without one.

    litellm obeys the variables of the environment as it does ``api_base``.
    """
    if settings.api_base is not None:
        return "api_base", settings.api_base
    provider = settings.provider
    if provider != "openai" and provider not in litellm.openai_compatible_providers:
        return None
    # OpenAI's two variables are read in this order.
    names = sorted(variables(provider), key=lambda name: name != "OPENAI_BASE_URL")
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), None)


def _key(settings: LiteLLMSettings, litellm: Any) -> Finding:
    missing = [
        name
        for name in litellm.validate_environment(settings.model)["missing_keys"]
        if not (settings.api_base and name.endswith(("_API_BASE", "_BASE_URL")))
    ]
    keys = [name for name in missing if name.endswith("_API_KEY")]
    own = f"{settings.provider.upper()}_API_KEY"
    if os.environ.get(own, own).strip() == "":
        return Finding("key", f"{own} is set, but empty: export the key before the run", good=False)
    if keys:
        return Finding("key", f"{' or '.join(keys)} is not set: export it before the run", good=False)
    if missing:  # some providers have other ways of logging in
        return Finding("key", f"{' and '.join(missing)} are not set; another login may hold", sure=False)
    return Finding("key", "set, as far as litellm needs one")


def _model(settings: LiteLLMSettings, litellm: Any) -> Finding:
    model = settings.model
    try:
        litellm.get_model_info(model)
    except Exception:
        provider = provider_of(model)
        name = model.removeprefix(f"{provider}/")
        known = {one.removeprefix(f"{provider}/") for one in litellm.models_by_provider.get(provider, ())}
        near = difflib.get_close_matches(name, known, 3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        return Finding("model", f"litellm's list has no '{name}' of {provider}{meant}", sure=False)
    return Finding("model", f"'{model}' is in litellm's list")


def _server(settings: LiteLLMSettings, named: str, address: str) -> Finding:
    """Ask a server for its models, as all servers with OpenAI's API have such a list.

    Args:
        settings: the model.
        named: the setting or variable that names the server.
        address: its address.
    """
    import httpx

    key = os.environ.get(f"{settings.provider.upper()}_API_KEY")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    proxied = not is_loopback(urlsplit(address).hostname or "")
    try:
        with httpx.Client(timeout=_SECONDS, trust_env=proxied) as client:
            answer = client.get(f"{address.rstrip('/')}/models", headers=headers)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        return Finding(
            "server",
            f"no answer from {address} within {_SECONDS:g} s ({why}): start it, or correct {named}",
            good=False,
        )
    if answer.status_code in (401, 403):
        return Finding("server", f"{address} does not accept the key (status {answer.status_code})", good=False)
    served = _served(answer)
    if served is None:
        return Finding("server", f"{address} answers, but lists no models (status {answer.status_code})", sure=False)
    name = settings.model.removeprefix(f"{settings.provider}/")
    if name not in served:
        some = ", ".join(served[:5]) or "no model"
        wrong = f"{address} serves {some}, and not '{name}': correct the model, or {named}"
        return Finding("server", wrong, good=False)
    return Finding("server", f"{address} serves '{name}'")


def _served(answer: Any) -> list[str] | None:
    """Return the names of the models in a list; ``None`` where it is none."""
    try:
        names = [one["id"] for one in answer.json()["data"]]
    except (ValueError, LookupError, TypeError):
        return None
    return names if answer.status_code == 200 and all(isinstance(name, str) for name in names) else None


def _schema(settings: LiteLLMSettings, litellm: Any) -> Iterator[Finding]:
    """Yield a finding if the setting says that answers are held to a schema, and litellm's list denies it."""
    try:
        held = bool(litellm.supports_response_schema(settings.model))
        litellm.get_model_info(settings.model)
    except Exception:  # a model that the list does not have
        return
    if settings.structured and not held:
        told = "structured is true, and litellm's list says that the model takes no JSON schema: leave structured out"
        yield Finding("schema", told, sure=False)


def _price(rates: Rates | None) -> Finding:
    if rates is None:
        return Finding(
            "price", "not known: give input_price and output_price, or a run has no budget and no cost", sure=False
        )
    prompt, answer = (float(rate) / 1000 for rate in (rates.prompt, rates.answer))
    return Finding("price", f"${prompt:g} per million prompt tokens, ${answer:g} per million answer tokens")

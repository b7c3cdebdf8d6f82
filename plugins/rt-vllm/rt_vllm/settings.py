"""Options of the students behind a server."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from rt_framework.errors import ConfigError
from rt_framework.kit.addresses import check_address, is_loopback
from rt_framework.kit.bounds import within

Dtype = Literal["float32", "bfloat16", "float16", "other"]


@frozen
class ServerSettings:
    """Options of the students ``vllm`` and ``sglang``."""

    url: str
    """Address of the server: ``http://127.0.0.1:8000``, with or without ``/v1``."""
    model: str | None = None
    """Name of the model at the server; none: the only one that it serves."""
    tokenizer: str | None = None
    """Hub id or directory of the model's tokenizer; none: the model that the server names."""
    revision: str | None = None
    """Branch, tag or commit of the tokenizer on the hub; none: the main branch."""
    dtype: Dtype = "bfloat16"
    """Number format in which the server computes, which it does not tell; ``other`` for quantised weights. It decides
    how far two losses of one sequence may differ."""
    at_once: int = field(default=64, validator=within(least=1, most=4096))
    """Requests under way at most."""
    timeout: float = field(default=300.0, validator=within(above=0, most=1800))
    """Seconds for one request in all."""
    allow_http: bool = False
    """Allow plain ``http://`` to another machine, such as within a cluster; never with a key."""
    key_variable: str = "VLLM_API_KEY"
    """Environment variable with the key that the server asks for, as the option ``--api-key`` of either server names
    it; without such a variable no key is sent."""

    def __attrs_post_init__(self) -> None:
        check_address(self.url, "student url", self.allow_http)
        if not (self.key or "").isprintable() or not (self.key or "").isascii():
            raise ConfigError(f"{self.key_variable} holds no key: it has characters that no header can hold")
        parts = urlsplit(self.url)
        if self.key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ConfigError(
                f"student url '{self.url}': the key in {self.key_variable} would be sent in plain text; use https://, "
                f"or unset {self.key_variable}"
            )

    @property
    def base(self) -> str:
        """Address of the server without ``/v1``."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def key(self) -> str | None:
        """The key that is sent to the server."""
        return os.environ.get(self.key_variable, "").strip() or None

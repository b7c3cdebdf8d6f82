"""Check of the addresses of servers that a user names: no key in them, and no plain http beyond this machine."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from rt_framework.errors import ConfigError
from rt_framework.text import secret_in_address, secret_place


def check_address(address: str | None, name: str, allow_http: bool = False) -> None:
    """Check that an address uses https, or http to this machine only.

    Args:
        address: the address; ``None`` passes.
        name: what it is, for the message.
        allow_http: True if plain http to other machines is meant, such as within a cluster.

    Raises:
        ConfigError: the address is another one, or holds a password or a key, in which case it is not shown.
    """
    if address is None:
        return
    content = secret_in_address(address)
    if content is None and ("@" in address or secret_place(address, name)):
        content = "a text that looks like a key"
    if content is not None:
        raise ConfigError(f"{name} holds {content}; API keys come only from the environment")
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ConfigError(f"{name} is no address: {error}") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and (allow_http or is_loopback(parts.hostname or ""))):
        raise ConfigError(f"{name} '{address}' must start with https:// (http:// is only for this machine)")


@lru_cache(maxsize=64)  # each call of a teacher asks
def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

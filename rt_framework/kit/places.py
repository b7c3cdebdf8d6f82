"""Where a teacher was asked, as run directories, manifests and data cards name it: never with a key, path or query."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from rt_framework.errors import ConfigError
from rt_framework.text import shown, without_secrets

HERE = "this machine"
"""The place of a teacher that is computed in the process of the run."""

UNRECORDED = "a place that was not recorded"
"""Where a run directory was asked from before places were recorded."""

_OR = " or "
"""Between places of which one was asked."""

_PORTS = {"http": 80, "https": 443}


@runtime_checkable
class PlacedTeacher(Protocol):
    """A teacher that says where it is asked. A teacher without it is asked at no place that could be recorded."""

    @property
    def place(self) -> str:
        """The provider's name, or scheme, host and port of a server: never a path, a query or a key.

        No part of a call's key: a server may move, and its answers stay. But a run directory notices a change.
        """


def origin(address: str) -> str:
    """Scheme, host and port of an address: ``https://api.example.com:443``.

    Raises:
        ConfigError: it has no host, or a port that is none. The address is not quoted: it may hold a key.
    """
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise ConfigError("an address of a teacher needs a host, and a port up to 65535: https://HOST:PORT/…")
    scheme = parts.scheme or "https"
    port = port or _PORTS.get(scheme)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def cleaned(place: str) -> str:
    """A place as it may be recorded: of addresses only the origin, and no secret of the environment.

    Raises:
        ConfigError: as :func:`origin`.
    """
    return _OR.join(origin(one) if "://" in one else shown(without_secrets(one)) for one in place.split(_OR))


def in_words(places: Sequence[str]) -> str:
    """Places in words that do not let a server of one's own pass for the provider."""
    return ", and ".join(map(_told, places))


def _told(place: str) -> str:
    if "://" not in place:
        return place
    if any(_local(urlsplit(one).hostname or "") for one in place.split(_OR)):
        return f"{place} (a server on the machine of the run, not the provider's own)"
    return f"{place} (a server that was named by its address)"


def _local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified

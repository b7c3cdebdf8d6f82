"""Places where a teacher was asked, as run directories, manifests and data cards name them, without keys and paths."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from rt_framework.errors import ConfigError
from rt_framework.text import shown, without_secrets

HERE = "this machine"
"""Place of a teacher whose model runs in the process of the run."""

UNRECORDED = "a place that was not recorded"
"""Place recorded for run directories that are older than the recording of places."""

_OR = " or "
"""Separator between places of which only one was asked."""

_PORTS = {"http": 80, "https": 443}


@runtime_checkable
class PlacedTeacher(Protocol):
    """A teacher that states where it is asked. The place of any other teacher is not recorded."""

    @property
    def place(self) -> str:
        """The provider's name, or scheme, host and port of a server: never a path, a query or a key.

        The place is not a part of a call's key, since a server may move while its answers stay valid. But a run
        directory notices a change.
        """


def origin(address: str) -> str:
    """Return scheme, host and port of a URL: ``https://api.example.com:443``.

    Raises:
        ConfigError: the URL has no host, or an invalid port. The message does not quote the URL, which may hold a key.
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
    """Return a place in a form that may be recorded: only the origin of URLs, and no secret of the environment.

    Raises:
        ConfigError: as :func:`origin`.
    """
    return _OR.join(origin(part) if "://" in part else shown(without_secrets(part)) for part in place.split(_OR))


def in_words(places: Sequence[str]) -> str:
    """Return places in words that tell a user's own server from the provider."""
    return ", and ".join(map(_told, places))


def _told(place: str) -> str:
    if "://" not in place:
        return place
    if any(_local(urlsplit(part).hostname or "") for part in place.split(_OR)):
        return f"{place} (a server on the machine of the run, not the provider's own)"
    return f"{place} (a server that was named by its address)"


def _local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified

"""Content hashes of frozen data, for ids and keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from attrs import fields, has
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical(value: Any) -> str:
    """Return the canonical JSON of plain values: keys in order, no blanks."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:
    """Return the content hash used for every id and key: SHA-256 of canonical JSON, cut to 32 hexadecimal digits."""
    return digest_of(canonical(value))


def digest_of(text: str) -> str:
    """Return the content hash of plain values whose canonical JSON is *text*."""
    # A lone surrogate cannot be encoded as UTF-8, and some user data contains them.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


ADDED = {"added": True}
"""Metadata of a field that arrived after the first digests. At its default it stays out of them: see :func:`keyed`."""

ASIDE = {"aside": True}
"""Metadata of a field that is no part of what a digest identifies, and stays out of all of them."""

_STORED, _KEYED = Converter(), Converter()


def _plain(converter: Converter, aside: bool) -> Callable[[type], Callable[[Any], Any]]:
    """Return a factory of functions that make plain values of frozen objects, with or without the fields aside."""

    def factory(cls: type) -> Callable[[Any], Any]:
        changed = {one.name: override(omit_if_default=True) for one in fields(cls) if one.metadata in (ADDED, ASIDE)}
        if not aside:
            changed |= {one.name: override(omit=True) for one in fields(cls) if one.metadata == ASIDE}
        return make_dict_unstructure_fn(cls, converter, **changed)  # type: ignore[arg-type]

    return factory


_STORED.register_unstructure_hook_factory(has, _plain(_STORED, aside=True))
_KEYED.register_unstructure_hook_factory(has, _plain(_KEYED, aside=False))


def keyed(value: Any) -> Any:
    """Return frozen objects as plain values for a digest.

    Ids and keys of what was paid for keep their value when a class gets another field, because such a field is marked
    with :data:`ADDED` and left out where it has its default.
    """
    return value if value is None or type(value) is str else _KEYED.unstructure(value)


def stored(value: Any) -> Any:
    """Return frozen objects as plain values to be kept; later fields are left out where they have their default."""
    return _STORED.unstructure(value)

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


def digest(value: Any) -> str:
    """Return the content hash used for every id and key: SHA-256 of canonical JSON, cut to 32 hexadecimal digits."""
    text = _CANONICAL.encode(value)
    # A lone surrogate cannot be encoded as UTF-8, and some user data contains them.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


ADDED = {"added": True}
"""Metadata of a field that arrived after the first digests. At its default it stays out of them: see :func:`keyed`."""


def _in_digests(cls: type) -> Callable[[Any], Any]:
    added = {one.name: override(omit_if_default=True) for one in fields(cls) if one.metadata == ADDED}
    return make_dict_unstructure_fn(cls, _KEYED, **added)  # type: ignore[arg-type]


_KEYED = Converter()
_KEYED.register_unstructure_hook_factory(has, _in_digests)


def keyed(value: Any) -> Any:
    """Return frozen objects as plain values for a digest.

    Ids and keys of what was paid for keep their value when a class gets another field, because such a field is marked
    with :data:`ADDED` and left out where it has its default.
    """
    return _KEYED.unstructure(value)

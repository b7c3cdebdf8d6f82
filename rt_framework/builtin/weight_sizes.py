"""Number of parameters of a model, from the headers of its files: no weights are read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from rt_framework.errors import ModelError

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_LONGEST = 100 * 2**20
"""Most bytes of a header, as the library safetensors reads it."""


def parameters(name: str, path: Path) -> int:
    """Return the number of parameters in a GGUF file, or in the safetensors files of a directory.

    Args:
        name: name of the model, for messages.
        path: the file or directory.

    Raises:
        ModelError: files are missing, or cut off.
    """
    if path.is_file():
        reader = importlib.import_module("gguf").GGUFReader(str(path))
        return sum(int(tensor.n_elements) for tensor in reader.tensors)
    try:
        return sum(_parameters(name, path / file) for file in _files(name, path))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"model '{name}': its weights cannot be read: {error}") from error


def _files(name: str, folder: Path) -> list[str]:
    """Return the names of a model's safetensors files.

    Raises:
        ModelError: there are none, or some are missing.
    """
    if (folder / _ONE).is_file():
        return [_ONE]
    if (folder / _INDEX).is_file():
        files = sorted(set(json.loads((folder / _INDEX).read_text("utf-8"))["weight_map"].values()))
        missing = [file for file in files if not (folder / file).is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ModelError(f"model '{name}' lacks {missing[0]}{more} of its weights: download it again")
        return files
    packed = sorted(folder.glob("*.gguf"))
    if packed:
        raise ModelError(f"model '{name}' is a directory of GGUF files: name one of them, such as {packed[0]}")
    raise ModelError(
        f"model '{name}' has no weights as safetensors: download model.safetensors, or save the model by "
        "save_pretrained of transformers"
    )


def _parameters(name: str, file: Path) -> int:
    """Return the number of parameters in a safetensors file: 8 bytes of length, a JSON header, the tensors."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: Mapping[str, Any] = json.loads(stream.read(length)) if 0 < length < _LONGEST else {}
    tensors = [tensor for key, tensor in header.items() if key != "__metadata__"]
    size = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    if not tensors or file.stat().st_size < size:
        raise ModelError(
            f"model '{name}': {file.name} has {file.stat().st_size:,} bytes and is cut off: download it again"
        )
    return sum(prod(tensor["shape"]) for tensor in tensors)

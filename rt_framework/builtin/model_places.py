"""Places of models: a file or directory on this machine, or a commit on the hub and what of it is in the cache."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from rt_framework.errors import ModelError

_READ = ("config.json", "tokenizer_config.json", "tokenizer.json", "tokenizer.model", "vocab.json")
"""Files of a model, one of the last three at least, from which its tokenizer is loaded."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_HUB_SECONDS = 5.0


def local_path(model: str) -> Path | None:
    """Return the file or directory that a model names on this machine; ``None`` if there is none."""
    path = Path(model).expanduser()
    return path if path.exists() else None


def is_gguf(path: Path | None) -> bool:
    """Return whether a model is a file, and no directory or hub id."""
    return path is not None and path.is_file()


def commit_of(model: str, revision: str | None) -> str:
    """Return the commit hash of a model on the hub; a full hash as *revision* needs no look-up."""
    if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return hub_commit(model, revision)[0]


@lru_cache
def hub_commit(model: str, revision: str | None) -> tuple[str, bool]:
    """Return the commit, and whether only the local cache knows it because the hub did not answer.

    Raises:
        ModelError: neither the hub nor the cache has such a model.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        commit = HfApi().model_info(model, revision=revision, timeout=_HUB_SECONDS).sha
        if commit:
            return commit, False
        reason = "the hub names no commit"
    except HFValidationError:
        raise _missing(model, "the name is not a valid hub id") from None
    except Exception as error:
        reason = _hub_reason(error)
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    if not isinstance(cached, str):
        raise _missing(model, reason)
    return Path(cached).parent.name, True


def _hub_reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    reasons: tuple[tuple[type[Exception], str], ...] = (
        (GatedRepoError, "the repository is gated, and access has to be requested"),
        (RepositoryNotFoundError, "no such repository, or a private one"),
        (RevisionNotFoundError, "the repository has no such revision"),
        (HfHubHTTPError, "the hub answered with an error"),
    )
    return next((reason for kind, reason in reasons if isinstance(error, kind)), "the hub cannot be reached")


def _missing(model: str, reason: str) -> ModelError:
    return ModelError(
        f"model '{model}' does not exist: no such file or directory, and not found on the hub: {reason}. "
        "Give a hub id, a directory or a .gguf file"
    )


# --- what is here -----------------------------------------------------------------------------


def tokenizer_stored(model: str, revision: str | None) -> bool:
    """Return whether the tokenizer is on this machine; the hub is asked for the commit of the model at most."""
    if local_path(model) is not None:
        return True
    try:
        commit, _ = hub_commit(model, revision)
    except ModelError:
        return False
    stored = {name for name in _READ if _cached(model, commit, name) is not None}
    return set(_READ[:2]) < stored


def weights_path(model: str, revision: str | None) -> Path | None:
    """Return the file or directory with the weights; ``None`` if they are not on this machine.

    Raises:
        ModelError: there is no such model.
    """
    path = local_path(model)
    if path is not None:
        return path
    commit, _ = hub_commit(model, revision)
    found = (_cached(model, commit, name) for name in _WEIGHTS)
    return next((file.parent for file in found if file is not None), None)


def parameters_on_hub(model: str, revision: str | None) -> int | None:
    """Return the number of parameters that the hub states; ``None`` if it does not answer, or does not know it."""
    from huggingface_hub import HfApi

    if hub_commit(model, revision)[1]:
        return None
    try:
        told = HfApi().model_info(model, revision=revision, timeout=_HUB_SECONDS).safetensors
    except Exception:  # the look-up of the commit says what is wrong with the hub
        return None
    return None if told is None else told.total


def _cached(model: str, commit: str, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model, name, revision=commit)
    return Path(path) if isinstance(path, str) else None

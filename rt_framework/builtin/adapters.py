"""Adapters: a few weights that peft has trained over a base model, found, checked, and merged into its weights."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rt_framework.builtin.hashes import file_hashes
from rt_framework.errors import ConfigError, ModelError

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

_ROUNDING = 0.5
"""Nats a token by which a merge may change a loss in half precision, where each merged weight is rounded once more. On
SmolLM2-135M in bfloat16, random adapters of usual sizes changed single losses by up to 0.07."""

_SHARED = ("vblora_vector_bank", "prompt_encoder", ".tinylora_v.", ".unilora_theta_d.")
"""Parameters that peft stores once for several layers, and so does not find in the file under each layer's name."""


def adapter_identity(folder: str, model: str) -> str:
    """Return the SHA-256 of an adapter: of its configuration and its weights. Loads nothing.

    Args:
        folder: directory of the adapter.
        model: hub id, directory or file of the base model.

    Raises:
        ModelError: the directory holds no adapter that can be used, or one of another base model.
        ConfigError: peft is not installed.
    """
    path = Path(folder).expanduser()
    _check_files(path, folder)
    if find_spec("peft") is None:
        raise ConfigError("an adapter needs peft: pip install 'rt-framework[adapters]'")
    _check_base(_base(path / _CONFIG, folder), model, folder)
    return hashlib.sha256("\n".join(file_hashes([path / _CONFIG, path / _WEIGHTS])).encode()).hexdigest()


def check_not_adapter(model: str, folder: Path) -> None:
    """Check that the directory of a model holds no adapter; see :func:`check_alone`.

    Raises:
        ModelError: it holds one.
    """
    if (folder / _CONFIG).is_file():
        raise ModelError(
            f"model '{model}' holds an adapter ({_CONFIG}): give a directory of it as 'adapter', and the base model as "
            "'model'"
        )


def check_alone(model: str, name: str, options: Mapping[str, Any]) -> None:
    """Check that transformers will load a model alone, from a directory or from the hub.

    Where it finds an adapter it would load that too, and over the model that the adapter's configuration names: weights
    that the identity of the model says nothing of.

    Args:
        model: name of the model, for messages.
        name: the name that transformers gets.
        options: the options that it gets.

    Raises:
        ModelError: there is an adapter.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    where = {key: options[key] for key in ("revision", "local_files_only") if key in options}
    config = find_adapter_config_file(name, **where)
    if config is not None:
        check_not_adapter(model, Path(config).parent)


def merged(base: Any, name: str, folder: str) -> Any:
    """Return a model with an adapter merged into its weights.

    Args:
        base: the model in inference mode, whose weights are changed.
        name: name of the model, for messages.
        folder: directory of the adapter.

    Raises:
        ModelError: the adapter does not fit the model, or cannot be merged.
    """
    import peft

    from rt_framework.builtin.students.forward import TargetLosses
    from rt_framework.builtin.students.probe import Probe

    path = str(Path(folder).expanduser())
    with warnings.catch_warnings():
        # Its warnings are about cases that are refused here.
        warnings.simplefilter("ignore")
        try:
            adapted = peft.PeftModel.from_pretrained(base, path, torch_device=str(base.device))
            if not hasattr(adapted, "merge_and_unload"):
                kind = adapted.peft_config["default"].peft_type.value
                raise ModelError(f"adapter '{folder}' is of the kind {kind}, which cannot be merged into weights")
            _check_keys(peft, adapted, path, name, folder)
            _check_tied(peft, adapted, name, folder)
            probe = Probe(adapted, half=_ROUNDING)
            model = adapted.merge_and_unload(safe_merge=True)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"adapter '{folder}' does not fit the model '{name}': {_reason(error)}") from error
    obstacle = probe.obstacle(TargetLosses(model, None, None))
    if obstacle is not None:
        raise ModelError(f"adapter '{folder}' cannot be merged into the weights of '{name}': then the model {obstacle}")
    return model.eval().requires_grad_(False)


def _check_files(path: Path, folder: str) -> None:
    if not (path / _CONFIG).is_file():
        there = "it has no" if path.is_dir() else "give a directory with"
        raise ModelError(f"adapter '{folder}' is no adapter of peft: {there} {_CONFIG} and {_WEIGHTS}")
    if not (path / _WEIGHTS).is_file():
        pickled = f"; {_PICKLE} is a pickle, which may run code and is not read" if (path / _PICKLE).is_file() else ""
        raise ModelError(f"adapter '{folder}' has no {_WEIGHTS}{pickled}: save it with save_pretrained of peft")


def _base(config: Path, folder: str) -> str | None:
    """Return the model on which the adapter was trained, as its configuration names it."""
    try:
        stated = json.loads(config.read_text("utf-8"))
        if "peft_type" not in stated:
            raise ValueError("it names no peft_type")
        base = stated.get("base_model_name_or_path")
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"adapter '{folder}' has no valid {_CONFIG}: {error}") from None
    return base if isinstance(base, str) else None


def _check_base(base: str | None, model: str, folder: str) -> None:
    """Check that a model is the one that an adapter was trained on, as far as names and files show it.

    A local copy of a model from the hub has another name, so those two are not compared; the sizes of the tensors are.

    Raises:
        ModelError: it is another one.
    """
    if not base or base.casefold() == model.casefold():
        return
    there, here = Path(base).expanduser(), Path(model).expanduser()
    if there.is_dir() and here.is_dir():
        same = there.samefile(here) or _weights_of(there) == _weights_of(here)
    else:
        same = any(path.exists() or not _HUB_ID.fullmatch(str(path)) for path in (there, here))
    if not same:
        raise ModelError(
            f"adapter '{folder}' was trained on '{base}', not on '{model}': give that model, or, if the two are one "
            f"model, write its name as base_model_name_or_path into {_CONFIG}"
        )


def _weights_of(folder: Path) -> list[str]:
    return sorted(file_hashes(folder.glob("*.safetensors")))


def _check_keys(peft: Any, adapted: Any, path: str, name: str, folder: str) -> None:
    """Check that each tensor of the file belongs to the adapted model, and that the file lacks none.

    peft itself leaves what is missing at its initial value, and what is unexpected out.
    """
    mapping = getattr(adapted.get_base_model(), "_checkpoint_conversion_mapping", {})
    weights = peft.load_peft_weights(path, device="cpu", key_mapping=mapping)
    found = peft.set_peft_model_state_dict(adapted, weights)
    missing = [key for key in found.missing_keys if "default" in key.split(".") and not _is_shared(key)]
    for keys, fault in ((missing, "lacks"), (found.unexpected_keys, "has unknown")):
        if keys:
            raise ModelError(
                f"adapter '{folder}' does not fit the model '{name}': it {fault} {len(keys)} tensors, such as {keys[0]}"
            )


def _check_tied(peft: Any, adapted: Any, name: str, folder: str) -> None:
    """Check that the adapter changes no head that shares its weights with the embeddings.

    peft adapts them apart, or both with one change. Merged, a change of one is a change of both, and two are one twice
    as large.
    """
    layers = [adapted.get_input_embeddings(), adapted.get_output_embeddings()]
    shared = len({getattr(layer, "base_layer", layer).weight.data_ptr() for layer in layers}) == 1
    changed = any(isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer) for layer in layers)
    if shared and changed:
        raise ModelError(
            f"adapter '{folder}' cannot be merged into the weights of '{name}': it changes the embeddings or the head, "
            "which have one weight: leave both out of target_modules"
        )


def _is_shared(key: str) -> bool:
    return any(name in key for name in _SHARED)


def _reason(error: Exception) -> str:
    if "size mismatch" in str(error):
        return "its tensors have other sizes"
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"

"""The manifest of a run: versions, plugins, config and facts, enough to repeat the run."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict
from cattrs.gen import make_dict_unstructure_fn, override

from rt_framework.config import Config, NamedTeacher
from rt_framework.data import Destination, whole
from rt_framework.errors import ConfigError, DataError
from rt_framework.events import Summary
from rt_framework.kit.parts import Given, Spec
from rt_framework.ledger import Ledger
from rt_framework.plugin import Host, structure
from rt_framework.rundir.directory import MANIFEST
from rt_framework.rundir.provenance import own_checkout, parts_used

PACKAGES = ("rt-framework", "torch", "transformers", "litellm", "llguidance", "numpy", "pluggy", "attrs", "pyarrow")


def versions() -> dict[str, str | None]:
    """Return the installed versions of the packages that shape a result, from metadata; nothing is imported."""
    return {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def plain_config(config: Any) -> Any:
    """Return a config, given as plain values or attrs objects, as plain values only."""
    return _plain().unstructure(config)


def write_manifest(
    run_dir: Path,
    host: Host,
    ledger: Ledger,
    config: Any,
    summary: Summary,
) -> None:
    """Write ``manifest.json``.

    Args:
        run_dir: directory to write to.
        host: knows which plugins were used.
        ledger: holds the frozen facts of the run, and how losses were computed.
        config: settings of the run, as plain values or attrs objects.
        summary: result of the run.

    Raises:
        DiskError: the manifest cannot be written.
    """
    manifest = {
        "versions": versions(),
        "checkout": own_checkout(),
        "plugins": parts_used(host, _plain().unstructure),
        "config": plain_config(config),
        "frozen": ledger.meta("frozen"),
        "ledger": asdict(ledger.told()),
        "places": ledger.meta("places") or [],
        "forward_paths": ledger.meta("forward_paths") or [],
        "stages": ledger.meta("stages") or [],
        "summary": _plain().unstructure(summary),
    }
    with whole(manifest_destination(run_dir)) as part:
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True, default=str) + "\n", "utf-8")


def manifest_destination(run_dir: Path, key: str | None = None) -> Destination:
    """Return the destination of a run directory's manifest.

    Args:
        run_dir: the run directory.
        key: a config key that only manifests of the calling command have.

    Raises:
        ConfigError: another command has left its manifest there.
    """
    with suppress(DataError, LookupError, TypeError):
        if key is not None and key not in read_manifest(run_dir)["config"]:
            raise ConfigError(f"{run_dir}: is the run directory of another command; name another directory")
    return Destination(run_dir / MANIFEST, "--run-dir", record=run_dir)


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """Return the manifest that :func:`write_manifest` has written.

    Raises:
        DataError: there is no manifest, so the run is not finished, or it cannot be read.
    """
    path = run_dir / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; the run is not finished: 'rt run' resumes it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return manifest


def read_config_of(run_dir: Path) -> Config:
    """Return the config of a finished run.

    Raises:
        DataError: as :func:`read_manifest`.
    """
    try:
        return structure(read_manifest(run_dir)["config"], Config)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{run_dir / MANIFEST}: cannot be read: {error}") from error


@cache
def _plain() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Spec, lambda spec: {spec.name: converter.unstructure(spec.options)})
    converter.register_unstructure_hook(Given, str)
    # A main teacher without options of its own is written as the part alone, as it always was.
    config = make_dict_unstructure_fn(
        Config, converter, teacher=override(unstruct_hook=lambda one: converter.unstructure(_shortest(one)))
    )
    converter.register_unstructure_hook(Config, config)
    return converter


def _shortest(teacher: NamedTeacher | None) -> NamedTeacher | Spec | None:
    return teacher.part if teacher is not None and teacher == NamedTeacher(teacher.part) else teacher

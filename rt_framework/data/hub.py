"""Data sets of the Hugging Face hub: the files of one configuration and split at one commit, in the hub's own cache.

The library ``datasets`` decides which files these are, so that they are the ones that everybody else gets under the
same names. The library ``huggingface_hub`` lists and downloads them. Each file is downloaded when it is first read,
and compared with the hash that the hub has listed for it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import define, field

from rt_framework.config import Data
from rt_framework.data.downloads import HubFile, download, listed
from rt_framework.data.files import digest_of
from rt_framework.errors import ConfigError, DataError

_PATH = re.compile(r"hf://datasets/(?P<name>[\w.-]+(/[\w.-]+)?)")

_DESCRIPTIONS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""Files of a repository that may name its configurations and the files of each."""

_OF_FILES = {"name", "version", "data_dir", "data_files", "description", "features"}
"""Fields of a configuration that say which files it has; every other one would change how they are read."""


def check_hub_extra(user: str) -> None:
    """Check that the packages of the extra ``hub`` are installed. None is imported.

    Args:
        user: what needs them, for the message.

    Raises:
        ConfigError: a package is missing; the message has the command that installs it.
    """
    if find_spec("datasets") is None:
        raise ConfigError(f"{user} needs datasets: pip install 'rt-framework[hub]'")


@define
class HubFiles:
    """The files of one configuration and split of a data set, each downloaded when it is first needed."""

    name: str
    _repository: str
    _commit: str
    _files: Sequence[HubFile]
    _paths: dict[str, tuple[Path, int]] = field(factory=dict, init=False)
    """Path of each file that is on this machine and was compared, with its time of change at that moment."""

    several = True
    hashed = False

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that were downloaded."""
        return tuple(self.stored())

    @property
    def facts(self) -> Mapping[str, str]:
        """The commit of the data set."""
        return {"revision": self._commit}

    def __iter__(self) -> Iterator[Path]:
        return (self._fetched(file) for file in self._files)

    def label(self, path: Path) -> str:
        """Return the name of a file in the repository."""
        return next(name for name, (known, _) in self._paths.items() if known == path)

    def stored(self) -> Sequence[Path]:
        """Return the files that were downloaded."""
        return [path for path, _ in self._paths.values()]

    def digests(self) -> Sequence[tuple[str, bytes]]:
        """Return the name and the hash of every file; one that was changed on this machine has another hash.

        Raises:
            OSError: a file that was downloaded cannot be read.
        """
        return [(file.name, self._digest(file)) for file in self._files]

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self._files)

    def _digest(self, file: HubFile) -> bytes:
        if file.name in self._paths:
            path, changed = self._paths[file.name]
            if path.stat().st_mtime_ns != changed and not file.is_at(path):
                return digest_of(path)
        return file.digest

    def _fetched(self, file: HubFile) -> Path:
        """Return the path of a file on this machine.

        Raises:
            DataError: the file cannot be downloaded, or what arrives is not what the hub has listed.
            DiskError: the disk of the cache is full.
        """
        if file.name not in self._paths:
            path = download(self._repository, self._commit, file.name, self.name)
            if not file.is_at(path):  # such as a file that was cut off in the cache, of which the library sees no more
                path.unlink()
                path = download(self._repository, self._commit, file.name, self.name, again=True)
                if not file.is_at(path):
                    raise DataError(
                        f"{self.name}: {file.name} arrived twice with another content than the hub lists for it; "
                        "try again later"
                    )
            self._paths[file.name] = path, path.stat().st_mtime_ns
        return self._paths[file.name][0]


def open_hub(data: Data) -> HubFiles:
    """Return the files of a data set on the hub, at the commit that its revision now names.

    Raises:
        ConfigError: the path names no data set, or the extra ``hub`` is not installed.
        DataError: the hub does not give the data set, or it has no such configuration or split.
    """
    match = _PATH.fullmatch(data.path)
    if match is None:
        raise ConfigError(
            f"data.path: '{data.path}' is not of the form hf://datasets/ORG/NAME; a branch, tag or commit goes into "
            "data.revision, and which of its files to read into data.config and data.split"
        )
    check_hub_extra(f"'{data.path}'")
    commit, files = listed(match["name"], data)
    split, names = _chosen(match["name"], commit, files, data)
    return HubFiles(f"{data.path}@{commit[:10]}, split {split}", match["name"], commit, [files[name] for name in names])


# --- the files of a split ---------------------------------------------------------------------


def _chosen(repository: str, commit: str, files: Mapping[str, HubFile], data: Data) -> tuple[str, list[str]]:
    """Return the split, and the names of its files in the order in which they are read.

    The library is shown a copy of the repository in which all files but the descriptions are empty. It needs no network
    for it, and cannot fall back on another commit in its own cache, as it does where the hub does not answer.

    Raises:
        DataError: there is no such configuration or split, or it is not made of files that can be read one by one.
    """
    if f"{PurePosixPath(repository).name}.py" in files:
        raise DataError(f"{data.path}: is made by a script of its own, which rt does not run; save its rows as files")
    with tempfile.TemporaryDirectory(prefix="rt-hub-") as folder:
        root = Path(folder).resolve() / "repository"
        for name in files:
            described = name in _DESCRIPTIONS
            content = download(repository, commit, name, data.path).read_bytes() if described else b""
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        splits = _splits(root, Path(folder) / "cache", data)
        split = _one_of(data, "split", data.split, list(splits), None)
        names = [_name_in(root, file) for file in splits[split]]
    foreign = next((name for name in names if name not in files), None)
    if foreign is not None:
        raise DataError(f"{data.path}: split {split} has a file outside the repository, {foreign}; rt does not read it")
    other = next((name for name in names if _ending(name) != _ending(names[0])), None)
    if other is not None and data.format is None:
        raise DataError(
            f"{data.path}: split {split} has files of different formats, {names[0]} and {other}; download those to "
            "read, and give their folder as data.path"
        )
    return split, names


def _splits(root: Path, cache: Path, data: Data) -> Mapping[str, Sequence[str]]:
    """Return the files of each split of a configuration.

    Raises:
        DataError: the library cannot tell, or there is no such configuration, or its files are read in a special way.
    """
    import datasets

    try:
        names = datasets.get_dataset_config_names(str(root))
        default = datasets.get_dataset_default_config_name(str(root))
        chosen = _one_of(data, "config", data.config, names, default)
        config = datasets.load_dataset_builder(str(root), chosen, cache_dir=str(cache)).config
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).replace(str(root), "the repository").split())
        raise DataError(f"{data.path}: no data files can be found: {reason:.300}") from error
    usual: Any = type(config)()
    for option in fields(config):
        given = getattr(config, option.name)
        if option.name not in _OF_FILES and given != getattr(usual, option.name):
            raise DataError(
                f"{data.path}: configuration {chosen} is read with {option.name}: {given!r:.80}, which rt does not "
                "know; download its files, and save their rows as jsonl or Parquet"
            )
    return {str(split): list(paths) for split, paths in (config.data_files or {}).items()}


def _one_of(data: Data, key: str, wanted: str | None, names: Sequence[str], default: str | None) -> str:
    """Return the wanted one of several names; else the default one, or the only one.

    Raises:
        DataError: there is no such name, or one has to be chosen.
    """
    chosen = wanted or default or (names[0] if len(names) == 1 else None)
    if chosen in names:
        return str(chosen)
    known = ", ".join(names) or "none"
    if wanted is not None:
        raise DataError(f"{data.path}: has no {key} '{wanted}'; known: {known}")
    raise DataError(f"{data.path}: has several: {known}; choose one with data.{key}")


def _ending(name: str) -> str:
    """Return the ending of a file name that tells its format."""
    path = PurePosixPath(name.lower())
    return path.suffix if path.suffix != ".gz" else "".join(path.suffixes[-2:])


def _name_in(root: Path, file: str) -> str:
    """Return the name of a file in the copy of a repository; of any other file, what names it."""
    with suppress(ValueError):
        return Path(file).relative_to(root).as_posix()
    return file

"""Data sets of the Hugging Face hub: the files of one configuration and split at one commit, in the hub's own cache.

The library ``datasets`` decides which files these are, so that they are the ones that everybody else gets under the
same names. The library ``huggingface_hub`` lists and downloads them. Each file is downloaded when it is first read,
and compared with the hash that the hub has listed for it.
"""

from __future__ import annotations

import errno
import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import define, field, frozen

from rt_framework.config import Data
from rt_framework.data.files import digest_of
from rt_framework.errors import ConfigError, DataError, DiskError

_SCHEME = "hf://"
_PATH = re.compile(r"hf://datasets/(?P<name>[\w.-]+(/[\w.-]+)?)")

_SECONDS = 30.0
"""Seconds within which the hub has to answer a question about a data set."""

_MOST_FILES = 50_000
"""Most files of a repository that the hub is known to list completely in one answer."""

_DESCRIPTIONS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""Files of a repository that may name its configurations and the files of each."""

_OF_FILES = {"name", "version", "data_dir", "data_files", "description", "features"}
"""Fields of a configuration that say which files it has; every other one would change how they are read."""


def is_on_hub(path: str) -> bool:
    """Return whether the path of a data set names one on the hub."""
    return path.startswith(_SCHEME)


def check_hub_extra(user: str) -> None:
    """Check that the packages of the extra ``hub`` are installed. None is imported.

    Args:
        user: what needs them, for the message.

    Raises:
        ConfigError: a package is missing; the message has the command that installs it.
    """
    if find_spec("datasets") is None:
        raise ConfigError(f"{user} needs datasets: pip install 'rt-framework[hub]'")


@frozen
class _HubFile:
    """A file of a repository, as the hub lists it."""

    name: str
    size: int
    digest: bytes
    by_content: bool
    """True if the digest is the SHA-256 of the content; false if it is git's hash of it."""

    def is_at(self, path: Path) -> bool:
        """Return whether a file on this machine has the content that the hub has listed."""
        if path.stat().st_size != self.size:
            return False
        if self.by_content:
            return digest_of(path) == self.digest
        git = hashlib.sha1(f"blob {self.size}\0".encode() + path.read_bytes(), usedforsecurity=False)
        return git.digest() == self.digest


@define
class HubFiles:
    """The files of one configuration and split of a data set, each downloaded when it is first needed."""

    name: str
    _repository: str
    _commit: str
    _files: Sequence[_HubFile]
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

    def _digest(self, file: _HubFile) -> bytes:
        if file.name in self._paths:
            path, changed = self._paths[file.name]
            if path.stat().st_mtime_ns != changed and not file.is_at(path):
                return digest_of(path)
        return file.digest

    def _fetched(self, file: _HubFile) -> Path:
        """Return the path of a file on this machine.

        Raises:
            DataError: the file cannot be downloaded, or what arrives is not what the hub has listed.
            DiskError: the disk of the cache is full.
        """
        if file.name not in self._paths:
            path = _download(self._repository, self._commit, file.name, self.name)
            if not file.is_at(path):  # such as a file that was cut off in the cache, of which the library sees no more
                path.unlink()
                path = _download(self._repository, self._commit, file.name, self.name, again=True)
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
    commit, files = _listed(match["name"], data)
    split, names = _chosen(match["name"], commit, files, data)
    return HubFiles(f"{data.path}@{commit[:10]}, split {split}", match["name"], commit, [files[name] for name in names])


def _listed(repository: str, data: Data) -> tuple[str, dict[str, _HubFile]]:
    """Return the commit that a revision names, and all files of it by name.

    Raises:
        DataError: the hub does not give them.
    """
    from huggingface_hub import HfApi

    with _explained(data.path, data.revision):
        info = HfApi().dataset_info(repository, revision=data.revision, timeout=_SECONDS, files_metadata=True)
        listed = [_hub_file(entry) for entry in info.siblings or ()]
    if not 0 < len(listed) <= _MOST_FILES:
        raise DataError(f"{data.path}: has {len(listed):,} files; rt reads data sets of 1 to {_MOST_FILES:,} files")
    outside = next((file.name for file in listed if not _is_inside(file.name)), None)
    if outside is not None:
        raise DataError(f"{data.path}: the hub lists a file outside the repository: {outside}; rt does not read it")
    return str(info.sha), {file.name: file for file in listed}


def _hub_file(entry: Any) -> _HubFile:
    size, digest = (entry.lfs.size, entry.lfs.sha256) if entry.lfs else (entry.size, entry.blob_id)
    return _HubFile(entry.rfilename, size, bytes.fromhex(digest), by_content=bool(entry.lfs))


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


# --- the files of a split ---------------------------------------------------------------------


def _chosen(repository: str, commit: str, files: Mapping[str, _HubFile], data: Data) -> tuple[str, list[str]]:
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
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            described = name in _DESCRIPTIONS
            content = _download(repository, commit, name, data.path).read_bytes() if described else b""
            (root / name).write_bytes(content)
        splits = _splits(root, Path(folder) / "cache", data)
        split = _one_of(data, "split", data.split, list(splits), None)
        names = [_name_in(root, file) for file in splits[split]]
    foreign = next((name for name in names if name not in files), None)
    if foreign is None and data.format is None:
        other = next((name for name in names if _ending(name) != _ending(names[0])), None)
        if other is not None:
            raise DataError(
                f"{data.path}: split {split} has files of different formats, {names[0]} and {other}; download those to "
                "read, and give their folder as data.path"
            )
    if foreign is not None:
        raise DataError(
            f"{data.path}: split {split} has a file outside the repository, {foreign}, which rt does not read"
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
        told = " ".join(str(error).replace(str(root), "the repository").split())
        raise DataError(f"{data.path}: no data files can be found: {told:.300}") from error
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


# --- downloads --------------------------------------------------------------------------------


def _download(repository: str, commit: str, name: str, user: str, again: bool = False) -> Path:
    """Return the path of a file in the hub's cache, where it is downloaded to if it is not there yet.

    Args:
        user: name of the data set, for messages.
        again: whether to download a file that is there.

    Raises:
        DataError: the hub does not give the file, or it arrives incomplete.
        DiskError: the disk of the cache is full.
    """
    from huggingface_hub import HfApi

    with _explained(user, commit):
        return Path(
            HfApi().hf_hub_download(repository, name, repo_type="dataset", revision=commit, force_download=again)
        )


@contextmanager
def _explained(user: str, revision: str | None) -> Iterator[None]:
    """Turn the errors of the hub's library into errors of one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise DiskError(f"{user}: the hub's cache (HF_HOME) cannot be written: {error.strerror}") from error
        raise DataError(f"{user}: {_reason(error, revision)}") from error


def _reason(error: BaseException, revision: str | None) -> str:
    """Return why the hub gave nothing, and the way out."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    while error.__cause__ is not None and getattr(error, "response", None) is None:
        error = error.__cause__  # the library says that a file is not in the cache because of another error
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or status == 403:
        return (
            f"the hub gives it only to accounts with access (status {status}); ask for access on its page, and set "
            "HF_TOKEN to a token of that account"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"has no branch, tag or commit '{revision}'; correct data.revision"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such data set on the hub (status {status}), or a private one: correct the name, or set HF_TOKEN"
    if status == 401:
        return "the hub does not accept the token (status 401); set HF_TOKEN to a valid one"
    if status == 429:
        return "the hub asks to slow down (status 429); try again later, or set HF_TOKEN, for which it allows more"
    if status is not None:
        return f"the hub answered with status {status}; try again later"
    if "onsistency check failed" in str(error):
        return "a file arrived incomplete; give the command again"
    return (
        f"the hub cannot be reached ({type(error).__name__}); try again later, or download the files where it can be "
        "reached ('hf download NAME --repo-type dataset') and give their folder as data.path"
    )

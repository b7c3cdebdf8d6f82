"""The Hugging Face hub as it is asked: the files of a data set at a commit, and their bytes in the hub's own cache."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen

from rt_framework.config import Data
from rt_framework.data.files import digest_of
from rt_framework.errors import DataError, DiskError

_SECONDS = 30.0
"""Seconds within which the hub has to answer a question about a data set."""

_MOST_FILES = 50_000
"""Most files of a repository that the hub is known to list completely in one answer."""


@frozen
class HubFile:
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


def listed(repository: str, data: Data) -> tuple[str, dict[str, HubFile]]:
    """Return the commit that a revision names, and all files of it by name.

    Raises:
        DataError: the hub does not give them.
    """
    from huggingface_hub import HfApi

    with _explained(data.path, data.revision):
        info = HfApi().dataset_info(repository, revision=data.revision, timeout=_SECONDS, files_metadata=True)
        files = [_hub_file(entry) for entry in info.siblings or ()]
    if not 0 < len(files) <= _MOST_FILES:
        raise DataError(f"{data.path}: has {len(files):,} files; rt reads data sets of 1 to {_MOST_FILES:,} files")
    outside = next((file.name for file in files if not _is_inside(file.name)), None)
    if outside is not None:
        raise DataError(f"{data.path}: the hub lists a file outside the repository: {outside}; rt does not read it")
    return str(info.sha), {file.name: file for file in files}


def _hub_file(entry: Any) -> HubFile:
    size, digest = (entry.lfs.size, entry.lfs.sha256) if entry.lfs else (entry.size, entry.blob_id)
    return HubFile(entry.rfilename, size, bytes.fromhex(digest), by_content=bool(entry.lfs))


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def download(repository: str, commit: str, name: str, user: str, again: bool = False) -> Path:
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
    if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore")):
        return (
            f"the hub cannot be reached ({type(error).__name__}); try again later, or download the files where it can "
            "be reached ('hf download NAME --repo-type dataset') and give their folder as data.path"
        )
    return f"the answer of the hub cannot be read ({type(error).__name__}); is HF_ENDPOINT the address of a hub?"

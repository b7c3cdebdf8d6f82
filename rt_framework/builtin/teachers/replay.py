"""A teacher that repeats answers from a file: free, offline and deterministic."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.builtin.teachers.settings import ReplaySettings
from rt_framework.errors import DataError, TeacherError
from rt_framework.model import Reply, Request, Usage

_KEYS = {"reflection": str, "pair": str, "index": int, "text": str}
_OPTIONAL = {"finish_reason": str, "prompt_tokens": int, "completion_tokens": int, "model": str}

_Key = tuple[str, str, int]


@frozen
class _Index:
    """Where each answer is: byte offsets, since the texts of a large run do not fit in memory."""

    identity: str
    offsets: dict[_Key, int]


class ReplayTeacher:
    """Looks answers up by reflection, pair hash and index. The file is read at the first use."""

    def __init__(self, settings: ReplaySettings) -> None:
        self._path = Path(settings.path)
        self._structured = settings.structured

    @property
    def identity(self) -> str:
        """Hash of the file's bytes: another file holds other answers.

        Raises:
            DataError: the file cannot be used.
        """
        return self._index.identity

    @property
    def structured(self) -> bool:
        """As set: what the answers in the file are."""
        return self._structured

    async def complete(self, request: Request) -> Reply:
        """The answer in the file.

        Raises:
            TeacherError: ``no_answer``: the file has none for this request.
            DataError: the file cannot be used.
        """
        key = (request.reflection, request.pair_hash, request.index)
        offset = self._index.offsets.get(key)
        if offset is None:
            asked = f"reflection {key[0]}, pair {key[1]}, index {key[2]}"
            raise TeacherError("no_answer", f"{self._path} has no answer for {asked}")
        return _reply(self._read(offset))

    @cached_property
    def _index(self) -> _Index:
        """Read and check the whole file."""
        whole = hashlib.sha256()
        offsets: dict[_Key, int] = {}
        offset = 0
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    whole.update(line)
                    if line.strip():
                        self._add(offsets, _parse(line, f"{self._path}, line {number}"), offset, number)
                    offset += len(line)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"cannot read the answers in {self._path}: {reason}; name a JSONL file") from error
        if not offsets:
            raise DataError(f"{self._path} holds no answers; each line needs {_wanted()}")
        return _Index(f"replay:{whole.hexdigest()[:16]}", offsets)

    def _add(self, offsets: dict[_Key, int], row: dict[str, Any], offset: int, number: int) -> None:
        key = (row["reflection"], row["pair"], row["index"])
        first = offsets.setdefault(key, offset)
        if first != offset and self._read(first)["text"] != row["text"]:
            raise DataError(
                f"{self._path}, line {number}: a second, different answer for reflection {key[0]}, pair {key[1]}, "
                f"index {key[2]}; keep one of them, or give the later one the next index"
            )

    def _read(self, offset: int) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek(offset)
            return _parse(file.readline(), f"{self._path}, byte {offset}")


def _parse(line: bytes, where: str) -> dict[str, Any]:
    """One line of the file, with every key checked."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); correct or remove the line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object; each line needs {_wanted()}")
    for name, kind in (_KEYS | _OPTIONAL).items():
        if name not in row and name in _KEYS:
            raise DataError(f"{where}: '{name}' is missing; each line needs {_wanted()}")
        if name in row and type(row[name]) is not kind:
            raise DataError(f"{where}: '{name}' must be {_article(kind)}, not {json.dumps(row[name])[:40]}")
    return row


def _article(kind: type) -> str:
    return "a whole number" if kind is int else "a string"


def _wanted() -> str:
    return ", ".join(_KEYS)


def _reply(row: dict[str, Any]) -> Reply:
    usage = Usage(row.get("prompt_tokens", 0), row.get("completion_tokens", 0))
    return Reply(row["text"], row.get("finish_reason", "stop"), usage, row.get("model", ""))

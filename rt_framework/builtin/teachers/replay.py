"""A teacher that repeats answers from a file: free, offline and deterministic."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.builtin.teachers.settings import ReplaySettings
from rt_framework.errors import DataError, TeacherError
from rt_framework.model import Reply, Request, Usage

_KEYS = {"reflection": str, "pair": str, "index": int, "text": str}
_OPTIONAL = {
    "draw": int,
    "step": int,
    "teacher": str,
    "finish_reason": str,
    "prompt_tokens": int,
    "completion_tokens": int,
    "model": str,
}

_Key = tuple[str, str, int, int, int]


class _Offsets:
    """Offset in the file of each answer, by a hash of its key: 24 to 48 bytes per answer, without texts and keys.

    Two arrays, as a hash table with open addressing. Different keys may have the same hash, so a caller has to compare
    the key in the file.
    """

    def __init__(self, slots: int = 1024) -> None:
        self._hashes = array("q", [0]) * slots
        self._places = array("Q", [0]) * slots  # one more than the offset; 0 marks a free slot
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def of(self, key: _Key) -> Iterator[int]:
        """Yield the offsets at which the key's answer may be."""
        for slot in self._slots(hash(key)):
            if self._hashes[slot] == hash(key):
                yield self._places[slot] - 1

    def add(self, key: _Key, offset: int) -> None:
        """Add an answer."""
        self._put(hash(key), offset + 1)
        self._used += 1
        if 3 * self._used > 2 * len(self._places):
            larger = _Offsets(2 * len(self._places))
            for number, place in zip(self._hashes, self._places, strict=True):
                if place:
                    larger._put(number, place)
            self._hashes, self._places = larger._hashes, larger._places

    def _put(self, number: int, place: int) -> None:
        steps = sum(1 for _ in self._slots(number))
        slot = (number + steps) & (len(self._places) - 1)
        self._hashes[slot], self._places[slot] = number, place

    def _slots(self, number: int) -> Iterator[int]:
        """Yield the used slots from the slot of a hash up to the next free one."""
        mask = len(self._places) - 1
        slot = number & mask
        while self._places[slot]:
            yield slot
            slot = (slot + 1) & mask


@frozen
class _Index:
    """The contents of the file without its texts, which do not fit into memory for a large run."""

    identity: str
    offsets: _Offsets


class ReplayTeacher:
    """Teacher that looks answers up by reflection, pair hash, index, draw and step, in a file read at the first use."""

    def __init__(self, settings: ReplaySettings) -> None:
        self._path = Path(settings.path)
        self._teacher = settings.teacher
        self._structured = settings.structured

    @property
    def identity(self) -> str:
        """Hash of the file's bytes, since another file holds other answers, and the name of the teacher among these.

        Raises:
            DataError: the file cannot be used.
        """
        return self._index.identity

    @property
    def structured(self) -> bool:
        """Return the setting, which says whether the answers in the file are JSON."""
        return self._structured

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:  # noqa: ARG002 - as the protocol names them
        """Return 0, since no provider is asked. For the same reason this teacher has no place."""
        return 0

    async def complete(self, request: Request) -> Reply:
        """Return the answer in the file.

        Raises:
            TeacherError: ``no_answer``: the file has none for this request.
            DataError: the file cannot be used.
        """
        key = (request.reflection, request.pair_hash, request.index, request.draw, request.step)
        row = self._find(self._index.offsets, key)
        if row is None:
            named = zip(("reflection", "pair", "index", "draw", "step"), key, strict=True)
            question = ", ".join(f"{name} {value}" for name, value in named if value or name == "index")
            raise TeacherError("no_answer", f"{self._path} has no answer for {question}")
        return _reply(row)

    @cached_property
    def _index(self) -> _Index:
        """Index of the file, made by reading and checking all of it."""
        whole = hashlib.sha256()
        offsets = _Offsets()
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
            of = "" if self._teacher is None else f" of teacher '{self._teacher}'"
            raise DataError(f"{self._path} holds no answers{of}; each line needs {_wanted()}")
        behind = "" if self._teacher is None else f":{self._teacher}"
        return _Index(f"replay:{whole.hexdigest()[:16]}{behind}", offsets)

    def _add(self, offsets: _Offsets, row: dict[str, Any], offset: int, number: int) -> None:
        if self._teacher not in (None, row.get("teacher")):
            return
        key = _key(row)
        first = self._find(offsets, key)
        if first is None:
            offsets.add(key, offset)
        elif first["text"] != row["text"]:
            raise DataError(
                f"{self._path}, line {number}: a second, different answer for reflection {key[0]}, pair {key[1]}, "
                f"index {key[2]}; keep one of them, or give the later one the next index, draw, step or teacher"
            )

    def _find(self, offsets: _Offsets, key: _Key) -> dict[str, Any] | None:
        return next((row for offset in offsets.of(key) if _key(row := self._read(offset)) == key), None)

    def _read(self, offset: int) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek(offset)
            return _parse(file.readline(), f"{self._path}, byte {offset}")


def _parse(line: bytes, where: str) -> dict[str, Any]:
    """Return one line of the file as an object, with every key checked."""
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


def _key(row: dict[str, Any]) -> _Key:
    return row["reflection"], row["pair"], row["index"], row.get("draw", 0), row.get("step", 0)


def _article(kind: type) -> str:
    return "a whole number" if kind is int else "a string"


def _wanted() -> str:
    return ", ".join(_KEYS)


def _reply(row: dict[str, Any]) -> Reply:
    usage = Usage(row.get("prompt_tokens", 0), row.get("completion_tokens", 0))
    return Reply(row["text"], row.get("finish_reason", "stop"), usage, row.get("model", ""))

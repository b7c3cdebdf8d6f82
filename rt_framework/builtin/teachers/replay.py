"""A teacher that repeats answers from a file: free, offline and deterministic."""

from __future__ import annotations

import hashlib
import json
import tempfile
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

from attrs import frozen

from rt_framework.builtin.formats.packed import is_packed
from rt_framework.builtin.formats.text import opened
from rt_framework.builtin.teachers.offsets import Key, Offsets
from rt_framework.builtin.teachers.replay_lines import WANTED, Row, alike, asked, is_structured, key_of, parse, reply_of
from rt_framework.builtin.teachers.settings import ReplaySettings
from rt_framework.errors import DataError, TeacherError
from rt_framework.model import Reply, Request


@frozen
class _Index:
    """The contents of the file without its texts, which do not fit into memory for a large run."""

    identity: str
    offsets: Offsets
    structured: bool


class ReplayTeacher:
    """Teacher that looks answers up by reflection, pair hash, index, draw and step, in a file read at the first use."""

    def __init__(self, settings: ReplaySettings) -> None:
        self._path = Path(settings.path)
        self._teacher = settings.teacher
        self._structured = settings.structured

    @property
    def identity(self) -> str:
        """Hash of the lines, since a file with others holds other answers, and the name of the teacher among these.

        Raises:
            DataError: the file cannot be used.
        """
        return self._index.identity

    @property
    def structured(self) -> bool:
        """Return whether the answers are JSON: the setting, else as the file says.

        Raises:
            DataError: the file decides, and cannot be used.
        """
        return self._index.structured if self._structured is None else self._structured

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:  # noqa: ARG002 - as the protocol names them
        """Return 0, since no provider is asked. For the same reason this teacher has no place."""
        return 0

    async def complete(self, request: Request) -> Reply:
        """Return the answer in the file. Where it has several to the same question, what was sent tells them apart.

        Raises:
            TeacherError: ``no_answer``: the file has none for this request.
            DataError: the file cannot be used.
        """
        key = (request.reflection, request.pair_hash, request.index, request.draw, request.step)
        rows = list(self._rows(self._index.offsets, key))
        named = zip(("reflection", "pair", "index", "draw", "step"), key, strict=True)
        question = ", ".join(f"{name} {value}" for name, value in named if value or name == "index")
        if not rows:
            raise TeacherError("no_answer", f"{self._path} has no answer for {question}")
        # A single answer is taken whatever was asked, because recorded answers outlive the wording of a prompt.
        sent = asked(request) if len(rows) > 1 else {}
        row = next((row for row in rows if alike(row, sent)), None)
        if row is None:
            raise TeacherError(
                "no_answer",
                f"{self._path} has {len(rows)} answers for {question}, and none to a request with these messages and "
                "sampling parameters",
            )
        return reply_of(row)

    @cached_property
    def _index(self) -> _Index:
        """Index of the file, made by reading and checking all of it."""
        whole = hashlib.sha256()
        offsets = Offsets()
        structured = set()
        for number, (offset, line) in enumerate(self._lines(), 1):
            whole.update(line)
            if line.strip():
                row = parse(line, f"{self._path}, line {number}")
                if self._teacher in (None, row.get("teacher")):
                    self._add(offsets, row, offset, number)
                    structured.add(is_structured(row))
        if not offsets:
            raise self._nothing()
        behind = "" if self._teacher is None else f":{self._teacher}"
        # A run with a structured teacher may ask some questions without a schema, and none with one otherwise.
        return _Index(
            f"replay:{whole.hexdigest()[:16]}{behind}", offsets, True in structured or False not in structured
        )

    def _add(self, offsets: Offsets, row: Row, offset: int, number: int) -> None:
        key = key_of(row)
        for other in self._rows(offsets, key):
            if not alike(row, other):
                continue
            if row["text"] == other["text"]:
                return
            teachers = {row.get("teacher"), other.get("teacher")} - {None}
            raise (
                self._several()
                if len(teachers) > 1
                else DataError(
                    f"{self._path}, line {number}: a second, different answer for reflection {key[0]}, pair {key[1]}, "
                    f"index {key[2]}; keep one of them, or give the later one the next index, draw, step or teacher"
                )
            )
        offsets.add(key, offset)

    def _rows(self, offsets: Offsets, key: Key) -> Iterator[Row]:
        """Yield the lines that answer a question, oldest first."""
        for offset in offsets.of(key):
            row = parse(self._line(offset), f"{self._path}, byte {offset}")
            if key_of(row) == key:
                yield row

    # --- faults of the file -----------------------------------------------------------------

    def _nothing(self) -> DataError:
        """Return the error for a file without a line that can be used."""
        teachers = self._teachers()
        if self._teacher is None or not teachers:
            of = "" if self._teacher is None else f" of teacher '{self._teacher}'"
            return DataError(f"{self._path} holds no answers{of}; each line needs {WANTED}")
        return DataError(
            f"{self._path} holds no answers of teacher '{self._teacher}'; name one that it has: {', '.join(teachers)}"
        )

    def _several(self) -> DataError:
        """Return the error for a file in which teachers answered the same question, if none of them is named."""
        teachers = self._teachers()
        return DataError(
            f"{self._path} holds different answers of several teachers to the same question; name one of them as the "
            f"option 'teacher' of replay: {', '.join(teachers)}"
        )

    def _teachers(self) -> list[str]:
        """Return the names of the teachers in the file, in quotes as YAML takes them."""
        rows = (parse(line, f"{self._path}, byte {offset}") for offset, line in self._lines() if line.strip())
        return [json.dumps(name) for name in sorted({row["teacher"] for row in rows if "teacher" in row})]

    # --- reading ----------------------------------------------------------------------------

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield all lines with their offsets. Others may be read meanwhile."""
        offset = 0
        while line := self._line(offset):
            yield offset, line
            offset += len(line)

    def _line(self, offset: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.readline()
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"cannot read the answers in {self._path}: {reason}; name a JSONL file") from error

    @cached_property
    def _file(self) -> IO[bytes]:
        """The lines; packed ones are unpacked to a temporary file, because they are read in any order."""
        is_temporary = is_packed(self._path)
        file: IO[bytes] = tempfile.TemporaryFile() if is_temporary else self._path.open("rb")  # noqa: SIM115
        weakref.finalize(self, file.close)  # it stays open as long as the teacher is there
        if is_temporary:
            with opened(self._path) as packed:
                file.writelines(packed)
        return file

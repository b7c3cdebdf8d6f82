"""The contract of formats."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO
from unittest import SkipTest

from rt_framework.errors import DataError
from rt_framework.protocols import StreamedFormat
from rt_framework.testing.awkward import awkward_pairs
from rt_framework.testing.contracts.base import PluginContract, outcome

_LONG = 'a "quoted" word,\tand\r\nanother line\n' * 400
"""A text so long that a file cut in half ends within it."""
_GARBAGE = b'\xff\xfe\x00 not { of "any [ form\n\xff'


class FormatContract(PluginContract):
    """Contract of a format: a container of rows."""

    kind = "formats"
    nested: bool = False
    """True if a value may be a number, a list or a mapping, and is read again as it was written."""

    def place(self, folder: Path, name: str = "rows") -> Path:
        """Return a path in *folder* with this format's usual ending."""
        suffixes: Sequence[str] = tuple(self.make().suffixes)
        return folder / f"{name}{suffixes[0] if suffixes else ''}"

    def break_it(self, path: Path) -> None:
        """Write a broken file. Override this if the format reads any bytes: by default they are no text either."""
        if self.make().suffixes:
            path.write_bytes(_GARBAGE)
        else:
            path.mkdir()
            (path / "data").write_bytes(_GARBAGE)

    def test_suffixes_are_endings(self) -> None:
        """``suffixes`` lists file name endings with their dot; it is empty for a directory."""
        suffixes = self.make().suffixes
        good = not isinstance(suffixes, str) and all(
            isinstance(suffix, str) and suffix.startswith(".") for suffix in suffixes
        )
        assert good, f"expected suffixes such as ('.tsv',), found {suffixes!r}"

    def test_what_is_written_is_read_again(self, tmp_path: Path) -> None:
        """Awkward texts are read back as they were written, every row, in order."""
        self._same(tmp_path, _texts())

    def test_unknown_columns_are_kept(self, tmp_path: Path) -> None:
        """Columns that no shape knows, and columns with odd names, are read back as they were written."""
        row = {"instruction": "a", "output": "b", "my topic": "c", "größe": "d", "x": "e"}
        self._same(tmp_path, [row, dict.fromkeys(row, "again")])

    def test_nested_values_are_kept(self, tmp_path: Path) -> None:
        """With ``nested = True``, numbers, lists and mappings are read back as they were written."""
        if not self.nested:
            raise SkipTest("nested is not set: values are texts")
        row = {"instruction": 3, "input": 0.5, "output": [{"role": "user", "content": "Hi."}]}
        self._same(tmp_path, [row, {**row, "output": [{"role": "user", "content": "You."}] * 2}])

    def test_a_lone_surrogate_is_written_or_refused(self, tmp_path: Path) -> None:
        """Text that UTF-8 cannot hold is either written in some way or refused with ``DataError``."""
        result = outcome(self._back, tmp_path, [{"instruction": "half \ud83d", "output": "b"}])
        assert isinstance(result, list) or issubclass(result[0], DataError), (
            f"a lone surrogate raised {result}; escape or replace it, or raise DataError"
        )

    def test_no_rows_come_back_as_no_rows(self, tmp_path: Path) -> None:
        """A data set without rows can be written, and is read back without rows."""
        rows = outcome(self._back, tmp_path, [])
        assert rows == [], f"expected no rows from a file that was written with none, found {rows}"

    def test_it_knows_its_own(self, tmp_path: Path) -> None:
        """``detect`` returns true for a file that the format has written."""
        path = self.place(tmp_path)
        outcome(self.make().write, path, [{"instruction": "a", "output": "b"}])
        assert self.make().detect(path), f"detect does not know {path.name}, which it has written itself"

    def test_it_leaves_others_alone(self, tmp_path: Path) -> None:
        """``detect`` returns false for another file, for a plain directory and for a missing file."""
        other = tmp_path / "rows.other"
        other.write_text('{"instruction": "a"}\n')
        (plain := tmp_path / "plain").mkdir()
        for path in (other, plain, tmp_path / "nothing", tmp_path / "nothing.other"):
            detected = outcome(self.make().detect, path)
            assert detected is False, f"expected detect to say False to {path.name}, found {detected!r}"

    def test_a_broken_file_is_a_data_error(self, tmp_path: Path) -> None:
        """A file that cannot be read raises a ``DataError`` that names it."""
        path = self.place(tmp_path, "broken")
        self.break_it(path)
        self._error(path)

    def test_a_cut_off_file_is_not_read(self, tmp_path: Path) -> None:
        """A file cut off by a full disk or a broken download is never read as a complete, shorter one."""
        rows = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": _LONG}]
        if not isinstance(outcome(self._back, tmp_path, rows), list):
            raise SkipTest("it is not written and read again even when it is whole")
        path = self.place(tmp_path)
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        largest = max(files, key=lambda file: file.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)
        result = outcome(lambda: list(self.make().read(path)))
        assert not isinstance(result, list), (
            f"half of {path.name} was read as {len(result)} rows; raise DataError for a file that is cut off"
        )

    def test_a_missing_file_is_a_data_error(self, tmp_path: Path) -> None:
        """A missing file raises a ``DataError`` that names it."""
        self._error(self.place(tmp_path, "missing"))

    def test_a_stream_gives_the_same_rows(self, tmp_path: Path) -> None:
        """A ``StreamedFormat`` gives the rows of ``read`` from a stream, which it reads to its end without seeking."""
        streamed = self.make()
        if not isinstance(streamed, StreamedFormat):
            raise SkipTest("it is not a StreamedFormat")
        path = self.place(tmp_path)
        self.make().write(path, iter(_texts()))
        with path.open("rb") as file:
            stream = _Stream(file)
            found = outcome(lambda: [dict(row) for row in streamed.read_with(path, lambda _: BufferedReader(stream))])
        expected = [dict(row) for row in self.make().read(path)]
        assert found == expected, f"read_with gave {found!r:.300}; read gives {expected!r:.300}"
        assert stream.ended, "read_with did not read the stream to its end, so that its hash is not known"

    def _error(self, path: Path) -> None:
        result = outcome(lambda: list(self.make().read(path)))
        assert not isinstance(result, list), f"{path.name} was read as {result!r:.200}; expected a DataError"
        kind, message = result
        assert issubclass(kind, DataError) and path.name in message, (
            f"expected a DataError that names {path.name}, found {kind.__name__}: {message!r:.300}"
        )

    def _back(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        path = self.place(folder)
        self.make().write(path, iter(rows))
        return [dict(row) for row in self.make().read(path)]

    def _same(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        result = outcome(self._back, folder, rows)
        assert isinstance(result, list), f"writing and reading raised {result[0].__name__}: {result[1]}"
        assert len(result) == len(rows), f"{len(rows)} rows were written and {len(result)} read"
        for number, (written, read) in enumerate(zip(rows, result, strict=True)):
            assert written == read, f"row {number} was written as {written!r:.300} and read as {read!r:.300}"


class _Stream(RawIOBase):
    """A stream that cannot be sought and knows whether it was read to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into *buffer*."""
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        self.ended = not found
        return len(found)


def _texts() -> list[dict[str, str]]:
    """Return the awkward pairs as rows, without lone surrogates, which few formats can hold."""
    texts = [(pair.instruction, pair.input, pair.response) for pair in awkward_pairs()]
    texts += [('"quoted", with\ttab', "two\nlines\r\nand three", "'single' \\n \\"), ("1", "true", "null")]
    names = ("instruction", "input", "output")
    return [dict(zip(names, row, strict=True)) for row in texts if not any(map(_surrogate, row))]


def _surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)

"""A good format and broken ones."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import islice
from typing import Any

from rt_framework.errors import DataError
from rt_framework.testing.contracts import FormatContract
from tests.testing_kit.making import good, mutant


@good(FormatContract, nested=True)
class Lines:
    suffixes: Any = (".lines",)

    def detect(self, path):
        return path.is_file() and path.suffix == ".lines"

    def read(self, path):
        try:
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error

    def write(self, path, rows):
        path.write_text("".join(self.line(dict(row)) for row in rows), "utf-8")

    def line(self, row):
        return json.dumps(row) + "\n"


@mutant(FormatContract, "test_suffixes_are_endings", nested=True)
class NoDot(Lines):
    suffixes = ("lines",)

    def detect(self, path):
        return path.is_file() and path.name.endswith("lines")


@mutant(FormatContract, "test_what_is_written_is_read_again", nested=True)
class Stripping(Lines):
    def line(self, row):
        return super().line({name: text.strip() if isinstance(text, str) else text for name, text in row.items()})


@mutant(FormatContract, "test_unknown_columns_are_kept", nested=True)
class Known(Lines):
    def line(self, row):
        return super().line({name: row[name] for name in ("instruction", "input", "output") if name in row})


@mutant(FormatContract, "test_nested_values_are_kept", nested=True)
class Flat(Lines):
    def line(self, row):
        return super().line({name: str(value) for name, value in row.items()})


@mutant(FormatContract, "test_a_lone_surrogate_is_written_or_refused", nested=True)
class Raw(Lines):
    def line(self, row):
        return json.dumps(row, ensure_ascii=False) + "\n"


@mutant(FormatContract, "test_no_rows_come_back_as_no_rows", nested=True)
class NeedsARow(Lines):
    def write(self, path, rows):
        super().write(path, rows)
        if not path.read_text():
            raise ValueError("nothing to write")


@mutant(FormatContract, "test_it_knows_its_own", nested=True)
class Blind(Lines):
    def detect(self, path):
        return False


@mutant(FormatContract, "test_it_leaves_others_alone", nested=True)
class Grasping(Lines):
    def detect(self, path):
        return path.is_file()


@mutant(FormatContract, "test_a_broken_file_is_a_data_error", nested=True)
class Raising(Lines):
    def read(self, path):
        if not path.exists():
            raise DataError(f"{path}: no such file")
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


@mutant(FormatContract, "test_a_broken_file_is_a_data_error", nested=True)
class Nameless(Lines):
    def read(self, path):
        if not path.exists():
            raise DataError(f"{path}: no such file")
        try:
            yield from super().read(path)
        except DataError:
            raise DataError("a file is broken") from None


@mutant(FormatContract, "test_a_cut_off_file_is_not_read", nested=True)
class Lenient(Lines):
    """Ends without a word at a line that is none, unless it is the first."""

    def read(self, path):
        rows = super().read(path)
        yield from islice(rows, 1)
        with suppress(DataError):
            yield from rows


@mutant(FormatContract, "test_a_missing_file_is_a_data_error", nested=True)
class Hoping(Lines):
    def read(self, path):
        return super().read(path) if path.exists() else iter(())


@good(FormatContract, nested=True)
class Streamed(Lines):
    def read_with(self, path, opener):
        with opener(path) as file:
            yield from map(json.loads, file)


@mutant(FormatContract, "test_a_stream_gives_the_same_rows", nested=True)
class Stopping(Lines):
    """Stops before the end of the stream, where the hash would be known."""

    def read_with(self, path, opener):
        with opener(path) as file:
            for _ in self.read(path):
                yield json.loads(file.readline())

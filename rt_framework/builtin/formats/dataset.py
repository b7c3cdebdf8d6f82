"""The format of data set directories of the Hugging Face ``datasets`` library, as ``save_to_disk`` writes them.

Such a directory holds Arrow streams, ``state.json`` with their names in order, and ``dataset_info.json``. Arrow alone
reads and writes these, so the ``datasets`` library is not needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rt_framework.builtin.formats.text import reading
from rt_framework.errors import DataError
from rt_framework.protocols import Write

# pyarrow is imported only where it is used, since an instance of every format is made to detect a file's format.

_INFO, _STATE, _SPLITS = "dataset_info.json", "state.json", "dataset_dict.json"
_FILE = "data-00000-of-00001.arrow"
_HUB = b"huggingface"
"""Key of a schema's metadata in which ``datasets`` keeps features that Arrow lacks, such as the names of classes."""


class DatasetFormat:
    """Format of a saved ``Dataset``, read and written in batches. The columns that it has keep their types."""

    suffixes: Sequence[str] = ()

    def detect(self, path: Path) -> bool:
        """Return whether the path is a directory with the files that ``save_to_disk`` leaves."""
        return path.is_dir() and any((path / mark).is_file() for mark in (_INFO, _STATE, _SPLITS))

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, one at a time, as stored: images and audio are not decoded.

        Raises:
            DataError: the directory cannot be read, holds several splits, or has a value that Python cannot represent.
        """
        from rt_framework.builtin.formats.arrow import to_rows

        try:
            yield from to_rows(_batches(path))
        except DataError as error:
            raise error if str(error).startswith(f"{path}: ") else DataError(f"{path}: {error}") from None

    def schema(self, path: Path) -> Any:
        """Return the columns, with the further metadata of ``datasets`` such as the names of classes.

        Raises:
            DataError: as :meth:`read`.
        """
        with _intact(path):
            info, files = json.loads((path / _INFO).read_text("utf-8")), _files(path)
            with _stream(files[0]) as stream:
                schema = stream.schema
            # datasets too takes the features of this file where they differ from those in the Arrow file.
            features = info.get("features")
            metadata = {} if features is None else {_HUB: json.dumps({"info": {"features": features}})}
            return schema.with_metadata({**(schema.metadata or {}), **metadata})

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a directory with the union of all columns; without rows there is one column, ``empty``.

        The rows are held in memory, as Arrow, until the last row determines the types of the columns.

        Raises:
            DataError: a column holds values without a common type, or of a type that ``datasets`` lacks.
        """
        from rt_framework.builtin.formats.arrow import to_table

        table = to_table(rows)
        _write(path, table.to_batches(), table.schema)

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:
        """Determine the types of all columns, from *schema* or else from the values, and return the writing function.

        Raises:
            DataError: as :meth:`write`; names row and column.
        """
        import pyarrow as pa

        from rt_framework.builtin.formats.arrow import settle, without_categories

        def attempt(table: Any) -> None:
            sink = pa.BufferOutputStream()
            _write_stream(sink, table.to_batches(), table.schema)
            with _fitting():  # Arrow writes without an error what is nested too deeply to be read again
                pa.ipc.open_stream(sink.getvalue()).read_all()
                # datasets makes a schema from a struct, which Arrow passes through its C interface: that ends earlier.
                pa.schema(pa.struct(list(table.schema)))

        known = schema and without_categories(schema)  # datasets does not store categories as Arrow does
        return partial(_write_rows, settle(rows, texts, known, attempt))


# --- reading ----------------------------------------------------------------------------------


def _batches(path: Path) -> Iterator[Any]:
    """Yield the record batches of a saved data set, file by file, each of at most a fixed number of rows."""
    from rt_framework.builtin.formats.arrow import BATCH_ROWS

    first = None
    with _intact(path):
        for file in _files(path):
            with _stream(file) as stream:
                first = first or stream.schema
                if not stream.schema.equals(first):
                    raise ValueError(f"{file.name} has other columns than the previous file")
                for batch in stream:
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        yield batch.slice(start, BATCH_ROWS)


def _files(path: Path) -> list[Path]:
    """Return the Arrow files of a saved data set, in order.

    Raises:
        DataError: there is no data set at *path*, or it is a set of splits or one with an index of rows.
        Exception: ``state.json`` is broken.
    """
    if not ((path / _INFO).is_file() and (path / _STATE).is_file()):
        if (path / _SPLITS).is_file():
            splits = ", ".join(json.loads((path / _SPLITS).read_text("utf-8"))["splits"]) or "none"
            raise DataError(f"{path}: is a set of splits ({splits}); give the path of one of them, {path}/SPLIT")
        raise DataError(f"{path}: no saved data set; save one with save_to_disk, or set data.format")
    state = json.loads((path / _STATE).read_text("utf-8"))
    # save_to_disk has long written the rows in their order; releases of before 2021 could leave an index beside them.
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError(
            f"{path}: is saved with an index of rows, as old releases of datasets did; "
            "load it with datasets and save it again with save_to_disk"
        )
    names = [file["filename"] for file in state["_data_files"]]
    missing = next((name for name in names if Path(name).name != name or not (path / name).is_file()), None)
    if missing is not None or not names:
        raise ValueError(
            f"{_STATE} names " + (f"{missing}, which is not in the directory" if names else "no data file")
        )
    return [path / name for name in names]


@contextmanager
def _stream(file: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
        yield stream


@contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Turn what broken metadata or Arrow files end in into a :class:`DataError` of one clear line."""
    from rt_framework.builtin.formats.arrow import UNFIT, short

    try:
        with reading(path):
            try:
                yield
            except OSError as error:
                if error.errno is not None:
                    raise
                raise ValueError(error) from None  # Arrow says so of a file that ends too early
    except (*UNFIT, AttributeError) as error:
        problem = f"{type(error).__name__}: {short(error)}"
        raise DataError(f"{path}: broken data set: {problem}; save it again with save_to_disk") from None


# --- writing ----------------------------------------------------------------------------------


def _write_rows(schema: Any, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from rt_framework.builtin.formats.arrow import to_batches

    _write(path, to_batches(rows, schema), schema)


def _write(path: Path, batches: Iterable[Any], schema: Any) -> None:
    """Write a directory that ``datasets.load_from_disk`` reads, batch by batch, in one Arrow file."""
    import pyarrow as pa

    path.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path / _FILE), "wb") as sink:
        _write_stream(sink, batches, schema)
    with (path / _FILE).open("rb") as written:
        fingerprint = hashlib.file_digest(written, "sha256").hexdigest()[:16]
    unset = dict.fromkeys(("_format_columns", "_format_type", "_split"))
    named = {"_data_files": [{"filename": _FILE}], "_fingerprint": fingerprint}
    state: dict[str, Any] = {**named, **unset, "_format_kwargs": {}, "_output_all_columns": False}
    # Releases of datasets spell features differently. Without them here, each release takes those that are in the Arrow
    # file's metadata, and derives the others from the types of the columns.
    info = {"features": None, **dict.fromkeys(("citation", "description", "homepage", "license"), "")}
    for name, values in ((_STATE, state), (_INFO, info)):
        (path / name).write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def _write_stream(sink: Any, batches: Iterable[Any], schema: Any) -> None:
    """Write batches to an Arrow stream.

    Raises:
        DataError: Arrow or ``datasets`` lacks the type of a column.
    """
    import pyarrow as pa

    lacking = next((kind for field in schema for kind in _lacking(field.type)), None)
    if lacking is not None:
        raise DataError(f"does not fit a data set: datasets has no type for {lacking}; remove it, or write jsonl")
    if not len(schema):  # datasets cannot load a table without columns
        schema, batches = pa.schema([("empty", pa.null())]), ()
    with _fitting(), pa.ipc.new_stream(sink, _loadable(schema)) as out:
        # datasets cannot convert columns of a file without any batch, such as columns that may not be null.
        out.write_batch(pa.RecordBatch.from_pylist([], schema))
        for batch in batches:
            out.write_batch(batch)


def _lacking(kind: Any) -> Iterator[Any]:
    """Yield the types, inside a type, that ``datasets`` has no feature for."""
    from pyarrow import types

    plain = (
        *(types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal128),
        *(types.is_decimal256, types.is_date, types.is_time, types.is_timestamp, types.is_duration, types.is_string),
        *(types.is_large_string, types.is_binary, types.is_large_binary, types.is_fixed_size_binary),
    )
    of_values = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_dictionary)
    if types.is_struct(kind):
        for field in kind:
            yield from _lacking(field.type)
    elif any(has_values(kind) for has_values in of_values):
        yield from _lacking(kind.value_type)
    elif not any(is_plain(kind) for is_plain in plain) and not str(kind).startswith(_BY_NAME):
        yield kind


_BY_NAME = ("string_view", "binary_view", "extension<arrow.json", "extension<datasets.")
"""Prefixes of the names of types that some supported releases of pyarrow can only identify by name."""


def _loadable(schema: Any) -> Any:
    """Return the schema without metadata of ``datasets`` that it could not read."""
    metadata = dict(schema.metadata or {})
    try:
        dict(json.loads(metadata[_HUB])["info"]["features"])
    except (ValueError, LookupError, TypeError):
        metadata.pop(_HUB, None)
    return schema.with_metadata(metadata or None)


@contextmanager
def _fitting() -> Iterator[None]:
    from rt_framework.builtin.formats.arrow import UNFIT, short

    try:
        yield
    except UNFIT as error:
        raise DataError(f"does not fit a data set: {short(error)}; remove it, or write jsonl") from error

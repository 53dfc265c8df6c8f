"""Rows from files that people name, and rows as one Parquet blob. Not here: what the columns mean.

Everything that leaves here is plain: dictionary columns are decoded and the schema's own metadata (pandas writes its
index there) is dropped, so that the same rows give the same bytes.
"""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv, fs

from contracts.errors import Broken, Incompatible, NotFound, Unavailable

_MAGIC = b"PAR1"
_PARQUET = {".parquet", ".pq"}
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_COMPRESSED = {".gz", ".bz2", ".zst"}
_NO_PATH = {errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.ELOOP}
_LARGEST_BLOCK = 2**31 - 1


def read_table(uri: str) -> pa.Table:
    """Read a Parquet or CSV file; Parquet is known by its first bytes, CSV by its name.

    In CSV an empty cell is missing, in text columns too; a column's type is inferred from all of its rows.

    Args:
        uri: Path, ``file://…``, ``s3://…`` or ``gs://…``. CSV may be compressed (``.csv.gz``).

    Raises:
        NotFound: There is no such file.
        Incompatible: A folder, an empty file, neither Parquet nor CSV, damaged, a column name twice, or no rows.
        Unavailable: The store that holds it cannot be reached.
    """
    data = _bytes_of(uri)
    if not data:
        raise Incompatible(f"{uri} is empty", {"uri": uri})
    try:
        table = _parse(uri, data)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Incompatible(f"{uri} cannot be read: {_first_line(error)}", {"uri": uri}) from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise Incompatible(f"{uri} has column {twice[0]!r} twice; rename or drop one", {"uri": uri, "columns": twice})
    if table.num_rows == 0:
        raise Incompatible(f"{uri} has columns but no rows", {"uri": uri})
    return _plain(table)


def parquet_bytes(table: pa.Table) -> bytes:
    """Write rows as one Parquet file; the same rows give the same bytes (with one release of Arrow).

    >>> table_from_parquet(parquet_bytes(pa.table({"a": [1, None]}))).to_pydict()
    {'a': [1, None]}
    """
    sink = io.BytesIO()
    try:
        pq.write_table(_plain(table).combine_chunks(), sink, compression="zstd")
    except pa.ArrowException as error:
        raise Incompatible(f"the rows have a column that Parquet cannot hold: {_first_line(error)}") from error
    return sink.getvalue()


def table_from_parquet(data: bytes) -> pa.Table:
    """Read what ``parquet_bytes`` wrote.

    Raises:
        Broken: These bytes are no Parquet file.
    """
    try:
        return pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise Broken(f"a stored table is no Parquet file: {_first_line(error)}") from error


def _bytes_of(uri: str) -> bytes:
    store, path = _locate(uri)
    try:
        info = store.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise NotFound(f"there is no file {uri}", {"uri": uri})
        if info.type != fs.FileType.File:
            raise Incompatible(f"{uri} is a folder; name one Parquet or CSV file", {"uri": uri})
        with store.open_input_file(path) as stream:
            data: bytes = stream.read()
    except pa.ArrowInvalid as error:
        raise Incompatible(f"{uri[:200]} is no path: {_first_line(error)}") from error
    except PermissionError as error:
        raise Incompatible(f"{uri} may not be read by this process: {error.strerror}", {"uri": uri}) from error
    except OSError as error:
        if error.errno in _NO_PATH:
            raise Incompatible(f"{uri[:200]} is no path: {os.strerror(error.errno)}") from error
        raise Unavailable(f"{uri} cannot be reached: {_first_line(error)}", {"uri": uri}) from error
    return data


def _locate(uri: str) -> tuple[fs.FileSystem, str]:
    if not uri.isprintable():
        raise Incompatible(f"{uri[:200]!r} is no path: it holds characters that cannot be seen")
    if "://" not in uri:
        try:
            return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
        except RuntimeError as error:
            raise Incompatible(f"{uri[:200]} names the home of a user whom this machine does not know") from error
    try:
        store, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, ValueError) as error:
        raise Incompatible(
            f"{uri} is not understood: {_first_line(error)}; give a path, file://, s3:// or gs://", {"uri": uri}
        ) from error
    except OSError as error:
        raise Unavailable(f"{uri} cannot be reached: {_first_line(error)}", {"uri": uri}) from error
    return store, path


def _parse(uri: str, data: bytes) -> pa.Table:
    path = PurePosixPath(uri)
    inner = PurePosixPath(path.stem) if path.suffix.lower() in _COMPRESSED else path
    if data.startswith(_MAGIC):
        return pq.read_table(pa.BufferReader(data))
    if path.suffix.lower() in _PARQUET:
        raise Incompatible(f"{uri} is named like a Parquet file but does not begin like one", {"uri": uri})
    if inner.suffix.lower() not in _DELIMITERS:
        raise Incompatible(
            f"{uri} is neither Parquet nor named .csv or .tsv; convert it, or give it its right name", {"uri": uri}
        )
    return _parse_csv(_inflated(data, path), _DELIMITERS[inner.suffix.lower()])


def _inflated(data: bytes, path: PurePosixPath) -> bytes:
    if path.suffix.lower() not in _COMPRESSED:
        return data
    codec = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}[path.suffix.lower()]
    with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
        whole: bytes = stream.read()
    return whole


def _parse_csv(data: bytes, delimiter: str) -> pa.Table:
    header = data.split(b"\n", 1)[0]
    if delimiter == "," and b"," not in header and b";" in header:
        delimiter = ";"  # where the comma is the decimal point, spreadsheets write this
    return csv.read_csv(
        pa.BufferReader(data),
        # one block: otherwise the first megabyte alone decides the types, and a later 1.5 among integers is an error
        read_options=csv.ReadOptions(block_size=min(len(data) + 1, _LARGEST_BLOCK), use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False),
    )


def _plain(table: pa.Table) -> pa.Table:
    columns = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

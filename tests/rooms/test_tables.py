"""Files that people name, and tables as blobs."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import Broken, Incompatible, NotFound
from mldl_ray.blobs.tables import parquet_bytes, read_table, table_from_parquet

ROWS = pa.table({"age": [31, None, 52], "city": ["Bern", "Uri", None], "target": [0, 1, 0]})


def test_parquet_comes_back_as_it_was_even_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "rows with a space.data"
    pq.write_table(ROWS, path)
    assert read_table(str(path)).equals(ROWS)
    assert read_table(path.as_uri()).equals(ROWS)


def test_dictionary_columns_and_pandas_metadata_are_made_plain(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    city = ROWS.column_names.index("city")
    pq.write_table(ROWS.set_column(city, "city", ROWS["city"].dictionary_encode()), path)
    pandas = tmp_path / "pandas.parquet"
    pq.write_table(pa.Table.from_pandas(ROWS.to_pandas()), pandas)
    assert read_table(str(path)).schema.field("city").type == pa.string()
    assert read_table(str(pandas)).schema.metadata is None


def test_csv_cells_left_empty_are_missing_in_text_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age,city,target\n31,Bern,0\n,Uri,1\n52,,0\n", encoding="utf-8")
    assert read_table(str(path)).equals(ROWS)


def test_csv_may_be_compressed_tabbed_or_parted_by_semicolons(tmp_path: Path) -> None:
    squeezed, tabbed, parted = tmp_path / "a.csv.gz", tmp_path / "b.tsv", tmp_path / "c.csv"
    squeezed.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    tabbed.write_text("a\tb\n1\t2\n", encoding="utf-8")
    parted.write_text("a;b\n1;2\n", encoding="utf-8")
    assert [read_table(str(path)).to_pylist() for path in (squeezed, tabbed, parted)] == [[{"a": 1, "b": 2}]] * 3


def test_a_fraction_far_down_a_csv_makes_its_column_fractional(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("a\n" + "1\n" * 800_000 + "1.5\n", encoding="utf-8")
    assert read_table(str(path)).schema.field("a").type == pa.float64()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.parquet", b"a,b\n1,2\n", "does not begin like one"),
        ("a.parquet", b"PAR1 and then nonsense", "cannot be read"),
        ("a.csv", b"a,b\n1,2,3\n", "Expected 2 columns, got 3"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.csv", b"a,a\n1,2\n", "column 'a' twice"),
        ("a.csv.gz", b"not compressed", "cannot be read"),
        ("a.xlsx", b"PK...", "neither Parquet nor named .csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Incompatible, match=said):
        read_table(str(tmp_path / name))


def test_a_missing_file_a_folder_and_a_strange_scheme_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        read_table(str(tmp_path / "none.csv"))
    with pytest.raises(Incompatible, match="is a folder"):
        read_table(str(tmp_path))
    with pytest.raises(Incompatible, match="is not understood"):
        read_table("gopher://x/y.csv")


@pytest.mark.parametrize(
    "uri", ["x" * 5000, "~nobody-of-that-name/a.csv", "a\0b.csv", "\ud800.csv", "file:///a%00b.csv"]
)
def test_what_can_be_no_path_is_refused(uri: str) -> None:
    with pytest.raises(Incompatible, match=r"is no path|whom this machine does not know"):
        read_table(uri)


def test_the_same_rows_give_the_same_bytes_however_they_were_chunked() -> None:
    chunked = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])
    assert parquet_bytes(chunked) == parquet_bytes(ROWS)
    assert table_from_parquet(parquet_bytes(ROWS)).equals(ROWS)


def test_stored_bytes_that_are_no_table_are_broken() -> None:
    with pytest.raises(Broken, match="no Parquet file"):
        table_from_parquet(b"nonsense")

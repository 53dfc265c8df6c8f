"""Memory, embedded: datasets as documents with their statistics, their rows as Parquet blobs, lineage both ways.

A dataset never changes. Its version is a digest of its bytes and of what its columns are for, so that the same data is
the same version whoever registers it. Not here: what makes rows fit for training (``training/rows.py``).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Conflict, Incompatible, NotFound, Refused
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Journal, Once, Write
from contracts.records import Dataset, Lineage
from contracts.specs import MODEL_KEY_PATTERN, DataRef, Json, Task
from mldl_ray.blobs.tables import parquet_bytes, read_table, table_from_parquet
from mldl_ray.bridges._statistics import describe
from mldl_ray.journal.documents import scan_all

KIND = "dataset"
MOST_CLASSES = 50
"""Whole numbers with more different values than this are taken for a quantity, not for classes."""


class EmbeddedMemory:
    """Keep datasets in the journal and the blob store."""

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._journal, self._blobs, self._clock = journal, blobs, clock

    def register(
        self,
        ref: DataRef,
        *,
        dataset_id: str | None = None,
        task: Task | None = None,
        by: str,
        reason: str = "",
        once: Once | None = None,
    ) -> Dataset:
        """Read a file, check what its columns are for, and keep it; the same rows and roles again write nothing.

        Args:
            ref: The file, by ``uri``, and its columns' roles.
            dataset_id: Its name; made from the file's when absent.
            task: What the rows are for; guessed from the target when absent.
            by: Who registers.
            reason: Why, for the record.
            once: Makes a repeated call give the first answer.

        Raises:
            Refused: ``ref`` names a dataset that is registered already.
            NotFound: There is no such file.
            Incompatible: It is no table, or its columns cannot have these roles.
        """
        from mldl_ray.training.rows import TrainingRows  # noqa: PLC0415  # loads frameworks; reading datasets needs none

        if ref.uri is None:
            raise Refused(f"dataset {ref.dataset_id} is registered already; register a file by its uri")
        name = dataset_id or name_of(ref.uri)
        if not re.fullmatch(MODEL_KEY_PATTERN, name):
            raise Incompatible(f"{name!r} cannot name a dataset; use letters, digits, _ - and ., 128 at most")
        table = read_table(ref.uri)
        TrainingRows.of(table, ref, task or likely_task(table, ref.target))
        made = self._describe(table, ref, name)
        return self._keep(made, by=by, reason=reason or f"registered from {ref.uri}", once=once)

    def dataset(self, dataset_id: str, version: str | None = None) -> Dataset:
        """Give a dataset; the one registered last when no version is named.

        Raises:
            NotFound: No such dataset or version; the message names those there are.
        """
        if version is not None and (found := self._journal.read(KIND, f"{dataset_id}@{version}")):
            return Dataset.model_validate(found.body)
        versions = self._scan(f"{dataset_id}@")
        if version is not None or not versions:
            raise self._unknown(dataset_id, version, versions)
        return max(versions, key=lambda made: (made.created_at_s, made.version))

    def datasets(self) -> list[Dataset]:
        """List every version of every dataset, by name, oldest first."""
        return sorted(self._scan(""), key=lambda made: (made.dataset_id, made.created_at_s))

    def table(self, dataset: Dataset) -> pa.Table:
        """Give a dataset's rows.

        Raises:
            NotFound: They are not stored any more.
            Broken: They were changed after they were stored.
        """
        return table_from_parquet(self._blobs.get(dataset.digest))

    def as_ref(self, dataset: Dataset) -> DataRef:
        """Give the words that name this dataset in a job: this version, these roles."""
        return DataRef(
            dataset_id=dataset.dataset_id,
            version=dataset.version,
            target=dataset.target,
            sensitive=dataset.sensitive,
            features=dataset.features,
            exclude=dataset.exclude,
            time_column=dataset.time_column,
            group_column=dataset.group_column,
            weight_column=dataset.weight_column,
        )

    def descendants(self, dataset_id: str, version: str | None = None) -> list[str]:
        """List the model versions that learned from a dataset (``<model_key>@<version>``); lineage, downwards."""
        return [
            document.key
            for document in scan_all(self._journal, "model_version")
            if (lineage := Lineage.model_validate((document.body or {}).get("lineage") or {})).dataset_id == dataset_id
            and version in {None, lineage.version}
        ]

    def _describe(self, table: pa.Table, ref: DataRef, dataset_id: str) -> Dataset:
        digest = self._blobs.put(parquet_bytes(table))
        roles = ref.model_dump(mode="json", exclude={"uri", "dataset_id", "version"})
        named = hashlib.sha256(json.dumps([digest, roles], sort_keys=True).encode()).hexdigest()
        return Dataset(
            dataset_id=dataset_id,
            version=named[:12],
            digest=digest,
            rows=table.num_rows,
            columns={field.name: str(field.type) for field in table.schema},
            statistics=describe(table),
            source=str(ref.uri),
            created_at_s=self._clock.now_s(),
            **roles,
        )

    def _keep(self, made: Dataset, *, by: str, reason: str, once: Once | None) -> Dataset:
        key = f"{made.dataset_id}@{made.version}"
        if known := self._journal.read(KIND, key):
            return Dataset.model_validate(known.body)
        past = self._journal.history(KIND, key)
        write = Write(
            kind=KIND, key=key, expected_version=past[-1].version if past else 0, body=made.model_dump(mode="json")
        )
        fact = Fact(type="MLDL_DATASET_REGISTERED", subject=made.dataset_id, data=_facts(made))
        try:
            receipt = self._journal.append([write], [fact], actor=by, reason=reason, once=once)
        except Conflict:
            if known := self._journal.read(KIND, key):  # somebody registered the same rows meanwhile
                return Dataset.model_validate(known.body)
            raise
        return Dataset.model_validate(receipt.documents[0].body)

    def _scan(self, prefix: str) -> list[Dataset]:
        return [Dataset.model_validate(document.body) for document in scan_all(self._journal, KIND, prefix=prefix)]

    def _unknown(self, dataset_id: str, version: str | None, versions: list[Dataset]) -> NotFound:
        if versions:
            names = [made.version for made in versions]
            return NotFound(
                f"dataset {dataset_id} has no version {version}; it has {', '.join(names[:10])}",
                {"dataset_id": dataset_id, "versions": names},
            )
        names = sorted({made.dataset_id for made in self._scan("")})
        return NotFound(
            f"there is no dataset {dataset_id}; there is {', '.join(names[:10]) or 'none yet'}",
            {"dataset_id": dataset_id, "datasets": names[:100]},
        )


def name_of(uri: str) -> str:
    """Make a dataset's name from its file's.

    >>> name_of("s3://bucket/2024/Customer data (v5).csv.gz")
    'Customer_data_v5'
    """
    name = PurePosixPath(uri).name
    stem = re.sub(r"\.(parquet|pq|csv|tsv|tab)(\.\w+)?$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9.\-]+", "_", stem).strip("_.-")[:128] or "dataset"


def likely_task(table: pa.Table, target: str | None) -> Task:
    """Guess what a target is for: fractions, and many different whole numbers, are quantities; the rest is classes.

    >>> likely_task(pa.table({"y": [0, 1, 1]}), "y"), likely_task(pa.table({"y": [0.5, 1.5]}), "y")
    ('classification', 'regression')
    """
    if target is None:
        return "clustering"  # rows without a target: whatever is learned from them, it is unsupervised
    if target not in table.column_names:
        return "classification"  # the check of the roles says what is missing
    column = table.column(target)
    if pa.types.is_integer(column.type):
        return "regression" if len(column.unique()) > MOST_CLASSES else "classification"
    if not pa.types.is_floating(column.type):
        return "classification"
    values = pc.drop_null(pc.if_else(pc.is_nan(column), None, column)).unique().to_pylist()
    return "classification" if len(values) <= MOST_CLASSES and all(map(float.is_integer, values)) else "regression"


def _facts(made: Dataset) -> Json:
    return {
        "dataset_id": made.dataset_id,
        "version": made.version,
        "digest": made.digest,
        "rows": made.rows,
        "columns": len(made.columns),
        "source": made.source,
    }

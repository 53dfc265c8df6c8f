"""Memory's feature views: registered once, never changed, found by name; what they come from and what came of them.

A view's version is a digest of everything that it does, the joined rows included: the same view again is the same
version, whoever registers it. Not here: what a view does to rows (``mldl_ray.features``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import Fact
from contracts.features import FeatureKind, FeatureView, FeatureViewLineage, FeatureViewSpec, Fill, Join
from contracts.ports import Blobs, Clock, Journal, Once, Write
from contracts.records import Dataset, Lineage
from contracts.specs import Json
from mldl_ray.blobs.tables import table_from_parquet
from mldl_ray.bridges._statistics import describe
from mldl_ray.bridges.memory import EmbeddedMemory
from mldl_ray.features.history import History
from mldl_ray.features.kinds import canonical
from mldl_ray.features.steps import AnyStep, applied
from mldl_ray.features.view import Transformer, checked, kinds_of_columns
from mldl_ray.journal.documents import scan_all

KIND = "feature_view"


class EmbeddedViews:
    """Keep feature views in the journal."""

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._journal, self._blobs, self._clock = journal, blobs, clock
        self._memory = EmbeddedMemory(journal, blobs, clock)

    def register(self, spec: FeatureViewSpec, *, by: str, reason: str, once: Once | None = None) -> FeatureView:
        """Check a view against its dataset, fix everything in it, and keep it; the same view again writes nothing.

        Raises:
            NotFound: No such dataset.
            Incompatible: A column, step or join that does not fit; the message names it.
        """
        dataset = self._memory.dataset(spec.dataset_id, spec.dataset_version)
        table = self._memory.table(dataset)
        inputs = kinds_of_columns(table, _columns(spec, dataset, table.column_names), dataset.dataset_id)
        join, history = self._joined(spec.join)
        checked(inputs, spec.steps, join, history)
        rows = canonical(table, inputs)
        made, steps = _resolved(rows if history is None else history.joined(rows), spec.steps)
        body = {
            "name": spec.name,
            "dataset_id": dataset.dataset_id,
            "dataset_version": dataset.version,
            "inputs": _columns_of(inputs),
            "outputs": _columns_of(checked(inputs, steps, join, history)),
            "join": join and join.model_dump(mode="json"),
            "steps": [step.model_dump(mode="json") for step in steps],
        }
        version = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
        facts = {"version": version, "statistics": describe(made), "created_at_s": self._clock.now_s()}
        return self._keep(FeatureView.model_validate(body | facts), by=by, reason=reason, once=once)

    def view(self, name: str, version: str | None = None) -> FeatureView:
        """Give a view: of a version, or as ``name@version``, or the one registered last.

        Raises:
            NotFound: There is none; the message names those there are.
        """
        if version is None and "@" in name:
            name, _, version = name.partition("@")
        if version is not None and (found := self._journal.read(KIND, f"{name}@{version}")):
            return FeatureView.model_validate(found.body)
        mine = [view for view in self.views() if view.name == name]
        if version is not None or not mine:
            known = ", ".join(sorted({view.reference if mine else view.name for view in mine or self.views()})[:10])
            wanted = name if version is None else f"{name}@{version}"
            raise NotFound(
                f"there is no feature view {wanted}; there is {known or 'none yet'}", {"feature_view": wanted}
            )
        return max(mine, key=lambda view: (view.created_at_s, view.version))

    def views(self) -> list[FeatureView]:
        """List every version of every view, by name, oldest first."""
        found = (FeatureView.model_validate(document.body) for document in scan_all(self._journal, KIND))
        return sorted(found, key=lambda view: (view.name, view.created_at_s))

    def transformer(self, view: FeatureView) -> Transformer:
        """Give a view at work, its joined rows loaded.

        Raises:
            NotFound: The joined rows are not stored any more.
        """
        if view.join is None:
            return Transformer(view)
        return Transformer(view, History.of(view.join, table_from_parquet(self._blobs.get(str(view.join.digest)))))

    def lineage(self, name: str, version: str | None = None) -> FeatureViewLineage:
        """Say what a view comes from, and which jobs and versions learned by it.

        Raises:
            NotFound: There is no such view.
        """
        view = self.view(name, version)
        datasets = [f"{view.dataset_id}@{view.dataset_version}"]
        datasets += [f"{view.join.dataset_id}@{view.join.version}"] if view.join else []
        jobs = [
            document.key
            for document in scan_all(self._journal, "job")
            if document.body and document.body["job"]["spec"].get("feature_view") == view.reference
        ]
        versions = [
            document.key
            for document in scan_all(self._journal, "model_version")
            if Lineage.model_validate((document.body or {}).get("lineage") or {}).feature_view == view.reference
        ]
        return FeatureViewLineage(
            view=view.reference, datasets=tuple(datasets), jobs=tuple(jobs), versions=tuple(versions)
        )

    def _joined(self, join: Join | None) -> tuple[Join | None, History | None]:
        if join is None:
            return None, None
        other = self._memory.dataset(join.dataset_id, join.version)
        fixed = join.model_copy(update={"version": other.version, "digest": other.digest})
        return fixed, History.of(fixed, self._memory.table(other))

    def _keep(self, view: FeatureView, *, by: str, reason: str, once: Once | None) -> FeatureView:
        if known := self._journal.read(KIND, view.reference):
            return FeatureView.model_validate(known.body)
        past = self._journal.history(KIND, view.reference)
        write = Write(
            kind=KIND,
            key=view.reference,
            expected_version=past[-1].version if past else 0,
            body=view.model_dump(mode="json"),
        )
        data: Json = {"name": view.name, "version": view.version, "dataset_id": view.dataset_id}
        data |= {"inputs": len(view.inputs), "outputs": len(view.outputs)}
        fact = Fact(type="MLDL_FEATURE_VIEW_REGISTERED", subject=view.name, data=data)
        try:
            receipt = self._journal.append([write], [fact], actor=by, reason=reason, once=once)
        except Conflict:
            if known := self._journal.read(KIND, view.reference):  # somebody registered the same view meanwhile
                return FeatureView.model_validate(known.body)
            raise
        return FeatureView.model_validate(receipt.documents[0].body)


def _columns(spec: FeatureViewSpec, dataset: Dataset, present: list[str]) -> list[str]:
    """Name what callers send; where nothing is said, all that have no other role, and what the join needs."""
    if spec.columns is not None:
        if dataset.target in spec.columns:
            raise Incompatible(f"columns names the target {dataset.target!r}, which nobody can send with a request")
        return list(spec.columns)
    roles = {dataset.target, dataset.time_column, dataset.group_column, dataset.weight_column, *dataset.exclude}
    roles -= {spec.join.key, spec.join.time} if spec.join else set()
    return [name for name in present if name not in roles]  # as they lie in the file: the journal orders keys by name


def _columns_of(kinds: dict[str, FeatureKind]) -> list[Json]:
    return [{"name": name, "kind": kind} for name, kind in kinds.items()]


def take_view(views: EmbeddedViews, item: Json, *, by: str) -> bool:
    """Register a view that another kernel gives; false when it is known already.

    Raises:
        Incompatible: It is no view, or does not fit its dataset here.
        NotFound: Its dataset is not here.
    """
    try:
        spec = FeatureViewSpec.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        raise Incompatible(f"feature view {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    known = {view.reference for view in views.views()}
    return views.register(spec, by=by, reason="given by another kernel").reference not in known


def _resolved(table: pa.Table, steps: Iterable[AnyStep]) -> tuple[pa.Table, list[AnyStep]]:
    """Apply steps one after another, each statistic replaced by its value over the rows so far."""
    done: list[AnyStep] = []
    for step in steps:
        fixed = _value(table, step) if isinstance(step, Fill) and step.statistic else step
        table = applied(table, fixed)
        done.append(fixed)
    return table, done


def _value(table: pa.Table, step: Fill) -> Fill:
    column = pc.drop_null(table.column(step.column))
    if not len(column):
        raise Incompatible(f"step fill: {step.column!r} has no value at all, so no {step.statistic}")
    if step.statistic == "most_frequent":
        counts = ((-entry["counts"], entry["values"]) for entry in pc.value_counts(column).to_pylist())
        value = min(counts)[1]
    else:
        exact = pc.mean(column) if step.statistic == "mean" else pc.quantile(column, 0.5)[0]
        value = exact.as_py()
    return Fill(column=step.column, value=value)

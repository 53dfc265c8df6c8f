"""Feature views: fixed when registered; training and the endpoint see the same features; lineage and doors."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from contracts.errors import Broken, Conflict, Incompatible, NotFound
from contracts.features import FeatureColumn, FeatureView
from contracts.specs import Json
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.blobs.artifact import fetch_artifact
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.features.serving import ServedView
from mldl_ray.serving_form import ServingModel
from mldl_ray.settings import load_settings
from tests.conftest import unused_port
from tests.plain import PlainSystem

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def people(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(7)
    income, debt = rng.lognormal(8, 1, rows), rng.lognormal(6, 1, rows)
    age: list[float | None] = [None if n % 9 == 0 else float(18 + n % 60) for n in range(rows)]
    return pa.table(
        {
            "who": [f"p{n % 40}" if n % 13 else None for n in range(rows)],
            "at": [START + dt.timedelta(hours=7 * n) for n in range(rows)],
            "age": age,
            "income": income,
            "debt": [0.0 if n % 50 == 0 else value for n, value in enumerate(debt)],
            "member": [n % 3 == 0 for n in range(rows)],
            "city": [("Bern", "Uri", None)[n % 3] for n in range(rows)],
            "zip": [float(3000 + n % 5) for n in range(rows)],
            "good": (income > debt * 8).astype(int),
        }
    )


MEDIAN_AGE = float(np.median([age for age in people()["age"].to_pylist() if age is not None]))


def accounts() -> pa.Table:
    days = range(0, 110, 3)
    return pa.table(
        {
            "who": [f"p{n % 40}" for n, _ in enumerate(days)] * 3,
            "at": [START + dt.timedelta(days=day + shift) for shift in (0, 1, 2) for day in days],
            "balance": [float(day * 10 + shift) for shift in (0, 1, 2) for day in days],
        }
    )


VIEW: Json = {
    "name": "customers",
    "dataset_id": "people",
    "columns": ["who", "at", "age", "income", "debt", "member", "city", "zip"],
    "join": {"dataset_id": "accounts", "key": "who", "time": "at", "columns": ["balance"], "prefix": "acc_"},
    "steps": [
        {"op": "fill", "column": "age", "statistic": "median"},
        {"op": "clip", "column": "income", "high": 50000},
        {"op": "log1p", "column": "income", "into": "log_income"},
        {"op": "ratio", "numerator": "income", "denominator": "debt", "into": "cover"},
        {"op": "bucket", "column": "age", "edges": [30, 50], "into": "age_group"},
        {"op": "cast", "column": "zip", "to": "categorical"},
        {"op": "date_parts", "column": "at", "parts": ["weekday", "hour"]},
        {"op": "one_of", "column": "city", "values": ["Bern"], "other": "elsewhere"},
        {"op": "rename", "columns": {"city": "town"}},
        {
            "op": "select",
            "columns": [
                "age", "log_income", "cover", "age_group", "zip", "at_weekday", "at_hour", "member", "town",
                "acc_balance",
            ],
        },
    ],
}  # fmt: skip


class Scene:
    """A system with the datasets, and a client of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.system = PlainSystem(load_settings({}, home=home, port=unused_port()))
        self.system.serve()
        self.client = MLDLClient(self.system.settings.url, acting_as="ann")
        for name, table, target in (("people", people(), "good"), ("accounts", accounts(), None)):
            pq.write_table(table, home / f"{name}.parquet")
            ref = {"uri": str(home / f"{name}.parquet"), "target": target}
            self.client.register_dataset({k: v for k, v in ref.items() if v}, dataset_id=name)

    def train(self, key: str = "credit", **spec: Any) -> Json:
        """Train and register; give the version's bundle."""
        job = {
            "spec": {"model_key": key, "family": "lr", "feature_view": "customers"} | spec,
            "data": {"dataset_id": "people"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
        accepted = self.client.train(job)
        self.system.jobs.run(accepted.job_id)
        found = self.client.job(accepted.job_id)
        assert found.status == "succeeded", found.error
        return {"job": found, "bundle": self.client.register(accepted.job_id, reason="try")}

    def artifact(self, bundle: Any, name: str) -> Path:
        folder = self.home / name
        fetch_artifact(self.system.blobs, bundle.validation_hash, folder)
        return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    found = Scene(tmp_path_factory.mktemp("home"))
    yield found
    found.client.close()
    found.system.close()


@pytest.fixture(scope="module")
def view(scene: Scene) -> FeatureView:
    return scene.client.register_view(VIEW, reason="for credit")


@pytest.fixture(scope="module")
def trained(scene: Scene, view: FeatureView) -> Json:
    return scene.train(feature_view=view.reference)


def names(columns: Iterable[FeatureColumn]) -> list[str]:
    return [column.name for column in columns]


def sent(table: pa.Table, columns: list[str]) -> list[Json]:
    """Give rows as JSON would bring them."""
    records: list[Json] = table.select(columns).to_pylist()
    for record in records:
        record["at"] = record["at"].isoformat()
    return records


def test_a_view_is_fixed_when_it_is_registered_and_the_same_again_is_the_same_version(
    scene: Scene, view: FeatureView
) -> None:
    assert names(view.outputs) == VIEW["steps"][-1]["columns"]
    assert {c.name: c.kind for c in view.outputs}["age_group"] == "categorical"
    [fill] = [step for step in view.steps if step.op == "fill"]
    assert (fill.value, fill.statistic) == (MEDIAN_AGE, None)
    assert view.join is not None and view.join.version and str(view.join.digest).startswith("sha256:")
    assert view.statistics["log_income"]["kind"] == "numeric"
    position = scene.system.journal.position()
    assert scene.client.register_view(VIEW, reason="again").version == view.version
    assert scene.system.journal.position() == position
    other = scene.client.register_view(VIEW | {"steps": VIEW["steps"][1:]}, reason="without the fill")
    assert other.version != view.version
    assert {v.version for v in scene.client.feature_views() if v.name == "customers"} == {view.version, other.version}
    assert scene.client.feature_view("customers", view.version) == view
    facts = scene.system.journal.events(types=["MLDL_FEATURE_VIEW_REGISTERED"])
    assert [fact.data["version"] for fact in facts] == [view.version, other.version]


def test_columns_that_nobody_names_are_those_of_the_file_in_its_order(scene: Scene) -> None:
    found = scene.client.register_view({"name": "all", "dataset_id": "people"}, reason="x")
    assert names(found.inputs) == [name for name in people().column_names if name != "good"]
    assert names(scene.client.feature_view("all").outputs) == names(found.outputs) == names(found.inputs)


def test_the_endpoint_sees_row_by_row_what_training_saw(scene: Scene, view: FeatureView, tmp_path: Path) -> None:
    table = people()
    kept = scene.system.bridges._views.transformer(view)
    learned = kept.apply(kept.inputs(table))
    served = ServedView(kept, InputSchema.of(kept.inputs(table)))
    served.write(tmp_path)
    loaded = ServedView.read(tmp_path)
    assert loaded is not None
    records = sent(table, names(view.inputs))
    rows = [list(record.values()) for record in records]
    for number, expected in enumerate(learned.to_pylist()):
        alone = loaded.features(loaded.rows([records[number]]), names(view.outputs))[0]
        assert alone == list(expected.values()), number
        assert loaded.features(loaded.rows([rows[number]]), names(view.outputs))[0] == alone
    together = loaded.features(loaded.rows(records), names(view.outputs))
    assert together == [list(row.values()) for row in learned.to_pylist()]
    assert any(row["acc_balance"] is not None for row in learned.to_pylist())
    assert any(row["acc_balance"] is None for row in learned.to_pylist())


def test_a_version_carries_its_view_and_answers_what_its_model_says_of_the_features(
    scene: Scene, view: FeatureView, trained: Json, tmp_path: Path
) -> None:
    bundle = trained["bundle"]
    assert bundle.lineage.feature_view == view.reference
    assert [column["name"] for column in bundle.input_schema["columns"]] == names(view.inputs)
    folder = scene.artifact(bundle, "carried")
    model = ServingModel.load(folder)
    assert model.columns == tuple(names(view.inputs))
    from mldl_ray.adapters import load_adapter

    table, native = people(), load_adapter(folder)
    kept = scene.system.bridges._views.transformer(view)
    expected = native.predict_proba(kept.apply(kept.inputs(table)))
    found = model.predict(sent(table, names(view.inputs)))
    assert np.allclose(np.array(found.probabilities), expected, atol=1e-6)
    reference = pq.read_table(folder / "reference.parquet")
    told = ["score", "prediction", "loss"]
    assert reference.column_names == [*(f"f.{name}" for name in names(view.inputs)), *told]
    first = model.predict([found.rows[0]])
    assert first.probabilities == [found.probabilities[0]] if found.probabilities else False


def test_a_request_is_refused_in_the_words_of_what_callers_send(scene: Scene, view: FeatureView, trained: Json) -> None:
    model = ServingModel.load(scene.artifact(trained["bundle"], "refusing"))
    [record] = sent(people(1), names(view.inputs))
    for wrong, said in (
        ({"income": "much"}, "row 0: column 'income' is 'much'"),
        ({"at": "noon"}, "row 0: column 'at' is 'noon'"),
        ({"member": 2}, "row 0: column 'member' is 2"),
        ({"city": 3}, "row 0: column 'city' is 3"),
    ):
        with pytest.raises(Incompatible, match=said):
            model.predict([record | wrong])
    with pytest.raises(Incompatible, match="column 'age' is missing"):
        model.predict([{name: value for name, value in record.items() if name != "age"}])
    with pytest.raises(Incompatible, match="column 'log_income' is unknown"):
        model.predict([record | {"log_income": 1.0}])
    assert len(model.predict([dict.fromkeys(record)]).predictions) == 1  # missing everywhere is an answer too
    assert len(model.predict([record | {"income": 10**400}]).predictions) == 1


def test_warming_up_explaining_and_judging_anew_go_through_the_view(
    scene: Scene, view: FeatureView, trained: Json, tmp_path: Path
) -> None:
    from serve.slots import load_version

    bundle = trained["bundle"]
    assert load_version(scene.system.blobs, tmp_path, bundle.validation_hash).pace is not None
    records = sent(people(3), names(view.inputs))
    explained = scene.client.explain("credit", records, bundle.version)
    assert set(explained.rows[0]) == set(names(view.outputs))
    judged = scene.client.evaluate(
        model_key="credit", version=bundle.version, data={"uri": str(scene.home / "people.parquet"), "target": "good"}
    )
    assert judged.rows == 400
    assert judged.metrics["auroc"] > 0.8
    again = scene.client.evaluate(model_key="credit", version=bundle.version, metrics=["accuracy"])
    assert "accuracy" in again.metrics


def test_lineage_goes_both_ways(scene: Scene, view: FeatureView, trained: Json) -> None:
    found = scene.client.view_lineage("customers", view.version)
    assert found.view == view.reference
    assert [name.partition("@")[0] for name in found.datasets] == ["people", "accounts"]
    assert found.jobs == (trained["job"].job_id,)
    assert found.versions == (f"credit@{trained['bundle'].version}",)


def test_a_job_fixes_the_view_s_version_and_another_view_is_another_minor_version(scene: Scene, trained: Json) -> None:
    simple = {"name": "plain", "dataset_id": "people", "columns": ["age", "income", "debt"], "steps": []}
    reference = scene.client.register_view(simple, reason="less").reference
    found = scene.train(key="other", feature_view=reference)
    assert found["job"].job.spec.feature_view == reference
    assert trained["job"].job.spec.feature_view.startswith("customers@")
    assert found["bundle"].lineage.feature_view == reference


def test_what_cannot_be_is_refused_before_anything_is_written(scene: Scene, view: FeatureView) -> None:
    client, position = scene.client, scene.system.journal.position()
    with pytest.raises(NotFound, match=r"there is no feature view nobody; there is .*customers"):
        scene.train(feature_view="nobody")
    with pytest.raises(NotFound, match="there is no dataset nothing"):
        client.register_view(VIEW | {"dataset_id": "nothing"}, reason="x")
    with pytest.raises(Incompatible, match="dataset people has no column 'height'"):
        client.register_view(VIEW | {"columns": ["height"]}, reason="x")
    with pytest.raises(Incompatible, match="names the target 'good'"):
        client.register_view(VIEW | {"columns": ["good"]}, reason="x")
    with pytest.raises(Incompatible, match=r"view\.steps\.0"):
        client.register_view(VIEW | {"steps": [{"op": "python", "code": "import os"}]}, reason="x")
    with pytest.raises(Incompatible, match="takes column 'who', which the data lacks"):
        pq.write_table(people(20).drop_columns(["who"]), scene.home / "other.parquet")
        client.train(
            {
                "spec": {"model_key": "m", "family": "lr", "feature_view": "customers"},
                "data": {"uri": str(scene.home / "other.parquet"), "target": "good"},
            }
        )
    makes_it = VIEW | {"name": "makes_it", "steps": [{"op": "log1p", "column": "income", "into": "good"}]}
    reference = client.register_view(makes_it, reason="x").reference
    position = scene.system.journal.position()
    with pytest.raises(Incompatible, match="makes a column 'good', which is the target"):
        scene.train(feature_view=reference)
    with pytest.raises(Incompatible, match="is an input of feature view"):
        client.train(
            {
                "spec": {"model_key": "m", "family": "linear", "task": "regression", "feature_view": "customers"},
                "data": {"dataset_id": "people", "target": "income"},
            }
        )
    assert scene.system.journal.position() == position


def test_a_damaged_view_in_an_artifact_does_not_load(scene: Scene, trained: Json) -> None:
    folder = scene.artifact(trained["bundle"], "damaged")
    (folder / "feature_history.parquet").write_bytes(b"PAR1")
    with pytest.raises(Broken, match=r"feature view in .* is damaged"):
        ServingModel.load(folder)
    (folder / "feature_view.json").write_text('{"format": 9}')
    with pytest.raises(Broken, match="format 9"):
        ServingModel.load(folder)


def test_views_over_http_in_python_and_as_typed(scene: Scene, view: FeatureView, tmp_path: Path) -> None:
    url = scene.system.settings.url
    file = tmp_path / "view.yaml"
    file.write_text(json.dumps(VIEW | {"name": "typed"}))

    def typed(line: str) -> Any:
        found = CliRunner().invoke(app, [*shlex.split(line), "--url", url, "--json"])
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    assert typed(f"views register {file} --reason typed")["outputs"] == view.model_dump(mode="json")["outputs"]
    assert {v["name"] for v in typed("views")} >= {"customers", "typed"}
    assert typed(f"views show customers {view.version}") == view.model_dump(mode="json")
    assert typed(f"views lineage customers {view.version}")["view"] == view.reference
    record = json.dumps(sent(people(1), names(view.inputs)))
    [features] = typed(f"views transform customers {shlex.quote(record)} --version {view.version}")
    assert features["age"] == MEDIAN_AGE
    [same] = scene.client.transform("customers", json.loads(record), view.version)
    assert same == features
    assert CliRunner().invoke(app, shlex.split(f"views register /nowhere.yaml --reason x --url {url}")).exit_code == 3


def test_a_snapshot_brings_a_view_back(scene: Scene) -> None:
    simple = {"name": "later", "dataset_id": "people", "columns": ["age"], "steps": []}
    snapshot = scene.client.snapshot_export("before").snapshot_id
    reference = scene.client.register_view(simple, reason="new").reference
    scene.client.rollback(snapshot_id=snapshot, reason="undo")
    with pytest.raises(NotFound):
        scene.client.feature_view("later")
    assert scene.client.register_view(simple, reason="again").reference == reference
    with pytest.raises((Conflict, NotFound)):
        scene.client.feature_view("later", "0" * 12)


def test_a_kernel_gives_views_that_fit_and_others_are_left(scene: Scene) -> None:
    from mldl_ray.bridges.views import take_view

    views = scene.system.bridges._views
    given = {"name": "given", "dataset_id": "people", "columns": ["age"], "steps": []}
    assert take_view(views, given, by="bridge")
    assert not take_view(views, given, by="bridge")
    with pytest.raises(Incompatible, match="feature view dataset_id"):
        take_view(views, {"name": "given"}, by="bridge")
    with pytest.raises(NotFound):
        take_view(views, given | {"dataset_id": "elsewhere"}, by="bridge")

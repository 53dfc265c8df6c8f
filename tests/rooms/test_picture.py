"""What a card draws, against scikit-learn's curves and against attributions known by arithmetic."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as reference

from mldl_ray.adapters import BaseModelAdapter, create_adapter
from mldl_ray.evaluation._rows import Rows, rows_of
from mldl_ray.evaluation.picture import POINTS, picture_of, picture_of_answers


def cloud(classes: int = 2, rows: int = 900) -> tuple[BaseModelAdapter, pa.Table, Rows]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 2))
    table = pa.table({"strong": x[:, 0], "weak": x[:, 1], "idle": np.ones(rows)})
    score = 3 * x[:, 0] + x[:, 1] + random.normal(size=rows)
    y = np.digitize(score, [0.0] if classes == 2 else [-1.5, 1.5])
    adapter = create_adapter("lr").fit(table, y)
    return adapter, table, rows_of("classification", y, adapter.predict_proba(table), random.random(rows) + 0.1)


def test_areas_are_those_of_scikit_learn_with_weights() -> None:
    adapter, table, rows = cloud()
    found = picture_of(adapter, table, rows).picture
    score = rows.said[:, 1]
    assert found.roc[0].area == pytest.approx(reference.roc_auc_score(rows.truth, score, sample_weight=rows.mass))
    assert found.precision_recall[0].area == pytest.approx(
        reference.average_precision_score(rows.truth, score, sample_weight=rows.mass)
    )


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    adapter, table, rows = cloud()
    points = picture_of(adapter, table, rows).picture.roc[0].points
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert len(points) <= POINTS + 2
    x, y = zip(*points, strict=True)
    assert np.trapezoid(y, x) == pytest.approx(
        reference.roc_auc_score(rows.truth, rows.said[:, 1], sample_weight=rows.mass), abs=0.01
    )


def test_rows_of_the_same_score_enter_together() -> None:
    """A model that says the same of every row draws the diagonal, whatever the order of its rows."""
    adapter, table, rows = cloud()
    flat = rows._replace(said=np.full((900, 2), 0.5))
    found = picture_of(adapter, table, flat).picture
    assert found.roc[0].points == ((0.0, 0.0), (1.0, 1.0))
    assert found.roc[0].area == pytest.approx(0.5)


def test_the_confusion_is_that_of_scikit_learn() -> None:
    adapter, table, rows = cloud(classes=3)
    found = picture_of(adapter, table, rows).picture
    expected = reference.confusion_matrix(rows.truth, rows.said.argmax(axis=1), sample_weight=rows.mass)
    assert np.array(found.confusion) == pytest.approx(expected, rel=1e-4)
    assert found.labels == ("0", "1", "2")
    assert len(found.roc) == 3


def test_a_class_without_rows_has_no_curve() -> None:
    adapter, table, rows = cloud()
    found = picture_of(adapter, table, rows._replace(truth=np.zeros(900, dtype=np.int64))).picture
    assert found.roc == ()


def test_influence_is_the_mean_size_of_a_linear_model_s_terms() -> None:
    adapter, table, rows = cloud()
    found = picture_of(adapter, table, rows).picture
    explained = adapter.explain(table)
    assert list(found.influence) == ["strong", "weak"]
    assert found.influence["strong"] == pytest.approx(float(np.abs(explained.values[:, 0, 0]).mean()), rel=0.1)
    assert found.influence_rows == 200


def test_a_regression_shows_truths_and_answers() -> None:
    x = np.linspace(0, 1, 100)
    table = pa.table({"x": x})
    adapter = create_adapter("xgb", task="regression", n_estimators=5).fit(table, x)
    rows = rows_of("regression", x, adapter.predict(table))
    found = picture_of(adapter, table, rows).picture
    assert len(found.answers) == 100
    assert found.answers[0] == pytest.approx((0.0, rows.said[0]), rel=1e-4)
    assert found.roc == ()


def test_clusters_are_counted_largest_first() -> None:
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(0, 0.1, 300), random.normal(9, 0.1, 100)])
    table = pa.table({"x": x, "y": x})
    adapter = create_adapter("kmeans", task="clustering", n_clusters=2).fit(table)
    assert list(picture_of_answers(adapter, table).picture.sizes.values()) == [300, 100]

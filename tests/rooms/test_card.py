"""The card as a reader's browser sees it: well-formed, self-contained, nothing from outside taken as markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from contracts.evaluations import (
    Adversarial,
    AgainstStable,
    Calibration,
    Curve,
    Evaluation,
    Fairness,
    Interval,
    Picture,
    ReliabilityBin,
    Robustness,
)
from contracts.records import Cost, Lineage, ServingForm, TrainedBundle
from mldl_ray.adapters import create_adapter
from mldl_ray.evaluation import card_html, card_json, evaluate

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Collects elements, text and attributes, and refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def bundle(**more: Any) -> TrainedBundle:
    facts = {
        "model_key": "income",
        "artifact_uri": "blobs:sha256:ab",
        "validation_hash": "sha256:ab",
        "created_at": "now",
    }
    return TrainedBundle(**(facts | more))


@pytest.fixture(scope="module")
def measured() -> Evaluation:
    random = np.random.default_rng(0)
    table = pa.table({"x": random.normal(size=800), "sex": random.choice(["f", "m"], 800)})
    y = (table["x"].to_numpy() + (table["sex"].to_numpy() == "f") + random.normal(size=800) > 0).astype(int)
    adapter = create_adapter("lr").fit(table.slice(0, 400), y[:400])
    return evaluate(
        adapter, table.slice(400), y[400:], model_key="income", metrics=("f1", "auroc"),
        sensitive={"sex": table["sex"].slice(400)}, created_at="2026-01-01T00:00:00Z", evaluation_id="eval-1",
    )  # fmt: skip


def test_the_page_tells_every_figure(measured: Evaluation) -> None:
    page = Page(card_html(bundle(version="1.2.0", family="lr", task="classification"), measured))
    for figure in (*measured.metrics.values(), measured.calibration.ece, measured.fairness.delta):
        assert f"{figure:.3f}" in page.words
    for section in ("Quality", "Calibration", "Fairness", "Robustness", "What it looks at", "Where it comes from"):
        assert section in page.words
    attacked = measured.robustness.adversarial
    assert attacked is not None
    for figure in attacked.robust.values():
        assert f"{figure:.3f}" in page.words
    assert "income 1.2.0" in page.words


def test_the_page_loads_nothing_and_runs_nothing(measured: Evaluation) -> None:
    page = Page(card_html(bundle(), measured))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [entry for entry in page.attributes if entry[1] in {"src", "href", "style"} or entry[1].startswith("on")]
    assert "url(" not in card_html(bundle(), measured)


def drawings(text: str) -> dict[str, ElementTree.Element]:
    """Every drawing that says what it is, by its words."""
    parts = [part.split("</svg>")[0] for part in text.split("<svg")[1:]]
    roots = [ElementTree.fromstring(f"<svg{part}</svg>") for part in parts]
    return {label: root for root in roots if (label := root.get("aria-label", ""))}


def places(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in line.get("points", "").split())]


def test_the_drawings_are_well_formed_and_say_what_they_are(measured: Evaluation) -> None:
    found = drawings(card_html(bundle(), measured))
    assert list(found) == [
        "ROC curve",
        "Precision over recall",
        "Confusion: true classes as rows, answers as columns",
        "Reliability diagram: accuracy over stated confidence",
        "One dot per group, with its 95% interval",
        "accuracy over the size of a disturbance",
        "Influence of columns",
    ]
    dots = found["Reliability diagram: accuracy over stated confidence"].findall("circle")
    assert len(dots) == len(measured.calibration.reliability)
    assert len(found["Confusion: true classes as rows, answers as columns"].findall("rect")) == 4


def test_groups_lie_where_their_rates_are_with_their_intervals(measured: Evaluation) -> None:
    root = drawings(card_html(bundle(), measured))["One dot per group, with its 95% interval"]
    dots = [float(dot.get("cx", "")) for dot in root.findall("circle")]
    whiskers = [line for line in root.findall("line") if line.get("class") == "whisker"]
    ranked = sorted(measured.fairness.by_group["sex"].values(), key=lambda facts: -facts["selection_rate"])
    rates = [facts["selection_rate"] for facts in ranked]
    assert (dots[0] - 8) / (dots[1] - 8) == pytest.approx(rates[0] / rates[1], rel=0.01)
    for dot, whisker in zip(dots, whiskers, strict=True):
        assert float(whisker.get("x1", "")) < dot < float(whisker.get("x2", ""))


def test_the_curve_of_a_perfect_order_runs_along_the_edges() -> None:
    perfect = Picture(roc=(Curve(name="yes", area=1.0, points=((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))),))
    text = card_html(bundle(), Evaluation(model_key="m", rows=9, metrics={"auroc": 1.0}, picture=perfect))
    guess, line = drawings(text)["ROC curve"].findall("polyline")
    (left, bottom), (right, top) = places(guess)
    assert places(line) == [(left, bottom), (left, top), (right, top)]


def test_a_perfectly_calibrated_dot_lies_on_the_diagonal() -> None:
    calibration = Calibration(ece=0.0, reliability=(ReliabilityBin(confidence=0.75, accuracy=0.75, rows=9),))
    text = card_html(bundle(), Evaluation(model_key="m", rows=9, metrics={}, calibration=calibration))
    root = drawings(text)["Reliability diagram: accuracy over stated confidence"]
    dot, diagonal = root.find("circle"), root.find("line")
    assert dot is not None
    assert diagonal is not None
    x1, y1, x2, y2 = (float(diagonal.get(name, "")) for name in ("x1", "y1", "x2", "y2"))
    assert (float(dot.get("cx", "")) - x1) / (x2 - x1) == pytest.approx(0.75, abs=0.001)
    assert (float(dot.get("cy", "")) - y1) / (y2 - y1) == pytest.approx(0.75, abs=0.001)


def test_text_from_outside_is_never_markup() -> None:
    groups = {EVIL: {"rows": 40, "selection_rate": 0.5}, "b": {"rows": 40, "selection_rate": 0.1}}
    attacked = Adversarial(
        method="pgd",
        metric=EVIL,
        rows=9,
        clean=0.9,
        robust={"0.1": 0.5},
        columns=(EVIL,),
        gradient_masking=True,
        why=EVIL,
        stopped=EVIL,
    )
    evil = Evaluation(
        model_key="m",
        evaluation_id=EVIL,
        rows=80,
        metrics={EVIL: 0.5},
        left_out={EVIL: EVIL},
        calibration=Calibration(ece=0.1, method=EVIL),
        fairness=Fairness(
            delta=0.4,
            groups=(EVIL,),
            selected=EVIL,
            by_group={EVIL: groups},
            by_column={EVIL: {"selection_rate": 0.4}},
            left_out={EVIL: EVIL},
            insufficient={EVIL: {EVIL: 3}},
            by_class={EVIL: {"selection_rate": 0.4}},
            worst_class=EVIL,
        ),
        robustness=Robustness(clean=0.9, metric=EVIL, noise={EVIL: 0.5}, noise_sensitivity=0.4, adversarial=attacked),
        picture=Picture(
            roc=(Curve(name=EVIL, points=((0.0, 0.0), (1.0, 1.0))),),
            precision_recall=(Curve(name=EVIL, points=((0.0, 1.0), (1.0, 0.5))),),
            confusion=((1.0, 2.0), (3.0, 4.0)),
            labels=(EVIL, EVIL),
            influence={EVIL: 1.0},
            sizes={EVIL: 4},
        ),
    )
    form = ServingForm(kind="native", why_native=EVIL)
    named = bundle(
        version=EVIL, family=EVIL, tags=(EVIL,), hyperparams={EVIL: EVIL}, serving_form=form, created_at=EVIL,
        lineage=Lineage(dataset_id=EVIL, job_id=EVIL), artifact_uri=EVIL, validation_hash=EVIL,
    )  # fmt: skip
    text = card_html(named, evil)
    assert "<script" not in text
    page = Page(text)
    assert "script" not in page.tags
    assert page.words.count(EVIL) > 30


def test_a_card_of_nothing_but_a_name_is_still_a_page() -> None:
    page = Page(card_html(bundle(), Evaluation(model_key="income", rows=1, metrics={})))
    assert "svg" not in page.tags
    assert "Fairness was not looked at" in page.words


def test_an_evaluation_with_a_delta_and_no_groups_is_still_a_page() -> None:
    bare = Evaluation(model_key="m", rows=500, metrics={"f1": 0.9}, fairness=Fairness(delta=0.1, groups=("sex",)))
    assert "0.100" in Page(card_html(bundle(), bare)).words


def test_negative_and_equal_marks_stay_inside_the_drawing() -> None:
    for values in ({"a": -2.0, "b": 1.0}, {"a": 0.0, "b": 0.0}, {"a": -1.0, "b": -3.0}):
        groups = {name: {"rows": 50, "mean_prediction": value} for name, value in values.items()}
        fairness = Fairness(delta=1.0, groups=("g",), by_group={"g": groups})
        picture = Picture(influence=values)
        found = drawings(
            card_html(bundle(), Evaluation(model_key="m", rows=100, metrics={}, fairness=fairness, picture=picture))
        )
        for dot in found["One dot per group, with its 95% interval"].findall("circle"):
            assert 8 <= float(dot.get("cx", "")) <= 332
        for bar in found["Influence of columns"].findall("rect"):
            start, width = float(bar.get("x", "")), float(bar.get("width", ""))
            assert 8 <= start <= start + width <= 340 - 50


def test_a_group_too_small_to_judge_is_shown_as_insufficient() -> None:
    fairness = Fairness(
        delta=0.0,
        groups=("region",),
        by_group={"region": {name: {"rows": 90, "selection_rate": 0.5} for name in ("north", "south")}},
        insufficient={"region": {"west": 12}},
        left_out={"region": "groups of fewer than 30 rows: west (12)"},
        selected="yes",
    )
    page = Page(card_html(bundle(), Evaluation(model_key="m", rows=192, metrics={}, fairness=fairness)))
    assert "insufficient: 12 rows" in page.words
    assert "1 group of region had too few rows to be judged" in page.words


def test_the_proof_of_the_serving_form_is_told() -> None:
    form = ServingForm(kind="onnx", tolerance=1e-6, largest_difference=3.3e-16, rows_compared=512)
    page = Page(card_html(bundle(serving_form=form), Evaluation(model_key="m", rows=9, metrics={})))
    for told in ("proven to give the same answers", "512", "3.3e-16", "1e-06"):
        assert told in page.words


def test_what_training_cost_is_told() -> None:
    cost = Cost(cost_units=0.42, cpu_seconds=52.1, trials=30)
    page = Page(card_html(bundle(cost=cost), Evaluation(model_key="m", rows=9, metrics={})))
    assert "0.42 units, 52.1 cpu-seconds" in page.words
    assert "30 trials" in page.words


def test_the_stable_version_stands_beside_it_and_being_worse_is_remarked() -> None:
    beside = AgainstStable(
        version="1.0.0", metric="auroc", candidate=0.8, stable=0.9, difference=-0.1, low=-0.12, high=-0.08, rows=500
    )
    found = Evaluation(model_key="m", rows=500, metrics={"auroc": 0.8}, against_stable=beside)
    page = Page(card_html(bundle(), found))
    assert "It is worse than the stable version 1.0.0: auroc 0.800 against 0.900" in page.words


def test_an_unsupervised_version_has_only_the_sections_that_apply() -> None:
    found = Evaluation(
        model_key="m",
        rows=900,
        metrics={"silhouette": 0.41},
        intervals={"silhouette": Interval(value=0.41, low=0.38, high=0.44)},
        picture=Picture(sizes={"0": 500, "1": 400}, influence={"x": 2.0}, influence_rows=20),
    )
    page = Page(card_html(bundle(family="kmeans", task="clustering"), found))
    assert "silhouette" in page.words
    assert "Answers: rows of each" in page.words
    for section in ("Calibration", "Fairness", "Robustness", "ROC", "Confusion"):
        assert section not in page.words


def test_a_policy_is_judged_on_episodes() -> None:
    found = Evaluation(model_key="m", rows=100, metrics={"mean_return": 487.2})
    page = Page(card_html(bundle(family="dqn", task="reinforcement"), found))
    assert "Judged on 100 episodes that it played" in page.words
    assert "487.2" in page.words
    assert "Fairness" not in page.words


def test_a_regression_shows_answers_over_true_values_and_groups_by_their_means() -> None:
    random = np.random.default_rng(0)
    x = random.normal(50, 9, 400)
    table = pa.table({"x": x, "g": random.choice(["a", "b"], 400)})
    adapter = create_adapter("xgb", task="regression", n_estimators=20).fit(table.slice(0, 200), x[:200])
    found = evaluate(
        adapter, table.slice(200), x[200:], model_key="m", metrics=("rmse", "mae"),
        sensitive={"g": table["g"].slice(200)}, created_at="", evaluation_id="e",
    )  # fmt: skip
    text = card_html(bundle(task="regression"), found)
    assert len(drawings(text)["Answers over true values"].findall("circle")) == 200
    assert "mean prediction" in Page(text).words
    assert "mae over the size of a disturbance" in drawings(text)


def test_the_page_is_light_and_fits_a_phone(measured: Evaluation) -> None:
    text = card_html(bundle(), measured)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme" not in text
    assert all(float(root.get("width", "")) <= 340 for root in drawings(text).values())


def test_a_model_that_hangs_on_one_column_is_remarked() -> None:
    picture = Picture(influence={"leak": 9.0, "a": 0.5, "b": 0.5})
    remarks = card_json(bundle(), Evaluation(model_key="m", rows=900, metrics={}, picture=picture))["remarks"]
    assert any("hangs on one column, leak (90% of all influence)" in remark for remark in remarks)


def test_the_json_holds_both_records_and_the_remarks(measured: Evaluation) -> None:
    card = card_json(bundle(), measured)
    assert json.loads(json.dumps(card)) == card
    assert Evaluation.model_validate(card["evaluation"]) == measured
    assert TrainedBundle.model_validate(card["model"]) == bundle()


def test_a_large_gap_between_groups_is_remarked_with_both_rates(measured: Evaluation) -> None:
    remarks = " ".join(card_json(bundle(), measured)["remarks"])
    rates = measured.fairness.by_group["sex"]
    assert f"{rates['f']['selection_rate']:.3f} for f, {rates['m']['selection_rate']:.3f} for m" in remarks


def test_a_model_with_nothing_to_remark_has_no_warning_box() -> None:
    fine = Fairness(delta=0.01, groups=("sex",), by_column={"sex": {"selection_rate": 0.01}})
    page = Page(card_html(bundle(), Evaluation(model_key="m", rows=5000, metrics={"f1": 0.9}, fairness=fine)))
    assert "Before you trust it" not in page.words


def test_calibration_that_made_it_worse_is_remarked() -> None:
    worse = Calibration(ece=0.09, method="isotonic", ece_uncalibrated=0.03)
    remarks = card_json(bundle(), Evaluation(model_key="m", rows=5000, metrics={}, calibration=worse))["remarks"]
    assert "Calibration by isotonic made confidence worse here: 0.030 before, 0.090 after." in remarks

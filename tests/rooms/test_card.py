"""The card as a reader's browser sees it: well-formed, self-contained, nothing from outside taken as markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from contracts.records import (
    Calibration,
    Evaluation,
    Fairness,
    Lineage,
    ReliabilityBin,
    Robustness,
    ServingForm,
    TrainedBundle,
)
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
    for section in ("Quality", "Calibration", "Fairness", "Robustness", "Where it comes from"):
        assert section in page.words
    assert "income 1.2.0" in page.words


def test_the_page_loads_nothing_and_runs_nothing(measured: Evaluation) -> None:
    page = Page(card_html(bundle(), measured))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [entry for entry in page.attributes if entry[1] in {"src", "href", "style"} or entry[1].startswith("on")]
    assert "url(" not in card_html(bundle(), measured)


def test_the_drawings_are_well_formed(measured: Evaluation) -> None:
    text = card_html(bundle(), measured)
    drawings = [part.split("</svg>")[0] for part in text.split("<svg")[1:]]
    roots = [ElementTree.fromstring(f"<svg{drawing}</svg>") for drawing in drawings]
    assert len(roots) == 2
    dots, bars = roots[0].findall("circle"), roots[1].findall("rect")
    assert len(dots) == len(measured.calibration.reliability)
    assert len(bars) == len(measured.fairness.by_group["sex"])
    widths = dict(zip(measured.fairness.by_group["sex"], (float(bar.get("width", "")) for bar in bars), strict=True))
    rates = {group: facts["selection_rate"] for group, facts in measured.fairness.by_group["sex"].items()}
    assert widths["f"] / widths["m"] == pytest.approx(rates["f"] / rates["m"], rel=0.01)


def test_a_perfectly_calibrated_dot_lies_on_the_diagonal() -> None:
    calibration = Calibration(ece=0.0, reliability=(ReliabilityBin(confidence=0.75, accuracy=0.75, rows=9),))
    text = card_html(bundle(), Evaluation(model_key="m", rows=9, metrics={}, calibration=calibration))
    root = ElementTree.fromstring("<svg" + text.split("<svg")[1].split("</svg>")[0] + "</svg>")
    dot, diagonal = root.find("circle"), root.find("line")
    assert dot is not None
    assert diagonal is not None
    x1, y1, x2, y2 = (float(diagonal.get(name, "")) for name in ("x1", "y1", "x2", "y2"))
    assert (float(dot.get("cx", "")) - x1) / (x2 - x1) == pytest.approx(0.75, abs=0.001)
    assert (float(dot.get("cy", "")) - y1) / (y2 - y1) == pytest.approx(0.75, abs=0.001)


def test_text_from_outside_is_never_markup() -> None:
    groups = {EVIL: {"rows": 40, "selection_rate": 0.5}, "b": {"rows": 40, "selection_rate": 0.1}}
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
        ),
        robustness=Robustness(clean=0.9, metric=EVIL, noise={EVIL: 0.5}, noise_sensitivity=0.4),
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
    assert page.words.count(EVIL) > 15


def test_a_card_of_nothing_but_a_name_is_still_a_page() -> None:
    page = Page(card_html(bundle(), Evaluation(model_key="income", rows=1, metrics={})))
    assert "svg" not in page.tags
    assert "Fairness was not looked at" in page.words


def test_an_evaluation_with_a_delta_and_no_groups_is_still_a_page() -> None:
    bare = Evaluation(model_key="m", rows=500, metrics={"f1": 0.9}, fairness=Fairness(delta=0.1, groups=("sex",)))
    assert "0.100" in Page(card_html(bundle(), bare)).words


def test_negative_and_equal_bars_stay_inside_the_drawing() -> None:
    for values in ({"a": -2.0, "b": 1.0}, {"a": 0.0, "b": 0.0}, {"a": -1.0, "b": -3.0}):
        groups = {name: {"rows": 50, "mean_prediction": value} for name, value in values.items()}
        fairness = Fairness(delta=1.0, groups=("g",), by_group={"g": groups})
        text = card_html(bundle(), Evaluation(model_key="m", rows=100, metrics={}, fairness=fairness))
        root = ElementTree.fromstring("<svg" + text.split("<svg")[1].split("</svg>")[0] + "</svg>")
        for bar in root.findall("rect"):
            start, width = float(bar.get("x", "")), float(bar.get("width", ""))
            assert 200 <= start <= start + width <= float(root.get("width", "")) - 40


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

"""Specialists: what each says, and what they make of it together."""

from __future__ import annotations

import pytest

from contracts.errors import NotFound
from contracts.evaluations import Calibration, Evaluation, Fairness, Interval, Robustness
from contracts.ports import Write
from contracts.records import Cost, Policy, ServingForm, TrainedBundle
from contracts.rollouts import Deployment
from contracts.specs import Constraints, DeploymentSpec, Json, ModelSpec
from mldl_ray.bridges.intelligence import EmbeddedIntelligence
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal


class House:
    """A journal with versions, evaluations and what happened to them."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.journal = MemoryJournal(self.clock)
        self.intelligence = EmbeddedIntelligence(self.journal, self.clock, fairness_delta_max=0.05)
        self.put("policy", "default", Policy(approvals_required=0).model_dump(mode="json"))

    def put(self, kind: str, key: str, body: Json) -> None:
        past = self.journal.history(kind, key)
        write = Write(kind=kind, key=key, expected_version=len(past), body=body)
        self.journal.append([write], actor="owner", reason="as it came")

    def version(self, version: str, f1: float, *, delta: float = 0.01, ece: float = 0.02, rows: int = 2000) -> None:
        half = 1.0 / rows**0.5 / 2
        evaluation = Evaluation(
            evaluation_id=f"eval-{version}", model_key="income", version=version, rows=rows,
            dataset_digest="sha256:same", metrics={"f1": f1},
            intervals={
                "f1": Interval(value=f1, low=f1 - half, high=f1 + half),
                "ece_debiased": Interval(value=ece, low=max(0, ece - half), high=ece + half),
                "fairness_delta": Interval(value=delta, low=max(0, delta - half), high=delta + half),
            },
            calibration=Calibration(ece_debiased=ece, ece=ece), fairness=Fairness(delta=delta, groups=("f", "m")),
            robustness=Robustness(noise_sensitivity=0.01),
        )  # fmt: skip
        bundle = TrainedBundle(
            model_key="income", version=version, artifact_uri="blobs:x", validation_hash="x", created_at="",
            evaluation_id=f"eval-{version}", serving_form=ServingForm(kind="onnx"), cost=Cost(cost_units=0.5),
            spec=ModelSpec(model_key="income", family="xgb", constraints=Constraints(cost_units=1.0)),
        )  # fmt: skip
        self.put("evaluation", f"eval-{version}", evaluation.model_dump(mode="json"))
        self.put("model_version", f"income@{version}", bundle.model_dump(mode="json"))

    def serve(self, stable: str) -> None:
        self.put("endpoint", "income", {"model_key": "income", "stable": stable, "salt": "s"})

    def votes(self, version: str) -> dict[str, Json]:
        return {vote["specialist"]: vote for vote in self.intelligence.recommend("income", version)["votes"]}


@pytest.fixture
def house() -> House:
    return House()


def test_a_better_version_that_keeps_every_limit_is_recommended(house: House) -> None:
    house.version("1.0.0", 0.70)
    house.version("1.1.0", 0.80)
    house.serve("1.0.0")
    said = house.intelligence.recommend("income", "1.1.0")
    assert (said["verdict"], said["compared_with"]) == ("deploy", "1.0.0")
    assert said["why"] == "deploy: 6 of 6 specialists are for it"
    assert house.votes("1.1.0")["quality"]["reason"] == "f1 is 0.800 against 0.700 of the version that serves"


def test_a_worse_version_is_voted_against_the_more_surely_the_more_rows_judged_it(house: House) -> None:
    house.version("1.0.0", 0.80)
    house.version("1.1.0", 0.79, rows=200)
    house.version("1.2.0", 0.79, rows=200_000)
    house.serve("1.0.0")
    few, many = house.votes("1.1.0")["quality"], house.votes("1.2.0")["quality"]
    assert (few["verdict"], many["verdict"]) == ("against", "against")
    assert few["confidence"] < many["confidence"]


def test_an_unfair_version_is_only_a_canary_and_the_reason_names_the_figure(house: House) -> None:
    house.version("1.0.0", 0.8, delta=0.3, ece=0.3)
    said = house.intelligence.recommend("income", "1.0.0")
    assert said["verdict"] != "deploy"
    assert "fairness (the difference between groups is 0.300; the limit is 0.05)" in said["why"]


def test_the_policy_decides_alone(house: House) -> None:
    house.put("policy", "default", Policy(approvals_required=1).model_dump(mode="json"))
    house.version("1.0.0", 0.99)
    said = house.intelligence.recommend("income", "1.0.0")
    assert said["verdict"] == "hold"
    assert "risk decides alone: the policy does not allow it" in said["why"]


def test_a_version_that_was_rolled_back_is_held(house: House) -> None:
    house.version("1.0.0", 0.99)
    deployment = Deployment(
        deployment_id="dep-1", model_key="income", version="1.0.0", spec=DeploymentSpec(), strategy="canary",
        status="rolled_back", steps=(5.0, 100.0), promotion_window_s=60, bake_window_s=60,
    )  # fmt: skip
    house.put("deployment", "dep-1", deployment.model_dump(mode="json"))
    said = house.intelligence.recommend("income", "1.0.0")
    assert said["verdict"] == "hold"
    assert "rolled back before (dep-1)" in said["why"]


def test_specialists_without_figures_abstain_and_say_why(house: House) -> None:
    bundle = TrainedBundle(model_key="m", version="1.0.0", artifact_uri="x", validation_hash="x", created_at="")
    house.put("model_version", "m@1.0.0", bundle.model_dump(mode="json"))
    said = house.intelligence.recommend("m", "1.0.0")
    abstaining = {v["specialist"] for v in said["votes"] if v["verdict"] == "abstains"}
    assert abstaining == {"quality", "calibration", "fairness", "robustness"}
    assert all(vote["reason"] for vote in said["votes"])


def test_an_unknown_version_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        house.intelligence.recommend("income", "9.9.9")

"""Each rule of a policy: what breaks it, and that the answer names the rule, the value found and the bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import Incompatible
from contracts.evaluations import Adversarial, Evaluation, Interval, Robustness
from contracts.policies import Policy
from contracts.records import Cost, Dataset, Lineage
from mldl_ray.bridges.governance import check_policy
from mldl_ray.bridges.governance_rules import Case, against, frozen_until_s
from tests.rooms.test_governance import BUNDLE

NOON = 1_766_577_600.0
"""2025-12-24T12:00:00Z."""
DATASET = Dataset(
    dataset_id="d",
    version="1",
    digest="sha256:d",
    rows=200,
    columns={"age": "int64", "income": "double"},
    statistics={"age": {"missing": 50}, "income": {"missing": 0}},
    source="x.csv",
    created_at_s=NOON - 86_400 * 10,
)
JUDGED = Evaluation(
    evaluation_id="eval-1",
    model_key="income",
    rows=100,
    metrics={"f1": 0.8},
    intervals={"f1": Interval(value=0.8, low=0.75, high=0.85)},
    robustness=Robustness(
        noise_sensitivity=0.1,
        adversarial=Adversarial(
            method="pgd", metric="accuracy", rows=100, clean=0.9, robust={"0.1": 0.7}, columns=("age",)
        ),
    ),
)
FREEZE: dict[str, Any] = {"name": "holidays", "start": "2025-12-24T00:00:00Z", "end": "2026-01-02T00:00:00Z"}


def case(policy: dict[str, Any], act: Any = "deploy", **changes: Any) -> Case:
    bundle = BUNDLE.model_copy(
        update={"family": "lr", "cost": Cost(cost_units=3.0), "tags": ("licence:GPL-3.0",), "lineage": Lineage()}
    )
    known: dict[str, Any] = {"evaluation": JUDGED, "dataset": DATASET, "stable": None, "now_s": NOON, "standing": ()}
    asked = Policy.model_validate({"approvals_required": 0} | policy)
    return Case(act=act, bundle=bundle, policy=asked, **known | changes)


BROKEN = [
    ({"approvals_required": 2}, "approvals_required", 0, 2),
    ({"approvals_by_role": {"admin": 1}}, "approvals_by_role.admin", 0, 1),
    ({"metric_bounds": {"f1": 0.8}}, "metric_bounds.f1", 0.75, 0.8),
    ({"metric_bounds": {"auroc": 0.8}}, "metric_bounds.auroc", None, 0.8),
    ({"max_ece": 0.1}, "max_ece", None, 0.1),
    ({"fairness_delta_max": 0.1}, "fairness_delta_max", None, 0.1),
    ({"max_noise_sensitivity": 0.05}, "max_noise_sensitivity", 0.1, 0.05),
    ({"adversarial_bounds": {"0.1": 0.8}}, "adversarial_bounds.0.1", 0.7, 0.8),
    ({"adversarial_bounds": {"0.5": 0.8}}, "adversarial_bounds.0.5", None, 0.8),
    ({"max_cost_units": 2.5}, "max_cost_units", 3.0, 2.5),
    ({"data": {"min_rows": 201}}, "data.min_rows", 200, 201),
    ({"data": {"max_missing_share": 0.2}}, "data.max_missing_share", 0.25, 0.2),
    ({"data": {"max_age_s": 86_400}}, "data.max_age_s", 864_000.0, 86_400.0),
    ({"card_requires": ["fairness"]}, "card_requires.fairness", None, "present"),
    ({"families": ["xgboost"]}, "families", "lr", ["xgboost"]),
    ({"licences": ["MIT"]}, "licences", ["GPL-3.0"], ["MIT"]),
    ({"freezes": [FREEZE]}, "freezes.holidays", "2025-12-24T12:00:00+00:00", "2026-01-02T00:00:00+00:00"),
]


@pytest.mark.parametrize(("policy", "rule", "value", "bound"), BROKEN, ids=lambda item: str(item)[:40])
def test_a_broken_rule_is_named_with_its_value_and_its_bound(
    policy: dict[str, Any], rule: str, value: Any, bound: Any
) -> None:
    (finding,) = against(case(policy))
    assert (finding.rule, finding.value, finding.bound) == (rule, value, bound)
    assert finding.sentence


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"metric_bounds": {"f1": 0.75}},
        {"max_noise_sensitivity": 0.1},
        {"adversarial_bounds": {"0.1": 0.7}},
        {"max_cost_units": 3},
        {"data": {"min_rows": 200, "max_missing_share": 0.25, "max_age_s": 864_000}},
        {"card_requires": ["intervals", "robustness", "dataset"]},
        {"families": ["lr"]},
        {"licences": ["MIT", "GPL-3.0"]},
        {"freezes": [FREEZE | {"acts": ["register"]}]},
    ],
    ids=str,
)
def test_a_bound_that_is_just_kept_passes(policy: dict[str, Any]) -> None:
    assert against(case(policy)) == []


@pytest.mark.parametrize(
    ("policy", "rule"),
    [({"data": {"min_rows": 1}}, "data.min_rows"), ({"card_requires": ["dataset"]}, "card_requires.dataset")],
)
def test_what_is_not_known_does_not_meet_a_rule(policy: dict[str, Any], rule: str) -> None:
    (finding,) = against(case(policy, dataset=None))
    assert (finding.rule, finding.value) == (rule, None)


def test_a_version_that_names_no_licence_has_none_that_is_allowed() -> None:
    asked = case({"licences": ["MIT"]})
    (finding,) = against(asked._replace(bundle=asked.bundle.model_copy(update={"tags": ("x",)})))
    assert (finding.rule, finding.value) == ("licences", None)


def test_a_registration_is_asked_for_what_can_be_met_before_anybody_approved() -> None:
    policy = {"approvals_required": 2, "families": ["xgboost"], "metric_bounds": {"f1": 0.99}}
    assert [finding.rule for finding in against(case(policy, "register"))] == ["families"]
    early = policy | {"asked_at_registration": ["metric_bounds"]}
    assert [finding.rule for finding in against(case(early, "register"))] == ["metric_bounds.f1"]


def test_a_weekly_freeze_begins_and_ends_at_its_own_minute() -> None:
    weekly = {
        "name": "w",
        "start": "2025-12-19T18:00:00+01:00",
        "end": "2025-12-22T06:00:00+01:00",
        "repeats": "weekly",
    }
    (freeze,) = Policy.model_validate({"freezes": [weekly]}).freezes
    start_s = freeze.start.timestamp() + 3 * 604_800
    assert frozen_until_s(freeze, start_s - 0.001) is None
    assert frozen_until_s(freeze, start_s) == start_s + 60 * 3600
    assert frozen_until_s(freeze, start_s + 60 * 3600) is None


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"approvals_by_role": {"viewer": 1}}, "viewer, who may not approve"),
        ({"approvals_by_role": {"admin": 0}}, "must be at least 1"),
        ({"asked_at_registration": ["approvals_required"]}, "asked_at_registration names approvals_required"),
        ({"freezes": [FREEZE, FREEZE]}, "two freezes have one name"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(Incompatible, match=said):
        check_policy(Policy.model_validate(policy))


@pytest.mark.parametrize(
    "freeze",
    [
        FREEZE | {"end": "2025-12-23T00:00:00Z"},
        FREEZE | {"repeats": "weekly"},
        FREEZE | {"start": "2025-12-24T00:00:00"},
    ],
)
def test_a_freeze_that_means_nothing_is_no_freeze(freeze: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"end after|never end|timezone"):
        Policy.model_validate({"freezes": [freeze]})


def test_the_documented_policy_is_one_that_can_be_set() -> None:
    page = (Path(__file__).parents[2] / "docs/governance.md").read_text(encoding="utf-8")
    block = page.split("```yaml\n")[1].split("```")[0]
    policy = Policy.model_validate(yaml.safe_load(block))
    assert check_policy(policy) == policy
    unsaid = set(Policy.model_fields) - set(yaml.safe_load(block))
    assert unsaid == {"name", "author_may_approve", "key_maker_may_approve"}

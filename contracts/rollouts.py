"""What happens to a version on its way to its traffic: both arms' figures, verdicts, the deployment, its endpoint."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from contracts.replays import ReplayReport
from contracts.specs import DeploymentSpec, Json, Words


class ArmTelemetry(Words):
    """What one arm of a rollout did during one epoch of the route table; counts only, so that they add up."""

    version: str
    epoch: int
    share: float = Field(description="Intended for the candidate at this epoch, 0–1.")
    requests: int
    errors: int = Field(description="Answers that would have been 5xx, or 4xx where stable's was fine.")
    errors_in_a_row: int = Field(default=0, description="At the end of the epoch so far.")
    latency_counts: tuple[int, ...] = Field(description="Per bin of telemetry.LATENCY_EDGES_MS, plus the one above.")
    first_latency_counts: tuple[int, ...] | None = Field(
        default=None, description="The same, of the first request of each sticky key in this epoch; none: not counted."
    )
    keys: int = Field(default=0, description="Distinct sticky keys.")
    labelled: int = 0
    correct: int = 0
    error_keys: int | None = Field(
        default=None, description="Sticky keys whose first error of the rollout fell in this epoch; none: not counted."
    )
    labelled_keys: int | None = Field(
        default=None, description="Sticky keys whose first label of the rollout came in this epoch; none: not counted."
    )
    wrong_keys: int | None = Field(default=None, description="Those of ``labelled_keys`` whose answer was wrong.")
    judged_keys: int | None = Field(
        default=None, description="Sticky keys whose first label by this arm came in this epoch; none: not counted."
    )
    misjudged_keys: int | None = Field(default=None, description="Those of ``judged_keys`` whose answer was wrong.")
    confusions: tuple[tuple[str, str, int], ...] = Field(
        default=(),
        description='Label, prediction, how many of ``judged_keys``; what is too various comes as "(other)".',
    )


class PairTelemetry(Words):
    """Stable's answer and the shadow's to the same rows, during one epoch; counts only, so that they add up.

    ``keys``, the histograms and the labelled pairs count each sticky key once, with its first (labelled) pair.
    """

    epoch: int
    pairs: int = Field(default=0, description="Rows that both answered.")
    agreeing: int = Field(default=0, description="Pairs with the same prediction.")
    keys: int = 0
    keys_agreeing: int = 0
    shift_counts: tuple[int, ...] = Field(
        default=(),
        description="Score of the shadow less that of stable, in [-1, 1], per bin of ``PAIR_BINS``; for regression the "
        "difference of the values over the sum of their sizes.",
    )
    both_right: int = Field(default=0, description="Labelled; right means equal to the label.")
    only_candidate_wrong: int = 0
    only_stable_wrong: int = 0
    both_wrong: int = 0
    error_counts: tuple[int, ...] = Field(
        default=(),
        description="Regression: absolute error of the shadow less that of stable, over their sum, per bin.",
    )

    @property
    def labelled(self) -> int:
        """Keys with a labelled pair."""
        return self.both_right + self.only_candidate_wrong + self.only_stable_wrong + self.both_wrong


PAIR_BINS = 201
"""Bins of a paired difference, from -1 to 1, each 0.01 wide around its middle."""


class RolloutTelemetry(Words):
    """Everything the judge of a rollout may look at: both arms side by side, per epoch."""

    deployment_id: str
    stable: tuple[ArmTelemetry, ...] = ()
    candidate: tuple[ArmTelemetry, ...] = ()
    pairs: tuple[PairTelemetry, ...] = Field(default=(), description="Of a shadow, per epoch.")
    task: str | None = Field(default=None, description="Of the candidate, where it is known.")
    open_causes: tuple[str, ...] = Field(default=(), description="Kinds of the open alerts on the candidate.")
    fairness_delta: float | None = Field(default=None, description="Of the candidate's live labels.")
    ece: float | None = Field(default=None, description="Of the candidate's live labels.")
    ece_sure: float | None = Field(
        default=None, description="The calibration error that there surely is: a lower bound, however often one looks."
    )


class Decision(Words):
    """One answer of the rollout's judge, with its grounds."""

    verdict: Literal["PROMOTE", "HOLD", "ROLLBACK"]
    rule: str = Field(description="Name of the rule that decided.")
    why: str = Field(description="One sentence for the person on call.")
    at_s: float
    step_pct: float
    evidence: Json = Field(
        default_factory=dict,
        description="Per metric an object with statistic, bound (what the statistic must reach or keep below), n and "
        "n_stable (units of each arm), needed (n that would decide), time_to_decide_s (at the present rate), verdict "
        "(harm, no_harm, shown, too_little, not_observed, not_judged), words (one sentence), and figures of its own; "
        "null where there is none.",
    )


DeploymentState = Literal[
    "requested",
    "starting",
    "checking",
    "canary",
    "shadow",
    "promoting",
    "baking",
    "succeeded",
    "rolling_back",
    "rolled_back",
    "failed",
    "superseded",
]
LIVE_STATES: frozenset[str] = frozenset(
    {"requested", "starting", "checking", "canary", "shadow", "promoting", "baking", "rolling_back"}
)


class Change(Words):
    """One step of a deployment's history."""

    at_s: float
    status: DeploymentState
    traffic: dict[str, float] = Field(description="Share of requests per version.")
    actor: str
    reason: str


class Hold(Words):
    """A person's word that a rollout stays where it is."""

    at_s: float
    by: str
    reason: str


class Deployment(Words):
    """One version on its way to its traffic."""

    deployment_id: str
    model_key: str
    version: str
    spec: DeploymentSpec
    strategy: Literal["direct", "canary", "shadow", "blue_green"]
    status: DeploymentState
    stable: str | None = Field(default=None, description="The version that served when this began.")
    steps: tuple[float, ...] = Field(description="Percent, rising, the last is 100.")
    step: int = 0
    step_started_s: float | None = None
    promotion_window_s: float
    bake_window_s: float
    candidate_app: str | None = Field(default=None, description="Serve application of the candidate; never reused.")
    first_epoch: int | None = Field(default=None, description="Route epoch of the first canary request.")
    spans: tuple[tuple[float, float], ...] = Field(
        default=(), description="Parts [from, to) of the hash space [0, 1) whose sticky keys it answers as a canary."
    )
    held: Hold | None = Field(default=None, description="While there, nothing but harm or a person moves it.")
    replay: ReplayReport | None = Field(default=None, description="Blue/green: what recent requests showed of it.")
    decisions: tuple[Decision, ...] = ()
    history: tuple[Change, ...] = ()
    requested_by: str = ""
    created_at_s: float = 0.0


class Endpoint(Words):
    """What a model_key should be serving: the goal that the deployment manager converges to."""

    model_key: str
    stable: str | None = None
    previous: str | None = None
    deployment_ids: tuple[str, ...] = Field(default=(), description="The live deployments, oldest first.")
    epoch: int = 0
    salt: str
    replicas: int = 1
    route: Literal["single", "shared"] = Field(
        default="single", description="Shared: its stable version is served by the pool, beside many others."
    )
    keys_digest: str = Field(default="", description="Of the API keys that the route table carries.")

    @model_validator(mode="before")
    @classmethod
    def _of_one_deployment(cls, body: Any) -> Any:
        """Read a document from before there could be several."""
        if not isinstance(body, dict) or "deployment_id" not in body:
            return body
        rest = {field: value for field, value in body.items() if field != "deployment_id"}
        name = body["deployment_id"]
        return rest | {"deployment_ids": [name] if name else rest.get("deployment_ids", [])}

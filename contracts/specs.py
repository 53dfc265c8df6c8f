"""What someone wants: the words of a request. What happened is in ``records``.

Unknown fields are refused, so that a misspelt option is an error and not a silence. The field names and the defaults
are the published ones; ``contracts/mldl.modelspec.schema.json`` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MODEL_KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}$"
ModelKey = Annotated[str, StringConstraints(pattern=MODEL_KEY_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Task = Literal["classification", "regression", "clustering", "dimension_reduction", "generation", "reinforcement"]
Json = dict[str, Any]


class Words(BaseModel):
    """The base of every contract: frozen, closed, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


AUTO = "auto"
"""As a family: the one that the specialists recommend for the data."""


class Constraints(Words):
    """Limits that a trained configuration must keep."""

    latency_ms: float | None = Field(default=None, gt=0, description="Longest one-row prediction, milliseconds.")
    cost_units: float | None = Field(default=None, gt=0, description="Most that training may cost, in cost units.")


class ModelSpec(Words):
    """A model that someone wants: its key, family, task and settings."""

    model_key: ModelKey
    family: Name = Field(
        default=AUTO, description="When absent, the one that the specialists recommend for the data; see the job."
    )
    task: Task = "classification"
    adapter: str | None = Field(default=None, description="Class of the adapter; the family decides when absent.")
    hyperparams: Json = Field(default_factory=dict, description="Fixed settings; the search leaves them alone.")
    feature_view: str | None = None
    tags: tuple[str, ...] = ()
    constraints: Constraints = Constraints()


class NumberWanted(Words):
    """A number that somebody wants a version to have, instead of the one that follows from what changed."""

    version: str = Field(pattern=r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$")
    reason: Reason = Field(description="Why this number; kept with the version.")
    allow_lower: bool = Field(
        default=False, description="Also where the change from the version below it demands a higher one."
    )


class DataRef(Words):
    """Where the rows are: a registered dataset, or a Parquet or CSV file."""

    dataset_id: Name | None = None
    version: str | None = Field(default=None, description="Of the dataset; its latest when absent.")
    uri: str | None = Field(default=None, description="Path or URI of a Parquet or CSV file.")
    target: str | None = Field(default=None, description="Column to predict.")
    sensitive: tuple[str, ...] = Field(default=(), description="Columns whose groups fairness compares.")
    features: tuple[str, ...] | None = Field(default=None, description="Columns to learn from; all others when absent.")
    exclude: tuple[str, ...] = Field(default=(), description="Columns that are never features.")
    time_column: str | None = None
    group_column: str | None = None
    weight_column: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset_id is None) == (self.uri is None):
            raise ValueError("give exactly one of dataset_id (a registered dataset) or uri (a Parquet or CSV file)")
        return self


class CrossValidation(Words):
    """How the training rows are split to judge a configuration."""

    folds: int = Field(default=5, ge=2, le=50)
    stratify: bool = True
    strategy: Literal["auto", "stratified", "kfold", "group", "time"] = "auto"
    gap: int = Field(default=0, ge=0, description="Rows left out between training and validation (time only).")
    embargo: int = Field(default=0, ge=0, description="Rows left out after validation (time only).")
    window: Literal["expanding", "rolling"] = Field(
        default="expanding", description="Learn from all earlier rows, or from the latest ones only (time only)."
    )
    repeats: int = Field(default=1, ge=1, le=50, description="Times that all folds are drawn anew (not for time).")


class SearchDimension(Words):
    """One axis of a search space."""

    kind: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None
    when: dict[str, tuple[Any, ...]] | None = Field(
        default=None,
        description="Only in configurations where each of these settings has one of its values; else always.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, values in (self.when or {}).items():
            if not values:
                raise ValueError(f"when.{name} is empty: list the values for which this axis is there")
        if self.kind == "categorical":
            if not self.choices:
                raise ValueError("choices is missing: a categorical axis lists its values")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 on a log scale")
        return self


class Hpo(Words):
    """How configurations are proposed, and how many."""

    strategy: Literal["bayes", "grid", "random", "hyperband"] = "bayes"
    max_trials: int = Field(default=50, ge=1, le=2000)
    early_stop: bool = Field(default=True, description="Stop losing configurations, and a search that has plateaued.")
    metric: str | None = Field(default=None, description="Objective; the task's first metric when absent.")
    search_space: dict[str, SearchDimension] | None = Field(default=None, description="The family's own when absent.")
    max_concurrent: int = Field(default=2, ge=1, le=256)
    warm_start: bool = Field(
        default=True,
        description="Begin with what won on the most similar data, if anything is remembered; not for grid.",
    )


class EarlyStopping(Words):
    """Inside one model: stop after ``patience`` rounds that gain less than ``min_delta``."""

    patience: int = Field(default=10, ge=1)
    min_delta: float = Field(default=0.0, ge=0)


class Budget(Words):
    """Hard caps: reached means stopped."""

    cost_units: float | None = Field(default=None, gt=0)
    max_seconds: float | None = Field(default=None, gt=0)
    max_trials: int | None = Field(default=None, ge=1)


class TrialResources(Words):
    """What each trial of a job holds while it runs; the job's cost counts it."""

    cpus: float = Field(default=1, gt=0, le=1024, description="Also the threads that libraries may use, rounded down.")
    gpus: float = Field(default=0, ge=0, le=64, description="Parts of one are allowed below 1.")
    memory_bytes: int | None = Field(
        default=None, ge=2**26, description="Reserved, and the most that a trial's process may allocate; else no limit."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, amount in (("cpus", self.cpus), ("gpus", self.gpus)):
            if amount > 1 and amount != int(amount):
                raise ValueError(f"{name} ({amount:g}) above 1 must be a whole number")
        return self


class JobSpec(Words):
    """A training job. ``data`` may be absent only where the rows are handed over in Python."""

    spec: ModelSpec
    data: DataRef | None = None
    cv: CrossValidation = CrossValidation()
    hpo: Hpo = Hpo()
    early_stopping: EarlyStopping = EarlyStopping()
    budget: Budget = Budget()
    calibration: Literal["isotonic", "platt", "temperature", "auto", "none"] = "isotonic"
    holdout_share: float = Field(default=0.2, gt=0, lt=1, description="Rows that only judge: neither fit nor tune.")
    seed: int = Field(default=0, ge=0)
    priority: int = Field(default=0, ge=-9, le=9, description="Of the jobs that wait, the highest starts first.")
    resources: TrialResources = TrialResources()

    @model_validator(mode="after")
    def _teacher(self) -> Self:
        task, data = self.spec.task, self.data
        if task == "reinforcement" and data is not None:
            raise ValueError("data is given, but an environment teaches a policy: name it in spec.hyperparams")
        if task in {"classification", "regression"} and data is not None and data.uri and not data.target:
            raise ValueError("data.target is missing: name the column to predict")
        return self


RollbackCause = Literal["metric_drop", "drift_spike", "violation"]


class Guardrails(Words):
    """Absolute limits, checked beside the statistical tests, always."""

    min_calibration: float | None = Field(default=None, ge=0, le=1, description="Least 1 − ECE.")
    fairness_delta_max: float | None = Field(default=None, ge=0, le=1)
    max_latency_p95_ms: float | None = Field(default=None, gt=0)
    max_slow_odds: float | None = Field(
        default=1.5,
        ge=1,
        description="How many times stable's the odds may be of an answer slower than stable's p95 + 10 ms; null: any.",
    )
    max_consecutive_errors: int = Field(default=5, ge=1, description="Server errors in a row that end a rollout.")
    rollback_on: tuple[RollbackCause, ...] = ("metric_drop", "drift_spike", "violation")


class Costs(Words):
    """What predictions cost the business, all in one currency; a rollout that surely costs more is harm."""

    mistakes: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(
        default_factory=dict, description="Label → prediction → cost; what is not listed costs ``mistake`` or nothing."
    )
    mistake: float = Field(default=0, ge=0, description="Of a wrong answer that ``mistakes`` does not list.")
    compute_second: float = Field(default=0, ge=0, description="Of a second of prediction; one counts as 1 s at most.")
    most_ratio: float = Field(default=1.2, ge=1, description="Harm is surely above this times stable's, plus margin.")
    margin: float = Field(default=0, ge=0, description="Per prediction.")

    @property
    def largest(self) -> float:
        """The most that one answer's mistake can cost."""
        return max([self.mistake, *(cost for row in self.mistakes.values() for cost in row.values())])

    def of(self, label: str, prediction: str) -> float:
        """Give the cost of an answer.

        >>> costs = Costs(mistakes={"0": {"1": 5}}, mistake=2)
        >>> costs.of("0", "1"), costs.of("1", "0"), costs.of("1", "1")
        (5.0, 2.0, 0.0)
        """
        listed = self.mistakes.get(label, {}).get(prediction)
        if listed is not None:
            return listed
        return self.mistake if label != prediction else 0.0

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.largest and not self.compute_second:
            raise ValueError("costs price nothing: give mistakes, mistake or compute_second above 0")
        return self


class DeploymentSpec(Words):
    """How a version should reach its traffic."""

    target_env: Name = "prod"
    canary_pct: float = Field(default=5, gt=0, le=100, description="First step, percent of sticky keys.")
    shadow: bool = Field(default=False, description="Copy requests to the candidate; it never answers.")
    guardrails: Guardrails = Guardrails()
    route: Literal["single", "shared"] | None = Field(
        default=None,
        description="Of the endpoint: single, an app of its own, or shared, in a pool that holds many models in one "
        "process; when absent, as now, or single for a new one. An endpoint may move to shared, not back.",
    )
    strategy: Literal["canary", "shadow", "blue_green"] | None = Field(
        default=None, description="Shadow when ``shadow`` is set, otherwise canary."
    )
    canary_steps: tuple[float, ...] | None = Field(
        default=None, description="Percent; the configuration's when absent."
    )
    promotion_window: float | None = Field(default=None, gt=0, description="Seconds a step lasts at most.")
    bake_window: float | None = Field(default=None, ge=0, description="Seconds the old version stays warm at 100%.")
    early_promotion: bool = Field(default=False, description="End a step as soon as non-inferiority is shown.")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="Chance of a false rollback, over the whole rollout.")
    harm_budget: float = Field(
        default=0.02, gt=0, lt=1, description="Largest share of all requests that the next step may spoil, worst case."
    )
    quality_margin: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Once there are labels: most of all answers that the next step may turn wrong, in the worst case.",
    )
    costs: Costs | None = Field(default=None, description="Prices; with them cost per prediction is tested for harm.")
    beside: bool = Field(default=False, description="Run as one more canary beside the canaries that are going on.")
    replicas: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Of the endpoint, whatever becomes of the version; when absent, as now, or 1 for a new one.",
    )

    @model_validator(mode="after")
    def _only_canaries_beside(self) -> Self:
        strategy = self.strategy or ("shadow" if self.shadow else "canary")
        if self.beside and strategy != "canary":
            raise ValueError(f"only canaries run beside others; a {strategy} runs alone, so leave out beside")
        return self

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        steps = self.canary_steps
        if steps is not None and (not steps or list(steps) != sorted(set(steps)) or steps[-1] != 100 or steps[0] <= 0):
            raise ValueError(f"canary_steps {list(steps)} must rise and end at 100")
        return self

"""What was found about a model: figures with their uncertainty, and whom and what they hold for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contracts.specs import Words


class Interval(Words):
    """A figure with its uncertainty."""

    value: float
    low: float
    high: float
    level: float = 0.95


class ReliabilityBin(Words):
    """Rows whose stated confidence lies close together, and how often the stated class was right."""

    confidence: float
    accuracy: float
    rows: int


class CalibrationErrors(Words):
    """The calibration error of one statement ("it is class c", or "the class on top is right"), measured four ways."""

    equal_width: float = Field(description="Plain, bins of equal width: the figure commonly quoted.")
    equal_width_debiased: float = Field(description="The same, sampling bias removed.")
    equal_mass: float = Field(description="Plain, bins of equally many rows.")
    equal_mass_debiased: float = Field(description="The same, sampling bias removed: the figure to trust.")
    intervals: dict[str, Interval] = Field(default_factory=dict, description="Of those that resampling moves, by name.")


class Calibration(Words):
    """How far stated confidence is from observed accuracy, after the named method was applied."""

    ece: float | None = Field(default=None, description="Equal-width expected calibration error, 15 bins.")
    method: str = "none"
    ece_debiased: float | None = Field(default=None, description="Equal-mass, sampling bias removed.")
    ece_uncalibrated: float | None = None
    reliability: tuple[ReliabilityBin, ...] = Field(default=(), description="The bins of the ECE that have rows.")
    top_label: CalibrationErrors | None = Field(default=None, description="Of the most probable class.")
    by_class: dict[str, CalibrationErrors] = Field(
        default_factory=dict, description="Of each class's own probability; of many classes, those with the most rows."
    )
    compared: dict[str, float] = Field(
        default_factory=dict, description="Method → held-out log loss, where the method was chosen by it."
    )


class Fairness(Words):
    """The largest difference in selection rate between the groups of a sensitive column."""

    delta: float | None = None
    groups: tuple[str, ...] = ()
    by_group: dict[str, dict[str, Any]] = Field(default_factory=dict)
    equalized_odds: float | None = None
    by_column: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="Largest differences within each sensitive column, and within pairs of them."
    )
    selected: str | None = Field(default=None, description="The class that counts as selected; none for regression.")
    left_out: dict[str, str] = Field(default_factory=dict, description="Column → which groups are not judged, and why.")
    intervals: dict[str, dict[str, dict[str, Interval]]] = Field(
        default_factory=dict, description="Column → group → rate → the rate with its uncertainty."
    )
    insufficient: dict[str, dict[str, int]] = Field(
        default_factory=dict, description="Column → group → rows, of groups with too few rows to judge: not passed."
    )
    by_class: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="More than two classes: class → largest differences within one column."
    )
    worst_class: str | None = Field(default=None, description="More than two classes: the one that delta is of.")
    error_delta: float | None = Field(
        default=None, description="Largest difference in error rate, or in mean absolute error in target deviations."
    )
    intersectional_delta: float | None = Field(
        default=None, description="As delta, over the intersections of columns; never less visible than the parts."
    )


class Adversarial(Words):
    """How a model stands changes made by someone who wants it to be wrong; the clean figure is on the same rows.

    Every moved number stays within ``eps`` training deviations of its value and within the range that was seen.
    """

    method: Literal["closed_form", "pgd", "decision_based"]
    exact: bool = Field(
        default=False, description="Whether no attack of that size could do more; otherwise another might."
    )
    metric: str = Field(description="accuracy, or mae for regression.")
    rows: int
    clean: float
    robust: dict[str, float] = Field(description="Figure on the changed rows, by eps in training-SD units.")
    intervals: dict[str, Interval] = Field(default_factory=dict, description="Of the shares, by eps.")
    columns: tuple[str, ...] = Field(description="Columns that were moved; no other was touched.")
    queries: int = Field(default=0, description="Rows that the model was asked about.")
    gradient_masking: bool = Field(default=False, description="The gradient misleads: robustness may be an illusion.")
    why: str | None = Field(default=None, description="What makes gradient masking likely.")
    stopped: str | None = Field(default=None, description="Why the attack ended before it was done, if it did.")


class Robustness(Words):
    """How much the score falls when inputs are disturbed; the clean score stands beside it."""

    noise_sensitivity: float | None = None
    noise: dict[str, float] = Field(default_factory=dict, description="Score by sigma, in training-SD units.")
    clean: float | None = None
    metric: str | None = Field(default=None, description="The metric that all these scores are of.")
    missing: dict[str, float] = Field(default_factory=dict, description="Score by share of values knocked out.")
    accuracy: dict[str, float] = Field(
        default_factory=dict, description="Classification: accuracy by sigma; at sigma 0 the undisturbed one."
    )
    flips: dict[str, float] = Field(
        default_factory=dict, description="Classification: share of rows whose answer changes, by sigma."
    )
    moved: dict[str, float] = Field(
        default_factory=dict, description="Regression: mean change of the answer in target deviations, by sigma."
    )
    adversarial: Adversarial | None = None


class Curve(Words):
    """One class against the rest, at every threshold."""

    name: str = Field(description="The class.")
    area: float | None = None
    points: tuple[tuple[float, float], ...]


class Picture(Words):
    """What a card draws beyond single figures; whatever a task does not have is empty."""

    roc: tuple[Curve, ...] = Field(default=(), description="False positive rate → true positive rate.")
    precision_recall: tuple[Curve, ...] = Field(default=(), description="Recall → precision.")
    base_rates: dict[str, float] = Field(default_factory=dict, description="Class → its share of the rows.")
    confusion: tuple[tuple[float, ...], ...] = Field(default=(), description="True class × answer; mass of rows.")
    labels: tuple[str, ...] = Field(default=(), description="Classes in the order of the confusion.")
    answers: tuple[tuple[float, float], ...] = Field(default=(), description="Regression: some rows' (truth, answer).")
    influence: dict[str, float] = Field(
        default_factory=dict, description="Column → mean size of its attribution to the raw scores, largest first."
    )
    influence_rows: int = Field(default=0, description="Rows that the attributions were taken over.")
    sizes: dict[str, int] = Field(default_factory=dict, description="Clusters and actions: answer → rows.")


class PredictionInterval(Words):
    """How far from a predicted value the true one lies at most, so often as ``level`` says: value ± ``half_width``."""

    level: float = Field(default=0.9, gt=0, lt=1)
    half_width: float = Field(ge=0, description="In the target's unit.")
    rows: int = Field(description="Held-out answers that it was taken from.")
    coverage: Interval | None = Field(default=None, description="Share of the judged rows' values that it held.")


class AgainstStable(Words):
    """A figure of this model and of the stable version on the same rows, compared row by row."""

    version: str | None = Field(default=None, description="The stable version.")
    metric: str
    candidate: float
    stable: float
    difference: float = Field(description="How much better this model is, whichever way the metric points; < 0: worse.")
    low: float
    high: float
    level: float = 0.95
    rows: int


class Evaluation(Words):
    """Every figure about one model on one set of rows."""

    evaluation_id: str = ""
    model_key: str
    version: str | None = None
    dataset_digest: str | None = None
    rows: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    calibration: Calibration = Calibration()
    fairness: Fairness = Fairness()
    robustness: Robustness = Robustness()
    picture: Picture = Picture()
    created_at: str = ""
    left_out: dict[str, str] = Field(
        default_factory=dict, description="Figure that was asked for → why it is not here."
    )
    prediction_interval: PredictionInterval | None = Field(default=None, description="Regression only.")
    against_stable: AgainstStable | None = Field(default=None, description="Absent where nothing is stable yet.")

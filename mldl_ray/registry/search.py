"""Which versions a search means. Pure; not here: reading them, and what needs an approval to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.errors import Incompatible
from contracts.records import TrainedBundle
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.registry.catalog import version_key
from mldl_ray.registry.semver import Number

MOST = 500


@dataclass(frozen=True)
class Query:
    """What to look for; everything that is given must hold.

    Args:
        task: Exactly this one.
        family: Exactly this one.
        tags: All of them.
        min_metrics: Metric → a value that the version's figure is at least as good as: at least it, or at most it for
            metrics whose lower values are better (logloss, rmse…).
        text: Words that all occur somewhere in key, version, family, task, tags or data set; case does not matter.

    Raises:
        Incompatible: A metric that no evaluation reports.
    """

    task: str | None = None
    family: str | None = None
    tags: Sequence[str] = ()
    min_metrics: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.min_metrics) - set(METRICS)):
            raise Incompatible(
                f"no evaluation reports {', '.join(unknown)}; there are: {', '.join(sorted(METRICS))}",
                {"unknown": unknown},
            )

    def matches(self, bundle: TrainedBundle) -> bool:
        """Say whether a version is meant."""
        return (
            self.task in {None, bundle.task}
            and self.family in {None, bundle.family}
            and set(self.tags) <= set(bundle.tags)
            and all(as_good(bundle, name, value) for name, value in self.min_metrics.items())
            and all(word in _text(bundle) for word in (self.text or "").casefold().split())
        )


def as_good(bundle: TrainedBundle, metric: str, value: float) -> bool:
    """Say whether a version's figure is at least as good as a value; one without the figure is not.

    >>> bundle = TrainedBundle(
    ...     model_key="m", artifact_uri="", validation_hash="", created_at="", metrics={"auroc": 0.9, "logloss": 0.3})
    >>> as_good(bundle, "auroc", 0.85), as_good(bundle, "logloss", 0.25), as_good(bundle, "f1", 0.0)
    (True, False, False)
    """
    found = bundle.metrics.get(metric)
    if found is None:
        return False
    return found >= value if METRICS[metric].higher_is_better else found <= value


def after_key(bundles: Sequence[TrainedBundle], after: str) -> Iterator[TrainedBundle]:
    """Leave out what a reader has seen: everything up to the version ``<model_key>@<version>``, in catalog order.

    Raises:
        Incompatible: ``after`` is not of that form.
    """
    if not after:
        return iter(bundles)
    model_key, _, version = after.partition("@")
    if not model_key or not version:
        raise Incompatible(f"after {after!r} must be the last version seen, as {version_key('income', '1.0.0')}")
    seen = (model_key, Number.of(version))
    return (bundle for bundle in bundles if (bundle.model_key, Number.of(str(bundle.version))) > seen)


def check_limit(limit: int) -> int:
    """Refuse a page of no rows or of too many.

    Raises:
        Incompatible: Not within 1 to 500.
    """
    if not 1 <= limit <= MOST:
        raise Incompatible(f"limit {limit} must be between 1 and {MOST}; ask for more with after")
    return limit


def _text(bundle: TrainedBundle) -> str:
    lineage = bundle.lineage
    parts = (bundle.model_key, bundle.version, bundle.family, bundle.task, *bundle.tags, lineage.dataset_id)
    return " ".join(str(part) for part in parts if part).casefold()

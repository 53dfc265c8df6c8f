"""The specialists who say which family to train on some data: each looks at one thing. Pure.

Sources:
    Size and shape: Grinsztajn, Oyallon & Varoquaux, "Why do tree-based models still outperform deep learning on typical
    tabular data?" (NeurIPS 2022). Landmarks: see ``_landmarks``. Experience: see ``mlt``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from contracts.advice import FamilyAdvice, FamilyVote
from contracts.errors import Incompatible
from contracts.http import FamilyView
from contracts.specs import Constraints, Json, Task
from mldl_ray.bridges.mlt import distance
from mldl_ray.evaluation.metrics import METRICS

LINEAR = ("lr", "linear")
BOOSTED = ("xgb", "gbm", "forest", "tree")
SERIES = ("lstm", "transformer", "rnn")
USUAL: Mapping[Task, tuple[str, ...]] = {
    "classification": (*BOOSTED, *LINEAR),
    "regression": (*BOOSTED, *LINEAR),
    "clustering": ("kmeans", "agglo", "dbscan"),
    "dimension_reduction": ("pca",),
    "generation": ("gan",),
}
"""What is trained where nobody has anything to say."""
FEW_ROWS, MANY_ROWS = 300, 1000
NEAREST = 10
FAR = 2.0
"""Experience on data less alike than this says nothing; see ``mlt.distance``."""
QUICK_MS = 1.0
GAP = 0.05
"""How much better than one cut a whole tree must be for there to be interactions that are worth it."""


class Question(NamedTuple):
    """What is to be learned, and which families could."""

    task: Task
    meta: Json
    constraints: Constraints
    candidates: frozenset[str]
    experience: Sequence[Json] = ()

    def first(self, families: Iterable[str]) -> str | None:
        """Give the first of some families that there is here."""
        return next((family for family in families if family in self.candidates), None)


def advise(question: Question) -> FamilyAdvice:
    """Ask every specialist; the family with the most confidence behind it wins, the first named where two have as much.

    Raises:
        Incompatible: No family that is available here does this task.

    >>> meta = {"task": "classification", "rows": 5000, "columns": 9, "stump": 0.4, "tree": 0.8}
    >>> advise(Question("classification", meta, Constraints(), frozenset({"lr", "xgb"}))).why
    'xgb: 2 of 2 specialists are for it: size (5000 rows: boosted trees are rarely beaten on tables of this size); \
shape (a tree explains 0.80 and one cut 0.40: columns act together)'
    """
    if not question.candidates:
        raise Incompatible(f"no family that is available here does {question.task}", {"task": question.task})
    votes = tuple(specialist(question) for specialist in SPECIALISTS)
    cast = [vote for vote in votes if vote.family is not None]
    weight: dict[str, float] = {}
    for vote in cast:
        weight[str(vote.family)] = weight.get(str(vote.family), 0.0) + vote.confidence
    ranking = tuple(sorted(weight, key=lambda family: -weight[family]))
    if not ranking:
        usual = question.first(USUAL.get(question.task, ())) or min(question.candidates)
        return FamilyAdvice(
            family=usual,
            confidence=0.0,
            why=f"{usual}: nobody knows better; it is the usual one",
            votes=votes,
            ranking=(),
        )
    best = ranking[0]
    mine = [vote for vote in cast if vote.family == best]
    reasons = "; ".join(f"{vote.specialist} ({vote.reason})" for vote in mine)
    return FamilyAdvice(
        family=best,
        confidence=round(weight[best] / sum(weight.values()), 3),
        why=f"{best}: {len(mine)} of {len(cast)} specialists are for it: {reasons}",
        votes=votes,
        ranking=ranking,
    )


def candidates(views: Iterable[FamilyView], task: Task, *, series: bool) -> frozenset[str]:
    """Name the families that are available and learn such rows."""
    return frozenset(
        view.family
        for view in views
        if view.state == "available" and task in view.tasks and bool(view.sequence) == series
    )


def experience(question: Question) -> FamilyVote:
    """Vote for what won on the most similar data; of several families on the same data, by the best score."""
    near = sorted(
        (
            (distance(question.meta, body["meta"]), body)
            for body in question.experience
            if body.get("task") == question.task and body.get("family") in question.candidates
        ),
        key=lambda pair: pair[0],
    )
    near = [pair for pair in near[:NEAREST] if pair[0] <= FAR]
    if not near:
        return FamilyVote(specialist="experience", confidence=0, reason="nothing is remembered of such data")
    won: dict[str, float] = {}
    for far, body in _winners(near):
        won[body["family"]] = won.get(body["family"], 0.0) + 1 / (1 + far)
    best = max(won, key=lambda family: won[family])
    closest = near[0][0]
    share = won[best] / sum(won.values())
    reason = f"it won on {len(near)} similar data sets at a distance of {closest:.2g} or more, weighed {share:.0%}"
    confidence = round(share / (1 + closest), 3)
    return FamilyVote(specialist="experience", family=best, confidence=confidence, reason=reason)


def _winners(near: Sequence[tuple[float, Json]]) -> list[tuple[float, Json]]:
    """Keep, of experiences with one model_key and metric, which are comparable, the one with the best score."""
    best: dict[tuple[str, str], tuple[float, Json]] = {}
    for far, body in near:
        metric = str(body.get("metric"))
        group = (str(body.get("model_key")), metric)
        if group not in best or _gain(body, metric) > _gain(best[group][1], metric):
            best[group] = (far, body)
    return list(best.values())


def _gain(body: Json, metric: str) -> float:
    score = body.get("score")
    if score is None:
        return float("-inf")
    better: float = score if metric not in METRICS or METRICS[metric].higher_is_better else -score
    return better


def size(question: Question) -> FamilyVote:
    """Vote by the number of rows."""
    rows = question.meta.get("rows", 0)
    if question.task not in {"classification", "regression"}:
        return FamilyVote(
            specialist="size", confidence=0, reason=f"the number of rows says little about {question.task}"
        )
    if rows < FEW_ROWS:
        reason = f"{rows} rows: a simple model learns from few"
        return FamilyVote(specialist="size", family=question.first(LINEAR), confidence=0.5, reason=reason)
    if rows < MANY_ROWS:
        return FamilyVote(specialist="size", confidence=0, reason=f"{rows} rows: neither few nor many")
    reason = f"{rows} rows: boosted trees are rarely beaten on tables of this size"
    return FamilyVote(specialist="size", family=question.first(BOOSTED), confidence=0.6, reason=reason)


def shape(question: Question) -> FamilyVote:
    """Vote by what a stump and a tree get out of the columns."""
    stump, tree = question.meta.get("stump"), question.meta.get("tree")
    if stump is None or tree is None:
        return FamilyVote(specialist="shape", confidence=0, reason="nothing is known of how its columns act")
    if tree - stump > GAP:
        reason = f"a tree explains {tree:.2f} and one cut {stump:.2f}: columns act together"
        confidence = round(min(0.9, 0.4 + tree - stump), 3)
        return FamilyVote(specialist="shape", family=question.first(BOOSTED), confidence=confidence, reason=reason)
    reason = f"a tree explains {tree:.2f} and one cut {stump:.2f}: cuts gain little, a plain sum of the columns may do"
    return FamilyVote(specialist="shape", family=question.first(LINEAR), confidence=0.4, reason=reason)


def cells(question: Question) -> FamilyVote:
    """Vote by what the cells hold: gaps, categories, series."""
    if question.candidates <= set(SERIES):
        reason = "its rows hold series of steps"
        return FamilyVote(specialist="cells", family=question.first(SERIES), confidence=0.7, reason=reason)
    missing, text = question.meta.get("missing_share", 0.0), question.meta.get("categorical_share", 0.0)
    family = question.first(BOOSTED)
    if family and (missing > 0.05 or text > 0.5):
        reason = f"{missing:.0%} of the cells are missing and {text:.0%} of the columns are text: trees take both"
        return FamilyVote(specialist="cells", family=family, confidence=0.4, reason=reason)
    return FamilyVote(specialist="cells", confidence=0, reason="its cells are such as every family takes")


def latency(question: Question) -> FamilyVote:
    """Vote by how fast an answer must be."""
    limit = question.constraints.latency_ms
    family = question.first(LINEAR)
    if family is None or limit is None or limit > QUICK_MS:
        return FamilyVote(specialist="latency", confidence=0, reason="every family that serves compiled is fast enough")
    reason = f"answers must come within {limit:g} ms"
    return FamilyVote(specialist="latency", family=family, confidence=0.5, reason=reason)


SPECIALISTS: tuple[Callable[[Question], FamilyVote], ...] = (experience, size, shape, cells, latency)

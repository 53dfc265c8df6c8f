"""The model card: what a person should know before trusting a version, on one page and as JSON. Not here: any figure.

The page carries its own style and drawings, loads nothing and runs nothing, so it can be kept, mailed and printed. It
is read from top to bottom: what it is and how good, what to watch for, then the evidence (``_sections``, ``_trust``).

Source: Mitchell et al., *Model Cards for Model Reporting* (FAT* 2019), for what belongs on it.
"""

from __future__ import annotations

from contracts.evaluations import Evaluation
from contracts.records import TrainedBundle
from contracts.specs import Json
from mldl_ray.evaluation import _sections, _trust
from mldl_ray.evaluation._drawings import number, text
from mldl_ray.evaluation._remarks import remarks
from mldl_ray.evaluation.page import page


def card_json(bundle: TrainedBundle, evaluation: Evaluation) -> Json:
    """Give the card's content as JSON values: both records whole, and what one should watch for."""
    return {
        "model": bundle.model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
        "remarks": remarks(bundle, evaluation),
    }


def card_html(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    """Write the card as one HTML page that needs nothing else.

    Args:
        bundle: The version.
        evaluation: What was found about it, with intervals; its sections are left away where nothing was measured.
    """
    title = f"{bundle.model_key} {bundle.version}" if bundle.version else bundle.model_key
    sections = (
        _head(bundle, evaluation, title),
        _tiles(bundle, evaluation),
        _remarks(bundle, evaluation),
        _sections.quality(evaluation),
        _sections.calibration(evaluation),
        _trust.fairness(evaluation),
        _trust.robustness(evaluation),
        _sections.influence(evaluation),
        _sections.serving(bundle),
        _sections.origin(bundle, evaluation),
    )
    return page(f"{title}: model card", sections)


def _head(bundle: TrainedBundle, evaluation: Evaluation, title: str) -> str:
    kind = " for ".join(part for part in (bundle.family, (bundle.task or "").replace("_", " ")) if part)
    made = " · ".join(part for part in ("Model card", kind, bundle.created_at and f"made {bundle.created_at}") if part)
    tags = "".join(f'<span class="tag">{text(tag)}</span>' for tag in bundle.tags)
    seen = "episodes that it played" if bundle.task == "reinforcement" else "rows that it had not seen"
    judged = f"Judged on {evaluation.rows:,} {seen}. Ranges hold the true figure with 95% confidence."
    return f'<header><p class="soft small">{text(made)}</p><h1>{text(title)}</h1>{tags}<p>{judged}</p></header>'


def _tiles(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    """Show the few figures that are asked for first."""
    tiles = []
    for name, value in list(evaluation.metrics.items())[:2]:
        sure = evaluation.intervals.get(name)
        tiles.append(
            (name.replace("_", " "), number(value), f"{number(sure.low)} to {number(sure.high)}" if sure else "")
        )
    found, attacked = evaluation.calibration, evaluation.robustness.adversarial
    if found.ece is not None:
        tiles.append(("calibration error", number(found.ece), "0 is perfect"))
    if evaluation.fairness.delta is not None:
        tiles.append(("largest gap between groups", number(evaluation.fairness.delta), "0 is equal"))
    if attacked is not None and attacked.robust:
        eps = list(attacked.robust)[len(attacked.robust) // 2]
        note = f"{number(attacked.clean)} before; changes up to {eps} deviations"
        tiles.append((f"{attacked.metric} under attack", number(attacked.robust[eps]), note))
    if bundle.cost.cpu_seconds or bundle.cost.gpu_seconds or bundle.cost.cost_units:
        tiles.append(("cost of training", number(bundle.cost.cost_units), f"units; {bundle.cost.trials:,} trials"))
    return _sections.tiles(tiles)


def _remarks(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    notes = remarks(bundle, evaluation)
    if not notes:
        return ""
    items = "".join(f"<li>{text(note)}</li>" for note in notes)
    return f'<section class="notes"><h2>Before you trust it</h2><ul>{items}</ul></section>'

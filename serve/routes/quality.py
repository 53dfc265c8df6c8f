"""Data quality rules: what a dataset's rows must keep, who said so, and whether they do."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts.quality import QualityReport, QualityRules, QualityRulesRequest, QualityRulesVersion
from serve.access import Reader, Trainer
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, Limit, WhyInQuery

router = APIRouter(tags=["data quality"], route_class=StrictRoute)
Version = Annotated[str | None, Query(max_length=64, description="Of the dataset; the latest when absent.")]


@router.get("/datasets/{dataset_id}/quality-rules", response_model=QualityRulesVersion)
def quality_rules(dataset_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show the rules in force."""
    return actors.bridges.quality_rules(dataset_id)


@router.put("/datasets/{dataset_id}/quality-rules", response_model=QualityRulesVersion)
def set_quality_rules(
    dataset_id: IdInPath, body: QualityRulesRequest, actors: ActorsOf, caller: Trainer, once: OnceOf
) -> Any:
    """Replace the rules; with `expected_number` only where nobody else did meanwhile."""
    return actors.bridges.set_quality_rules(
        dataset_id,
        body.rules,
        expected_number=body.expected_number,
        by=caller.name,
        reason=body.reason,
        once=once,
    )


@router.delete("/datasets/{dataset_id}/quality-rules", response_model=QualityRulesVersion)
def remove_quality_rules(
    dataset_id: IdInPath, actors: ActorsOf, caller: Trainer, reason: WhyInQuery, once: OnceOf
) -> Any:
    """Take the rules out of force; their history stays."""
    return actors.bridges.remove_quality_rules(dataset_id, by=caller.name, reason=reason, once=once)


@router.get("/datasets/{dataset_id}/quality-rules/history", response_model=list[QualityRulesVersion])
def quality_rules_history(dataset_id: IdInPath, actors: ActorsOf, _: Reader, limit: Limit = 100) -> Any:
    """List the rules that were set, newest first, with who set each, when and why."""
    return actors.bridges.quality_rules_history(dataset_id, limit)


@router.get("/datasets/{dataset_id}/quality-rules/inferred", response_model=QualityRules)
def inferred_quality_rules(dataset_id: IdInPath, actors: ActorsOf, _: Reader, version: Version = None) -> Any:
    """Read rules off rows that are known to be good, to be edited and set; nothing is kept."""
    return actors.bridges.inferred_quality_rules(dataset_id, version)


@router.get("/datasets/{dataset_id}/quality-rules/report", response_model=QualityReport)
def check_quality(dataset_id: IdInPath, actors: ActorsOf, _: Reader, version: Version = None) -> Any:
    """Hold a dataset against its rules, as a job that trains on it would."""
    return actors.bridges.check_quality(dataset_id, version)

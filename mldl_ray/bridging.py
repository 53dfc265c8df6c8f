"""The client's verbs of the bridges: what they know, and how they are; and the key figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.advice import FamilyAdvice
from contracts.bridges import BridgeView
from contracts.features import (
    FeatureView,
    FeatureViewLineage,
    FeatureViewRequest,
    FeatureViewSpec,
    TransformAnswer,
    TransformRequest,
)
from contracts.kpis import Kpi, KpiGroup
from contracts.quality import QualityReport, QualityRules, QualityRulesRequest, QualityRulesVersion
from contracts.specs import Json, Task
from mldl_ray.wire import Caller, in_path, parsed, read, version_path


class Bridging(Caller):
    """Ask the bridges."""

    def bridges(self) -> list[BridgeView]:
        """List the six bridges: how each is, where it answers, how often it was asked."""
        return self._get(list[BridgeView], "/bridges")

    def kpis(self, *, window_s: float | None = None, group: KpiGroup | None = None) -> list[Kpi]:
        """List the key figures; ``window_s``: how far back rollouts, jobs and events count, a week when absent."""
        return self._get(list[Kpi], "/kpis", window_s=window_s, group=group)

    def recommendation(self, model_key: str, version: str = "latest") -> Json:
        """Show the specialists' consensus on deploying a version: ``verdict``, ``confidence``, ``why``, ``votes``."""
        return self._get(Json, f"{version_path(model_key, version)}/recommendation")

    def recommended_family(
        self,
        dataset_id: str,
        version: str | None = None,
        *,
        task: Task | None = None,
        latency_ms: float | None = None,
    ) -> FamilyAdvice:
        """Show which family the specialists would train on a dataset, and why."""
        path = f"/datasets/{in_path(dataset_id)}/recommendation"
        return self._get(FamilyAdvice, path, version=version, task=task, latency_ms=latency_ms)

    def register_view(self, view: FeatureViewSpec | Mapping[str, Any], *, reason: str) -> FeatureView:
        """Register a feature view; the same view again is the same version."""
        return self._post(FeatureView, "/feature-views", read(FeatureViewRequest, {"view": view, "reason": reason}))

    def feature_views(self) -> list[FeatureView]:
        """List every version of every feature view."""
        return self._get(list[FeatureView], "/feature-views")

    def feature_view(self, name: str, version: str | None = None) -> FeatureView:
        """Show a feature view."""
        return self._get(FeatureView, f"/feature-views/{in_path(name)}", version=version)

    def view_lineage(self, name: str, version: str | None = None) -> FeatureViewLineage:
        """Show what a feature view comes from, and what came of it."""
        return self._get(FeatureViewLineage, f"/feature-views/{in_path(name)}/lineage", version=version)

    def transform(self, name: str, inputs: Sequence[Any], version: str | None = None) -> list[Json]:
        """Make features of rows as a prediction would."""
        path, query = f"/feature-views/{in_path(name)}/transform", {"version": version} if version else {}
        body = read(TransformRequest, {"inputs": tuple(inputs)})
        return list(parsed(TransformAnswer, self._transport.call("POST", path, body=body, query=query)).features)

    def quality(self, dataset_id: str, version: str | None = None) -> Json:
        """Show what is wrong with a dataset's rows: ``status``, ``findings``."""
        return self._get(Json, f"/datasets/{in_path(dataset_id)}/quality", version=version)

    def quality_rules(self, dataset_id: str) -> QualityRulesVersion:
        """Show the rules that a dataset's rows are held to."""
        return self._get(QualityRulesVersion, _rules(dataset_id))

    def inferred_quality_rules(self, dataset_id: str, version: str | None = None) -> QualityRules:
        """Read rules off a dataset, to be edited and set; nothing is kept."""
        return self._get(QualityRules, f"{_rules(dataset_id)}/inferred", version=version)

    def set_quality_rules(
        self,
        dataset_id: str,
        rules: QualityRules | Mapping[str, Any],
        *,
        reason: str,
        expected_number: int | None = None,
    ) -> QualityRulesVersion:
        """Put rules in force; with ``expected_number`` only where nobody else did meanwhile (0: there were none)."""
        body = read(QualityRulesRequest, {"rules": rules, "reason": reason, "expected_number": expected_number})
        return parsed(QualityRulesVersion, self._transport.call("PUT", _rules(dataset_id), body=body))

    def remove_quality_rules(self, dataset_id: str, *, reason: str) -> QualityRulesVersion:
        """Take rules out of force; their history stays."""
        return parsed(QualityRulesVersion, self._transport.call("DELETE", _rules(dataset_id), query={"reason": reason}))

    def quality_rules_history(self, dataset_id: str, limit: int = 100) -> list[QualityRulesVersion]:
        """List the rules that were set, newest first."""
        return self._get(list[QualityRulesVersion], f"{_rules(dataset_id)}/history", limit=limit)

    def check_quality(self, dataset_id: str, version: str | None = None) -> QualityReport:
        """Hold a dataset against its rules, as a job that trains on it would."""
        return self._get(QualityReport, f"{_rules(dataset_id)}/report", version=version)

    def experience(self, *, model_key: str | None = None, limit: int = 100) -> list[Json]:
        """List what searches found, newest first."""
        return self._get(list[Json], "/experience", model_key=model_key, limit=limit)


def _rules(dataset_id: str) -> str:
    return f"/datasets/{in_path(dataset_id)}/quality-rules"

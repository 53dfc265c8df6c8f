"""The client's verbs of watching: labels, drift, objectives, silences, alerts put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from contracts.drift import DriftView
from contracts.http import FeedbackAnswer
from contracts.slos import AlertGroup, Silence, SilenceRequest, Slo, SloRequest, SloView
from mldl_ray.monitoring.labels import label_items
from mldl_ray.wire import Caller, in_path, parsed, read

PIECE = 10_000
"""Labels of one request."""


class Levels(Caller):
    """Read and change what must be kept, and who is told."""

    def feedback(self, items: Sequence[Mapping[str, Any]]) -> FeedbackAnswer:
        """Tell what turned out to be true: ``{request_id, label}`` or ``{model_key, key, at_s, label}`` each."""
        return self._post(FeedbackAnswer, "/feedback", {"items": [dict(item) for item in items]})

    def feedback_table(self, table: pa.Table, *, model_key: str | None = None) -> FeedbackAnswer:
        """Send a table's labels: columns ``request_id, label``, or ``key, at_s, label`` of one model."""
        items, answers = label_items(table, model_key=model_key), []
        for start in range(0, len(items), PIECE):
            answers.append(self.feedback(items[start : start + PIECE]))
        return FeedbackAnswer(
            accepted=sum(one.accepted for one in answers), unknown=sum(one.unknown for one in answers)
        )

    def feedback_file(self, uri: str, *, model_key: str | None = None) -> FeedbackAnswer:
        """Have the service read such a table from a Parquet or CSV file that it can reach."""
        return self._post(FeedbackAnswer, "/feedback/file", {"uri": uri, "model_key": model_key})

    def drift(self, model_key: str, version: str, *, skip: int = 0, limit: int = 30) -> DriftView:
        """Show a version's live rows beside its held-out ones: the columns that cost most first, at most 100."""
        path = f"/metrics/drift/{in_path(model_key)}/{in_path(version)}"
        return self._get(DriftView, path, skip=skip, limit=limit)

    def slos(self, *, model_key: str | None = None) -> list[SloView]:
        """List objectives: what is left of each error budget, and how fast it goes."""
        return self._get(list[SloView], "/slos", model_key=model_key)

    def set_slo(self, slo: Slo | Mapping[str, Any], *, reason: str) -> SloView:
        """Set an objective, or replace the one of its name."""
        body = read(SloRequest, {"slo": slo, "reason": reason})
        return parsed(SloView, self._transport.call("PUT", "/slos", body=body))

    def remove_slo(self, name: str, *, reason: str) -> Slo:
        """Remove an objective."""
        return parsed(Slo, self._transport.call("DELETE", f"/slos/{in_path(name)}", query={"reason": reason}))

    def alert_groups(self) -> list[AlertGroup]:
        """List unresolved alerts put together by version, the worst first."""
        return self._get(list[AlertGroup], "/alerts/groups")

    def silences(self, *, active: bool | None = None) -> list[Silence]:
        """List silences: all, those that last still, or those that are over."""
        return self._get(list[Silence], "/alerts/silences", active=active)

    def silence(
        self,
        *,
        model_key: str | None = None,
        version: str | None = None,
        kind: str | None = None,
        lasts_s: float,
        reason: str,
    ) -> Silence:
        """Tell nobody of matching alerts for some seconds; what is None matches everything."""
        asked = {"model_key": model_key, "version": version, "kind": kind, "lasts_s": lasts_s, "reason": reason}
        return self._post(Silence, "/alerts/silences", read(SilenceRequest, asked))

    def end_silence(self, silence_id: str, *, reason: str) -> Silence:
        """End a silence before its time."""
        path = f"/alerts/silences/{in_path(silence_id)}"
        return parsed(Silence, self._transport.call("DELETE", path, query={"reason": reason}))

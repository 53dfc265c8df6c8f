"""The verbs of whoever runs the service: figures, alerts, datasets, keys. Others are in ``eventing``, ``bridging``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.access import Role
from contracts.http import (
    DatasetRequest,
    FamilyView,
    KeyMade,
    KeyView,
    Why,
)
from contracts.records import Alert, Dataset
from contracts.specs import DataRef, Json
from mldl_ray.bridging import Bridging
from mldl_ray.eventing import Eventing
from mldl_ray.levels import Levels
from mldl_ray.wire import in_path, parsed, read, with_path


class Operations(Levels, Eventing, Bridging):
    """Watch and administer a service."""

    # Watching

    def health(self) -> Json:
        """Show how every component is."""
        answer: Json = self._transport.call("GET", "/health").json()
        return answer

    def families(self) -> list[FamilyView]:
        """List every model family: what it can do, how it is set, or what installs it."""
        return self._get(list[FamilyView], "/families")

    def metrics_live(self) -> Json:
        """Show the live figures per endpoint and version."""
        answer: Json = self._transport.call("GET", "/metrics/live").json()
        return answer

    def metrics(self) -> str:
        """Give the live figures in Prometheus' text format."""
        return self._transport.call("GET", "/metrics").text

    def alerts(self, *, status: str | None = None, model_key: str | None = None, limit: int = 100) -> list[Alert]:
        """List alerts, newest first."""
        return self._get(list[Alert], "/alerts", status=status, model_key=model_key, limit=limit)

    def alert(self, alert_id: str) -> Alert:
        """Show an alert with its evidence."""
        return self._get(Alert, f"/alerts/{in_path(alert_id)}")

    def acknowledge(self, alert_id: str, *, reason: str) -> Alert:
        """Say that somebody looks after an alert."""
        return self._post(Alert, f"/alerts/{in_path(alert_id)}/acknowledge", read(Why, {"reason": reason}))

    def resolve(self, alert_id: str, *, reason: str) -> Alert:
        """Close an alert."""
        return self._post(Alert, f"/alerts/{in_path(alert_id)}/resolve", read(Why, {"reason": reason}))

    # Datasets and keys

    def register_dataset(
        self, data: DataRef | Mapping[str, Any], *, dataset_id: str | None = None, reason: str = ""
    ) -> Dataset:
        """Register a file's rows."""
        asked = {"data": data, "dataset_id": dataset_id, "reason": reason}
        return self._post(Dataset, "/datasets", with_path(read(DatasetRequest, asked)))

    def datasets(self) -> list[Dataset]:
        """List datasets."""
        return self._get(list[Dataset], "/datasets")

    def dataset(self, dataset_id: str, version: str | None = None) -> Dataset:
        """Show a dataset."""
        return self._get(Dataset, f"/datasets/{in_path(dataset_id)}", version=version)

    def create_key(self, name: str, role: Role) -> KeyMade:
        """Make a bearer key; its secret is in the answer and nowhere else."""
        return self._post(KeyMade, "/keys", {"name": name, "role": role})

    def keys(self) -> list[KeyView]:
        """List bearer keys."""
        return self._get(list[KeyView], "/keys")

    def revoke_key(self, key_id: str, *, reason: str) -> KeyView:
        """Revoke a bearer key."""
        answer = self._transport.call("DELETE", f"/keys/{in_path(key_id)}", query={"reason": reason})
        return parsed(KeyView, answer)

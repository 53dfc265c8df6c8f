"""The client's verbs of the registry: versions, approvals, cards, aliases, what served when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.aliases import AliasRequest, AliasView
from contracts.http import ApproveRequest, RegisterRequest
from contracts.records import Approval, ModelView, TrainedBundle, VersionView
from contracts.served import Served
from contracts.specs import Json, NumberWanted
from mldl_ray.wire import Caller, in_path, parsed, read, version_path


class Registering(Caller):
    """Register, find and name versions."""

    def register(
        self,
        job_id: str,
        *,
        tags: Iterable[str] = (),
        number: NumberWanted | Mapping[str, Any] | None = None,
        reason: str,
    ) -> TrainedBundle:
        """Make a job's model a version; ``number`` as ``{version, reason, allow_lower}``, else what changed decides."""
        body = read(RegisterRequest, {"job_id": job_id, "tags": tuple(tags), "number": number, "reason": reason})
        return self._post(TrainedBundle, "/register", body)

    def version(self, model_key: str, version: str = "latest", *, as_of_s: float | None = None) -> VersionView:
        """Show a version, by number or alias, with its approvals, now or as of a moment (Unix seconds)."""
        return self._get(VersionView, version_path(model_key, version), as_of_s=as_of_s)

    def versions(self, model_key: str, *, after: str = "", limit: int = 50) -> list[VersionView]:
        """List the versions of one model."""
        return self._get(list[VersionView], f"/registry/{in_path(model_key)}", after=after, limit=limit)

    def models(
        self, *, model_key: str | None = None, text: str | None = None, after: str = "", limit: int = 50
    ) -> list[ModelView]:
        """List models by key, those whose keys hold ``text``; go on after the last with ``after``."""
        return self._get(list[ModelView], "/models", model_key=model_key, text=text, after=after, limit=limit)

    def search(
        self,
        *,
        model_key: str | None = None,
        task: str | None = None,
        family: str | None = None,
        tags: Iterable[str] = (),
        min_metrics: Mapping[str, float] | None = None,
        bounds: Iterable[str] = (),
        calibration: str | None = None,
        serving: bool | None = None,
        approved: bool | None = None,
        text: str | None = None,
        sort: str = "model",
        as_of_s: float | None = None,
        after: str = "",
        limit: int = 50,
    ) -> list[VersionView]:
        """Search versions; ``bounds`` as ``ece<=0.05``; go on after the last with ``after="<model_key>@<version>"``."""
        least = [f"{name}:{value:.15f}" for name, value in (min_metrics or {}).items()]
        query: Json = {"model_key": model_key, "task": task, "family": family, "tag": list(tags), "min_metric": least}
        query |= {"bound": list(bounds), "calibration": calibration, "serving": serving, "approved": approved}
        query |= {"text": text, "sort": sort, "as_of_s": as_of_s, "after": after, "limit": limit}
        return self._get(list[VersionView], "/registry", **query)

    def approve(self, model_key: str, version: str, *, decision: str = "approved", reason: str) -> Approval:
        """Approve or reject a version."""
        body = read(ApproveRequest, {"decision": decision, "reason": reason})
        return self._post(Approval, f"{version_path(model_key, version)}/approvals", body)

    def card(self, model_key: str, version: str = "latest") -> str:
        """Give a version's card as an HTML page."""
        return self._transport.call("GET", f"{version_path(model_key, version)}/card").text

    def card_facts(self, model_key: str, version: str = "latest") -> Json:
        """Give a version's card as JSON values."""
        answer: Json = self._transport.call("GET", f"{version_path(model_key, version)}/card.json").json()
        return answer

    def aliases(self, model_key: str, *, as_of_s: float | None = None) -> list[AliasView]:
        """List where ``latest``, ``stable``, ``candidate`` and a model's own aliases lead, now or at a moment."""
        return self._get(list[AliasView], f"/registry/{in_path(model_key)}/aliases", as_of_s=as_of_s)

    def move_alias(
        self, model_key: str, alias: str, version: str, *, expected_version: str | None = None, reason: str
    ) -> AliasView:
        """Have an own alias lead to a version.

        Args:
            model_key: Which model.
            alias: Its name.
            version: Where to: a number, or an alias as it leads now.
            expected_version: The number that it leads to now; None for a new one.
            reason: Why.

        Raises:
            Conflict: It leads elsewhere by now.
        """
        body = read(AliasRequest, {"version": version, "expected_version": expected_version, "reason": reason})
        return parsed(AliasView, self._transport.call("PUT", _alias_path(model_key, alias), body=body))

    def remove_alias(self, model_key: str, alias: str, *, expected_version: str, reason: str) -> AliasView:
        """Take an own alias away, if it leads to that number still."""
        query = {"expected_version": expected_version, "reason": reason}
        return parsed(AliasView, self._transport.call("DELETE", _alias_path(model_key, alias), query=query))

    def served(
        self, model_key: str | None = None, *, deployment_id: str | None = None, at_s: float | None = None
    ) -> Served:
        """Say what an endpoint served at a moment (Unix seconds; now when None), by its model or a deployment."""
        return self._get(Served, "/served", model_key=model_key, deployment_id=deployment_id, at_s=at_s)

    def served_page(
        self, model_key: str | None = None, *, deployment_id: str | None = None, at_s: float | None = None
    ) -> str:
        """Give the same as an HTML page."""
        query = {"model_key": model_key, "deployment_id": deployment_id, "at_s": at_s}
        return self._transport.call("GET", "/served/page", query=query).text


def _alias_path(model_key: str, alias: str) -> str:
    return f"/registry/{in_path(model_key)}/aliases/{in_path(alias)}"

"""What the monitor's actor does when asked about alerts, silences and objectives: verbs only.

What survives a restart: everything that these verbs write; the journal has it. Not here: which alerts there should be
(``actors.monitor``), and how objectives are followed (``actors.levels``).
"""

from __future__ import annotations

from actors.levels import ServiceLevels
from contracts.ports import Once
from contracts.records import Alert
from contracts.slos import AlertGroup, Silence, SilenceRequest, Slo, SloView
from contracts.specs import Json
from mldl_ray.monitoring.alerts import Alerts


class Alerting:
    """List, open, acknowledge and resolve alerts; set and remove objectives; silence."""

    _alerts: Alerts
    _levels: ServiceLevels

    # Alerts

    def alerts(self, *, status: str | None = None, model_key: str | None = None, limit: int = 100) -> list[Alert]:
        """List alerts, the newest first."""
        return self._alerts.listed(status=status, model_key=model_key, limit=limit)

    def alert(self, alert_id: str) -> Alert:
        """Give an alert.

        Raises:
            NotFound: No such alert.
        """
        return self._alerts.alert(alert_id)

    def raise_alert(
        self,
        *,
        cause: str,
        kind: str,
        severity: str,
        model_key: str,
        version: str | None = None,
        message: str,
        evidence: Json | None = None,
    ) -> Alert:
        """Open an alert; the same cause gives the same alert until that is resolved."""
        return self._alerts.raise_alert(
            cause=cause,
            kind=kind,
            severity=severity,
            model_key=model_key,
            version=version,
            message=message,
            evidence=evidence or {},
        )

    def resolve(self, alert_id: str, *, reason: str, by: str, once: Once | None = None) -> Alert:
        """Close an alert.

        Raises:
            NotFound: No such alert.
            Conflict: It is resolved already.
        """
        return self._alerts.resolve(alert_id, reason=reason, by=by, once=once)

    def acknowledge(self, alert_id: str, *, reason: str, by: str, once: Once | None = None) -> Alert:
        """Note that someone knows of an alert.

        Raises:
            NotFound: No such alert.
            Conflict: Someone did already, or it is resolved.
        """
        return self._alerts.acknowledge(alert_id, reason=reason, by=by, once=once)

    def alert_groups(self) -> list[AlertGroup]:
        """Put unresolved alerts together by version."""
        return self._levels.groups()

    # SLOs and silences: see ``actors.levels``

    def set_slo(self, slo: Slo, *, reason: str, by: str, once: Once | None = None) -> SloView:
        """Put an objective in force."""
        return self._levels.set(slo, reason=reason, by=by, once=once)

    def remove_slo(self, name: str, *, reason: str, by: str, once: Once | None = None) -> Slo:
        """Take an objective out of force."""
        return self._levels.remove(name, reason=reason, by=by, once=once)

    def silence(self, asked: SilenceRequest, *, by: str, once: Once | None = None) -> Silence:
        """Tell nobody of matching alerts for a while."""
        return self._levels.silence(asked, by=by, once=once)

    def end_silence(self, silence_id: str, *, reason: str, by: str, once: Once | None = None) -> Silence:
        """End a silence before its time."""
        return self._levels.end_silence(silence_id, reason=reason, by=by, once=once)

    def silences(self, *, active: bool | None = None) -> list[Silence]:
        """List silences."""
        return self._levels.silences(active=active)

"""What the registry's actor says about the past: what served at a moment. It holds nothing; all is in the journal."""

from __future__ import annotations

from contracts.errors import Incompatible
from contracts.ports import Clock, Journal
from contracts.served import Served
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.registry.served import History
from mldl_ray.registry.served_page import served_html


class Witnessing:
    """Say what served at a moment."""

    def __init__(self, journal: Journal, governance: EmbeddedGovernance, clock: Clock) -> None:
        self._history, self._clock = History(journal, governance), clock

    def served(
        self, *, model_key: str | None = None, deployment_id: str | None = None, at_s: float | None = None
    ) -> Served:
        """Say what an endpoint served at a moment, by its model or by one of its deployments.

        Args:
            model_key: Whose endpoint; or
            deployment_id: whose endpoint.
            at_s: Unix seconds; now when None.

        Raises:
            NotFound: There was no such model or deployment then.
            Incompatible: Both were given, or neither.
        """
        when = self._clock.now_s() if at_s is None else at_s
        if model_key is not None and deployment_id is None:
            return self._history.served(model_key, when)
        if deployment_id is not None and model_key is None:
            return self._history.served_by(deployment_id, when)
        raise Incompatible("give exactly one of model_key or deployment_id: whose traffic is asked about")

    def served_page(
        self, *, model_key: str | None = None, deployment_id: str | None = None, at_s: float | None = None
    ) -> str:
        """Give the same as an HTML page; see ``served``."""
        return served_html(self.served(model_key=model_key, deployment_id=deployment_id, at_s=at_s))

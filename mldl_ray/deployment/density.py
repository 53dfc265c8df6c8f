"""Which app serves an endpoint: one of its own, or the pool that holds many models in one process. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from contracts.errors import Conflict
from contracts.rollouts import Endpoint


def routed(
    endpoint: Endpoint, route: Literal["single", "shared"] | None, pooled: Callable[[], int], most: int
) -> Endpoint:
    """Give an endpoint the route that a deployment asks for; a change of route is a new epoch.

    It is chosen freely while nothing serves. One that serves may move to the pool: both serve until the pool has it.

    Args:
        endpoint: As it is.
        route: Asked for; None leaves it.
        pooled: Counts the models in the pool.
        most: Models that the pool may hold.

    Raises:
        Conflict: It would have to leave the pool while it serves, or the pool is full.

    >>> routed(Endpoint(model_key="m", salt="s"), "shared", lambda: 0, 10).route
    'shared'
    """
    if route is None or route == endpoint.route:
        return endpoint
    if route == "single" and endpoint.stable is not None:
        raise Conflict(
            f"{endpoint.model_key} is served by the pool and cannot leave it while it serves; leave route out",
            {"route": endpoint.route},
        )
    if route == "shared" and (held := pooled()) >= most:
        raise Conflict(
            f"the pool holds {held} models already, the most that deployment.pool_models allows; deploy with route "
            "single, or raise that",
            {"models": held, "most": most},
        )
    return endpoint.model_copy(update={"route": route, "epoch": endpoint.epoch + 1})

"""The control plane's FastAPI app as a Serve application at ``/``, and Serve itself on the settings' host and port."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ray import serve as ray_serve

from mldl_ray.settings import Settings
from serve.backend import CONTROL_PLANE, QUIET, run_app

REPLICAS = 1


def start_http(settings: Settings) -> None:
    """Have Serve listen; on a cluster where it does already this changes nothing."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # what was started, the caller says
    ray_serve.start(
        proxy_location="EveryNode",
        http_options={"host": settings.host, "port": settings.port},
        logging_config=QUIET,
    )


def run_control_plane(build: Callable[[], Any]) -> None:
    """Have the control plane run. ``build`` makes the ASGI app, in the replica."""

    @ray_serve.ingress(build)
    class ControlPlane:
        """Nothing but the app."""

    deployment: Any = ray_serve.deployment(
        ControlPlane,
        name="api",
        num_replicas=REPLICAS,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=200,
        health_check_period_s=2,
        logging_config=QUIET,
    )
    run_app(deployment.bind(), name=CONTROL_PLANE, route_prefix="/")


def control_plane_running() -> bool:
    """Say whether the app is up and answers."""
    found = ray_serve.status().applications.get(CONTROL_PLANE)
    return found is not None and found.status == "RUNNING"

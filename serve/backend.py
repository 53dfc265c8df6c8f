"""The deployment manager's way to Ray Serve: the only caller of ``serve.run_many`` and ``serve.delete``.

Verbs return at once and are idempotent; what they lead to is seen with ``states``. A running app is never run again,
because that would restart every replica.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve._private.common import DeploymentID  # the controller takes it; Serve's public names have no such verb
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus

from contracts.errors import Unavailable
from contracts.ports import POOL_APP, AppState, endpoint_app
from contracts.replays import ReplayAnswer
from contracts.specs import Json
from mldl_ray.settings import Settings
from serve.candidate import Candidate
from serve.endpoint import Endpoint
from serve.looks import Looks
from serve.pool import Pool
from serve.pool_door import POOL, PREDICT_PREFIX
from serve.predict import EPOCH
from serve.replay import Replays

CONTROL_PLANE = "control-plane"
ENDPOINT = "endpoint"
SCALE_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 1.0
QUIET = {"enable_access_log": False, "log_level": "WARNING"}
_STATES: dict[ApplicationStatus, AppState] = {
    ApplicationStatus.NOT_STARTED: "starting",
    ApplicationStatus.DEPLOYING: "starting",
    ApplicationStatus.DEPLOY_FAILED: "failed",
    ApplicationStatus.RUNNING: "running",
    ApplicationStatus.UNHEALTHY: "running",
    ApplicationStatus.DELETING: "deleting",
}


class RayServeBackend:
    """Endpoints and candidates as Serve applications of the running cluster."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reached: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._replays, self._looks = Replays(), Looks()

    def ensure_endpoint(self, model_key: str, replicas: int) -> None:
        """Have the endpoint app of a model_key run with that many replicas, by what the latest look showed."""
        app = endpoint_app(model_key)
        if not self._sized(app, replicas):
            replica = endpoint_replica(self._settings, model_key)
            self._run(ingress(replica, replicas), name=app, route_prefix=f"{PREDICT_PREFIX}/{model_key}")

    def ensure_pool(self, replicas: int) -> None:
        """Have the pool run with that many replicas; endpoints' own apps have longer prefixes, and win."""
        if not self._sized(POOL_APP, replicas):
            self._run(ingress(pool_replica(self._settings), replicas), name=POOL_APP, route_prefix=PREDICT_PREFIX)

    def _sized(self, app: str, replicas: int) -> bool:
        """Have a running app be of a size; False when it does not run."""
        if app in self._sizes and self._sizes[app] != replicas:
            self._looks.asked()
            _scale(app, replicas)
        return app in self._sizes

    def start_candidate(self, app: str, model_key: str, version: str, manifest: str) -> None:
        """Have one version run on its own."""
        self._run(candidate_deployment(self._settings, manifest), name=app, route_prefix=None)

    def _run(self, deployment: Any, *, name: str, route_prefix: str | None) -> None:
        self._looks.asked()
        run_app(deployment, name=name, route_prefix=route_prefix)

    def delete(self, app: str) -> None:
        """Have the app drain and go."""
        self._replays.forget(app)
        self._looks.asked()
        try:
            ray_serve.delete(app, _blocking=False)
        except RayServeException as error:
            raise Unavailable(f"Ray Serve did not take the deletion of {app}: {error}") from error

    def states(self) -> dict[str, AppState]:
        """List our apps and how each is, or was ``CALM_S`` ago at most where nothing is on its way.

        An endpoint runs once it also answers through the proxy, which lags.
        """
        now_s = time.monotonic()
        if self._looks.due(now_s):
            self._looks.showed(self._look(), now_s)
        return dict(self._looks.states)

    def _look(self) -> dict[str, AppState]:
        seen = {name: app for name, app in _applications().items() if name != CONTROL_PLANE}
        found = {name: _STATES[app.status] for name, app in seen.items()}
        self._sizes = {
            name: _size(app) for name, app in seen.items() if found[name] == "running" and ENDPOINT in app.deployments
        }
        self._reached &= {name for name, state in found.items() if state == "running"}
        for name, state in found.items():
            serves = name == POOL_APP or name.startswith(endpoint_app(""))
            if state == "running" and serves and not self._reaches(name):
                found[name] = "starting"
        return found

    def _reaches(self, app: str) -> bool:
        if app not in self._reached and _answers_itself(self._settings, app):
            self._reached.add(app)
        return app in self._reached

    def replay(self, app: str, inputs: Sequence[Json]) -> Sequence[ReplayAnswer] | None:
        """Have a candidate asked these rows; None while that goes on."""
        return self._replays.replay(app, inputs)

    def failure(self, app: str) -> str | None:
        """Say why an app failed, in Serve's last words."""
        found = _applications().get(app)
        if found is None or found.status != ApplicationStatus.DEPLOY_FAILED:
            return None
        messages = [found.message, *(deployment.message for deployment in found.deployments.values())]
        return " ".join(line for text in messages if text for line in text.strip().splitlines()[-3:])


def run_app(deployment: Any, *, name: str, route_prefix: str | None) -> None:
    """Hand an app to Serve and return; one that runs already is left alone."""
    if name in _applications():
        return
    target = ray_serve.RunTarget(deployment, name, route_prefix, external_scaler_enabled=True)
    ray_serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def endpoint_replica(settings: Settings, model_key: str) -> type:
    """Give the class of the replicas of a model_key's own endpoint."""

    @ray_serve.ingress()
    class Replica(Endpoint):
        async def __init__(self) -> None:  # type: ignore[misc]  # Serve awaits it: ready means the table is applied
            Endpoint.__init__(self, settings, model_key, uuid.uuid4().hex[:12])
            await self.start()

        def __serve_build_asgi_app__(self) -> Any:
            return self.asgi()

        async def __del__(self) -> None:  # Serve awaits it when it has drained the replica
            await self.stop()

    return Replica


def pool_replica(settings: Settings) -> type:
    """Give the class of the pool's replicas."""

    @ray_serve.ingress()
    class Replica(Pool):
        async def __init__(self) -> None:  # type: ignore[misc]  # Serve awaits it: ready means the tables are applied
            Pool.__init__(self, settings, uuid.uuid4().hex[:12])
            await self.start()

        def __serve_build_asgi_app__(self) -> Any:
            return self.asgi()

        async def __del__(self) -> None:  # Serve awaits it when it has drained the replica
            await self.stop()

    return Replica


def ingress(replica: type, replicas: int) -> Any:
    """Describe an app whose replicas answer HTTP to Serve."""
    make: Any = ray_serve.deployment(
        replica,
        name=ENDPOINT,
        num_replicas=replicas,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=1000,
        health_check_period_s=2,
        logging_config=QUIET,
    )
    return make.bind()


def _size(app: Any) -> int:
    """Count the replicas that serve or will, without those that drain."""
    counts = app.deployments[ENDPOINT].replica_states
    return sum(count for state, count in counts.items() if state not in {"STOPPING", "STOPPED"})


def _scale(app: str, replicas: int) -> None:
    """Change a running endpoint's number of replicas; the same number again changes nothing.

    Asks Serve's controller for what ``POST /api/v1/applications/<app>/deployments/<d>/scale`` of Ray's dashboard asks
    it, without needing a dashboard. Only ``external_scaler_enabled`` apps allow it.
    """
    try:
        controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        asked: Any = controller.update_deployment_replicas.remote(DeploymentID(name=ENDPOINT, app_name=app), replicas)
        ray.get(asked, timeout=SCALE_TIMEOUT_S)
    except (RayError, ValueError) as error:
        raise Unavailable(f"Ray Serve did not scale {app} to {replicas} replicas: {error}") from error


def candidate_deployment(settings: Settings, manifest: str) -> Any:
    """Describe one version on its own to Serve."""
    make: Any = ray_serve.deployment(
        Candidate,
        name="candidate",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=64,
        max_queued_requests=256,
        max_constructor_retry_count=2,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=5,
        logging_config=QUIET,
    )
    return make.bind(settings.artifact_uri, str(Path(settings.home) / "cache"), manifest)


def _answers_itself(settings: Settings, app: str) -> bool:
    """Ask the way a caller would; without a route the control plane answers, and has no epoch."""
    host = settings.host if settings.host not in {"0.0.0.0", "::"} else "127.0.0.1"
    try:
        path = "" if app == POOL_APP else f"/{app.removeprefix(endpoint_app(''))}"
        answer = httpx.get(f"http://{host}:{settings.port}{PREDICT_PREFIX}{path}", timeout=PROBE_TIMEOUT_S)
    except httpx.TransportError:
        return False
    return (POOL if app == POOL_APP else EPOCH).decode() in answer.headers


def _applications() -> dict[str, Any]:
    try:
        return dict(ray_serve.status().applications)
    except RayServeException as error:
        raise Unavailable(f"Ray Serve does not answer: {error}") from error

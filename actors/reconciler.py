"""The loop's one turn: what the journal wants against what is seen, at most one move per deployment, then its effects.

Level-triggered: effects follow from the documents, not from the move that led to them, so a turn that was cut anywhere
is made up for by the next. Nothing is held here that the journal lacks but the latest verdicts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from typing import Protocol

from actors.route_board import RouteBoard
from contracts.errors import Conflict, MldlError, Unavailable
from contracts.ports import AppState, Clock, Journal, Once, ServingBackend, endpoint_app
from contracts.rollouts import Decision, Deployment, Endpoint, RolloutTelemetry
from mldl_ray.access import ApiKeys
from mldl_ray.deployment import decide
from mldl_ray.deployment.advance import MANAGER, Move, Observed, advance, needs_candidate
from mldl_ray.deployment.plan import route_table
from mldl_ray.journal.documents import load, write
from mldl_ray.registry.catalog import Catalog

log = logging.getLogger(__name__)
JUDGED = {"canary", "shadow", "baking"}
CANDIDATE_PREFIX = "m-"
MOST_ENDPOINTS = 10_000


class Watcher(Protocol):
    """Who counts what the arms of a rollout did."""

    def rollout(self, deployment: Deployment) -> RolloutTelemetry:
        """Give both arms side by side."""
        ...


class Reconciler:
    """Turn the journal's goals into route tables and Serve apps. One thread at a time may call ``turn``."""

    def __init__(
        self,
        journal: Journal,
        backend: ServingBackend,
        monitor: Watcher,
        board: RouteBoard,
        clock: Clock,
        *,
        keys_required: bool,
    ) -> None:
        self._journal, self._backend, self._monitor, self._board, self._clock = journal, backend, monitor, board, clock
        self._catalog, self._keys = Catalog(journal), ApiKeys(journal, clock)
        self._keys_required = keys_required
        self.verdicts: dict[str, Decision] = {}

    def turn(self) -> bool:
        """Look at every endpoint once; say whether anything moved."""
        states = self._backend.states()
        roles = dict(self._keys.roles())
        moved, wanted = False, set()
        for document in self._journal.scan("endpoint", limit=MOST_ENDPOINTS):
            endpoint = Endpoint.model_validate(document.body)
            if endpoint.stable is not None:
                wanted.add(endpoint_app(endpoint.model_key))
            try:
                moved |= self._endpoint(endpoint, document.version, states, roles)
            except Conflict as error:
                log.info("%s changed meanwhile: %s", endpoint.model_key, error)
            except MldlError as error:  # one endpoint's trouble must not stop the others
                log.warning("%s: %s", endpoint.model_key, error)
        self._sweep(states, wanted)
        return moved

    def publish(self) -> None:
        """Show the table of every endpoint now, without a move."""
        roles = dict(self._keys.roles())
        for document in self._journal.scan("endpoint", limit=MOST_ENDPOINTS):
            endpoint = Endpoint.model_validate(document.body)
            current, _ = self._with_keys(endpoint, document.version, roles)
            self._show(current, self._live(current)[0], roles)

    def _endpoint(self, endpoint: Endpoint, version: int, states: dict[str, AppState], roles: dict[str, str]) -> bool:
        endpoint, version = self._with_keys(endpoint, version, roles)
        deployment, revision = self._live(endpoint)
        self._show(endpoint, deployment, roles)
        self._ensure(endpoint, deployment, states)
        if deployment is None:
            return False
        move = advance(endpoint, deployment, self._observe(endpoint, deployment, states))
        if move is None:
            return False
        self.commit(move, version, revision)
        self._show(move.endpoint, move.deployment, roles)
        self._ensure(move.endpoint, move.deployment, states)
        return True

    def commit(self, move: Move, endpoint_version: int, deployment_version: int, once: Once | None = None) -> None:
        """Append a move: both documents and its events, or nothing."""
        key, name = move.endpoint.model_key, move.deployment.deployment_id
        writes = [
            write("endpoint", key, endpoint_version, move.endpoint),
            write("deployment", name, deployment_version, move.deployment),
        ]
        self._journal.append(writes, move.facts, actor=move.actor, reason=move.reason, once=once)

    def _live(self, endpoint: Endpoint) -> tuple[Deployment | None, int]:
        if endpoint.deployment_id is None:
            return None, 0
        return load(self._journal, "deployment", endpoint.deployment_id, Deployment)

    def _with_keys(self, endpoint: Endpoint, version: int, roles: dict[str, str]) -> tuple[Endpoint, int]:
        """Have the endpoint's table carry the keys that are valid now: a change of keys is a new epoch."""
        digest = hashlib.sha256(json.dumps([sorted(roles.items()), self._keys_required]).encode()).hexdigest()
        if endpoint.keys_digest == digest:
            return endpoint, version
        changed = endpoint.model_copy(update={"keys_digest": digest, "epoch": endpoint.epoch + 1})
        self._journal.append(
            [write("endpoint", endpoint.model_key, version, changed)], actor=MANAGER, reason="the API keys changed"
        )
        return changed, version + 1

    def _show(self, endpoint: Endpoint, deployment: Deployment | None, roles: dict[str, str]) -> None:
        named = {endpoint.stable, deployment.version if deployment else None, deployment.stable if deployment else None}
        key = endpoint.model_key
        manifests = {version: self._catalog.bundle(key, version).validation_hash for version in named if version}
        table = route_table(endpoint, deployment, manifests, key_roles=roles, key_required=self._keys_required)
        if table is not None:
            self._board.publish(table)

    def _ensure(self, endpoint: Endpoint, deployment: Deployment | None, states: dict[str, AppState]) -> None:
        own = states.get(endpoint_app(endpoint.model_key), "absent")
        if endpoint.stable is not None and own in {"absent", "running"}:
            self._backend.ensure_endpoint(endpoint.model_key, endpoint.replicas)
        if deployment is None or not needs_candidate(deployment):
            return
        app = str(deployment.candidate_app)
        if deployment.status == "starting" and states.get(app, "absent") == "absent":
            manifest = self._catalog.bundle(endpoint.model_key, deployment.version).validation_hash
            self._backend.start_candidate(app, endpoint.model_key, deployment.version, manifest)

    def _observe(self, endpoint: Endpoint, deployment: Deployment, states: dict[str, AppState]) -> Observed:
        key, app, mine = endpoint.model_key, deployment.candidate_app or "", endpoint_app(endpoint.model_key)
        state, own = states.get(app, "absent"), states.get(mine, "absent")
        return Observed(
            now_s=self._clock.now_s(),
            app=state,
            app_failure=self._backend.failure(app) if state == "failed" else None,
            endpoint=own,
            endpoint_failure=self._backend.failure(mine) if own == "failed" else None,
            applied=self._board.applied(key, endpoint.epoch),
            drained=self._board.applied(key, endpoint.epoch, drained=True),
            decision=self._judge(deployment),
            new_app=f"{CANDIDATE_PREFIX}{key}-v{deployment.version}-{uuid.uuid4().hex[:8]}",
        )

    def _judge(self, deployment: Deployment) -> Decision | None:
        if deployment.status not in JUDGED:
            self.verdicts.pop(deployment.deployment_id, None)
            return None
        try:
            telemetry = self._monitor.rollout(deployment)
        except Unavailable as error:
            log.warning("no telemetry for %s: %s; holding", deployment.deployment_id, error)
            return None
        verdict = decide(telemetry, deployment, self._clock.now_s())
        self.verdicts[deployment.deployment_id] = verdict
        return verdict

    def _sweep(self, states: dict[str, AppState], wanted: set[str]) -> None:
        """Delete apps that nothing in the journal wants, once no replica sends to them any more."""
        for app, state in states.items():
            if state == "deleting" or app in wanted or not app.startswith((CANDIDATE_PREFIX, endpoint_app(""))):
                continue
            if app.startswith(CANDIDATE_PREFIX) and not self._unused(app, wanted):
                continue
            log.info("deleting %s, which nothing wants", app)
            self._backend.delete(app)

    def _unused(self, app: str, wanted: set[str]) -> bool:
        keys = [name.removeprefix(endpoint_app("")) for name in wanted]
        owners = [key for key in keys if app.startswith(f"{CANDIDATE_PREFIX}{key}-v")]
        for key in owners:
            endpoint, _ = load(self._journal, "endpoint", key, Endpoint)
            deployment = self._live(endpoint)[0] if endpoint is not None else None
            if deployment is not None and deployment.candidate_app == app and needs_candidate(deployment):
                return False
            if endpoint is not None and not self._board.applied(key, endpoint.epoch, drained=True):
                return False
        return True

"""The loop's one turn: what the journal wants against what is seen, at most one move per deployment, then its effects.

Level-triggered: effects follow from the documents, not from the move that led to them, so a turn that was cut anywhere
is made up for by the next. Nothing is held here that the journal lacks but the latest verdicts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from actors.replays import Recall, Replays
from actors.route_board import RouteBoard
from actors.way_back import way_back
from contracts.errors import Conflict, MldlError, Unavailable
from contracts.ports import POOL_APP, AppState, Clock, Journal, Once, ServingBackend, endpoint_app
from contracts.rollouts import Decision, Deployment, Endpoint, RolloutTelemetry
from contracts.routing import Arm, RouteTable
from contracts.specs import Json
from mldl_ray.access import ApiKeys
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.bridges.governance_acts import onwards
from mldl_ray.deployment import decide
from mldl_ray.deployment.advance import Observed, advance, needs_candidate
from mldl_ray.deployment.beside import considered
from mldl_ray.deployment.moves import MANAGER, Move
from mldl_ray.deployment.plan import route_table
from mldl_ray.journal.documents import load, write
from mldl_ray.registry.catalog import Catalog

log = logging.getLogger(__name__)
JUDGED = {"canary", "shadow", "baking"}
CANDIDATE_PREFIX = "m-"
MOST_ENDPOINTS = 10_000
LOOK_ANYWAY_S = 5.0


class Watcher(Recall, Protocol):
    """Who counts what the arms of a rollout did, and remembers what was asked."""

    def rollout(self, deployment: Deployment) -> RolloutTelemetry:
        """Give both arms side by side."""
        ...


class Live(NamedTuple):
    """The deployments of an endpoint that are going on, and their revisions by id."""

    deployments: tuple[Deployment, ...]
    revisions: dict[str, int]

    def others(self, deployment: Deployment) -> tuple[Deployment, ...]:
        """Give those beside one."""
        return tuple(other for other in self.deployments if other.deployment_id != deployment.deployment_id)


class Reconciler:
    """Turn the journal's goals into route tables and Serve apps.

    One thread at a time may call ``turn``; every other method may run beside it, because each write expects the
    version that was read, and the board takes only tables that are newer than its own.
    """

    def __init__(
        self,
        journal: Journal,
        backend: ServingBackend,
        monitor: Watcher,
        board: RouteBoard,
        clock: Clock,
        *,
        keys_required: bool,
        defaults: Json | None = None,
    ) -> None:
        self._defaults = defaults or {}
        self._journal, self._backend, self._monitor, self._board, self._clock = journal, backend, monitor, board, clock
        self._catalog, self._keys = Catalog(journal), ApiKeys(journal, clock)
        self._keys_required, self._governance = keys_required, EmbeddedGovernance(journal, clock)
        self._replays = Replays(backend, monitor)
        self.verdicts: dict[str, Decision] = {}
        self._settled_at: int | None = None
        self._known_at: int | None = None
        self._known: tuple[dict[str, str], list[tuple[Endpoint, int]]] = {}, []
        self._settled_s = 0.0
        self._open = False

    def idle(self) -> bool:
        """Say, with one question to the journal, whether a turn now would find nothing new to do.

        It would not, for ``LOOK_ANYWAY_S`` at most, where the last turn left nothing open and nothing was written
        since; what happens to Serve's apps without us is found by the turn after that.
        """
        if self._settled_at is None or time.monotonic() - self._settled_s > LOOK_ANYWAY_S:
            return False
        return self._journal.position() == self._settled_at

    def turn(self) -> bool:
        """Look at every endpoint once; say whether anything moved."""
        self._settled_at = None
        position, self._open = self._journal.position(), False
        moved = self._turned(position)
        if not moved and not self._open:
            self._settled_at, self._settled_s = position, time.monotonic()
        return moved

    def _turned(self, position: int) -> bool:
        states = self._backend.states()
        if position != self._known_at:  # otherwise nothing was written since they were read, and no key ends by itself
            self._known, self._known_at = (dict(self._keys.roles()), self._endpoints()), position
        roles, found = self._known
        moved, wanted, keys = False, set(), set()
        self._pool([endpoint for endpoint, _ in found], states)
        for endpoint, version in found:
            keys.add(endpoint.model_key)
            if endpoint.stable is not None:
                wanted |= self._apps(endpoint, states)
            try:
                moved |= self._endpoint(endpoint, version, states, roles)
            except Conflict as error:
                self._open = True
                log.info("%s changed meanwhile: %s", endpoint.model_key, error)
            except MldlError as error:  # one endpoint's trouble must not stop the others
                self._open = True
                log.warning("%s: %s", endpoint.model_key, error)
        self._sweep(states, wanted, keys)
        return moved

    def _endpoints(self) -> list[tuple[Endpoint, int]]:
        found = self._journal.scan("endpoint", limit=MOST_ENDPOINTS)
        return [(Endpoint.model_validate(document.body), document.version) for document in found]

    def _pool(self, endpoints: Sequence[Endpoint], states: dict[str, AppState]) -> None:
        """Have the pool run while an endpoint is shared, as wide as the widest, and let go of those that are not."""
        shared = {found.model_key: found for found in endpoints if found.route == "shared" and found.stable is not None}
        for gone in self._board.shared() - set(shared):
            self._board.withdraw(gone)
        if shared and states.get(POOL_APP, "absent") in {"absent", "running"}:
            try:
                self._backend.ensure_pool(max(found.replicas for found in shared.values()))
            except Unavailable as error:
                self._open = True
                log.warning("the pool: %s", error)

    def _apps(self, endpoint: Endpoint, states: dict[str, AppState]) -> set[str]:
        """Name the apps that may serve an endpoint now: of one that moves to the pool both, until the pool has it."""
        if endpoint.route == "single":
            return {endpoint_app(endpoint.model_key)}
        moved = states.get(POOL_APP) == "running" and self._board.applied(endpoint.model_key, endpoint.epoch)
        return {POOL_APP} if moved else {POOL_APP, endpoint_app(endpoint.model_key)}

    def publish(self) -> None:
        """Show the table of every endpoint now, without a move."""
        roles = dict(self._keys.roles())
        for endpoint, version in self._endpoints():
            current, _ = self._with_keys(endpoint, version, roles)
            self._show(current, self.live(current).deployments, roles)

    def _endpoint(self, endpoint: Endpoint, version: int, states: dict[str, AppState], roles: dict[str, str]) -> bool:
        endpoint, version = self._with_keys(endpoint, version, roles)
        live = self.live(endpoint)
        self._open |= bool(live.deployments)
        self._show(endpoint, live.deployments, roles)
        self._ensure(endpoint, live.deployments, states)
        for deployment in live.deployments:
            move = advance(endpoint, deployment, self._observe(endpoint, deployment, states, live.others(deployment)))
            if move is not None:
                self.commit(move, version, live.revisions)
                going_on = [*live.others(deployment), move.deployment]
                self._show(move.endpoint, _named(going_on, move.endpoint), roles)
                self._ensure(move.endpoint, [move.deployment], states)
                return True
        return False

    def commit(self, move: Move, endpoint_version: int, revisions: Mapping[str, int], once: Once | None = None) -> None:
        """Append a move: the endpoint, every deployment that it touches, and its events; or nothing.

        One that gives traffic back takes a snapshot of the moment before along.
        """
        writes = [write("endpoint", move.endpoint.model_key, endpoint_version, move.endpoint)]
        for touched in (move.deployment, *move.ended):
            name = touched.deployment_id
            writes.append(write("deployment", name, revisions[name], touched))
        before = way_back(self._journal, self._clock, self._defaults, move)
        facts = (*move.facts, *before.facts)
        self._journal.append([*writes, *before.writes], facts, actor=move.actor, reason=before.reason, once=once)

    def live(self, endpoint: Endpoint) -> Live:
        """Read the deployments of an endpoint that are going on."""
        found: list[Deployment] = []
        revisions = {}
        for name in endpoint.deployment_ids:
            deployment, revisions[name] = load(self._journal, "deployment", name, Deployment)
            found += [deployment] if deployment is not None else []
        return Live(tuple(found), revisions)

    def show_move(self, move: Move, others: Sequence[Deployment]) -> None:
        """Show the table that a person's move leads to, with nothing asked but the journal: it must not wait."""
        shown = self._board.table(move.endpoint.model_key)
        roles = dict(shown.key_roles) if shown is not None else None
        if roles is None or self._digest(roles) != move.endpoint.keys_digest:
            roles = dict(self._keys.roles())
        self._show(move.endpoint, _named([*others, move.deployment], move.endpoint), roles)

    def _with_keys(self, endpoint: Endpoint, version: int, roles: dict[str, str]) -> tuple[Endpoint, int]:
        """Have the endpoint's table carry the keys that are valid now: a change of keys is a new epoch."""
        digest = self._digest(roles)
        if endpoint.keys_digest == digest:
            return endpoint, version
        changed = endpoint.model_copy(update={"keys_digest": digest, "epoch": endpoint.epoch + 1})
        self._journal.append(
            [write("endpoint", endpoint.model_key, version, changed)], actor=MANAGER, reason="the API keys changed"
        )
        return changed, version + 1

    def _digest(self, roles: dict[str, str]) -> str:
        return hashlib.sha256(json.dumps([sorted(roles.items()), self._keys_required]).encode()).hexdigest()

    def _show(self, endpoint: Endpoint, live: Sequence[Deployment], roles: dict[str, str]) -> None:
        key, shown = endpoint.model_key, self._board.table(endpoint.model_key)
        if shown is not None and shown.epoch >= endpoint.epoch:
            return
        named = {endpoint.stable} | {version for found in live for version in (found.version, found.stable)}
        known = {arm.version: arm.manifest for arm in _arms(shown)}
        manifests = {
            version: known.get(version) or self._catalog.bundle(key, version).validation_hash
            for version in named
            if version
        }
        table = route_table(endpoint, live, manifests, key_roles=roles, key_required=self._keys_required)
        if table is not None:
            self._board.publish(table)

    def _ensure(self, endpoint: Endpoint, live: Iterable[Deployment], states: dict[str, AppState]) -> None:
        own = states.get(serving_app(endpoint), "absent")
        self._open |= endpoint.stable is not None and own != "running"
        if endpoint.route == "single" and endpoint.stable is not None and own in {"absent", "running"}:
            self._backend.ensure_endpoint(endpoint.model_key, endpoint.replicas)
        for deployment in live:
            app = str(deployment.candidate_app)
            if deployment.status == "starting" and states.get(app, "absent") == "absent":
                manifest = self._catalog.bundle(endpoint.model_key, deployment.version).validation_hash
                self._backend.start_candidate(app, endpoint.model_key, deployment.version, manifest)

    def _observe(
        self,
        endpoint: Endpoint,
        deployment: Deployment,
        states: dict[str, AppState],
        others: tuple[Deployment, ...],
    ) -> Observed:
        key, app, mine = endpoint.model_key, deployment.candidate_app or "", serving_app(endpoint)
        state, own = states.get(app, "absent"), states.get(mine, "absent")
        refused = self._board.refusal(key, endpoint.epoch) if mine == POOL_APP else None
        return Observed(
            now_s=self._clock.now_s(),
            app=state,
            app_failure=self._backend.failure(app) if state == "failed" else None,
            endpoint=own if refused is None else "failed",
            endpoint_failure=refused or (self._backend.failure(mine) if own == "failed" else None),
            applied=self._board.applied(key, endpoint.epoch),
            drained=self._board.applied(key, endpoint.epoch, drained=True),
            decision=self._judge(deployment, others),
            others=others,
            replay=self._replays.look(deployment, state),
            new_app=f"{CANDIDATE_PREFIX}{key}-v{deployment.version}-{uuid.uuid4().hex[:8]}",
        )

    def _judge(self, deployment: Deployment, others: tuple[Deployment, ...]) -> Decision | None:
        if deployment.status not in JUDGED:
            self.verdicts.pop(deployment.deployment_id, None)
            return None
        try:
            telemetry = self._monitor.rollout(deployment)
        except Unavailable as error:
            log.warning("no telemetry for %s: %s; holding", deployment.deployment_id, error)
            return None
        verdict = considered(decide(telemetry, deployment, self._clock.now_s()), deployment, others)
        if verdict is not None:
            bundle = self._catalog.bundle(deployment.model_key, deployment.version)
            before = self.verdicts.get(deployment.deployment_id)
            verdict = onwards(self._governance, self._journal, bundle, verdict, before, deployment.requested_by)
            self.verdicts[deployment.deployment_id] = verdict
        return verdict

    def _sweep(self, states: dict[str, AppState], wanted: set[str], keys: set[str]) -> None:
        """Delete apps that nothing in the journal wants, once no replica sends to them any more."""
        for app, state in states.items():
            ours = app == POOL_APP or app.startswith((CANDIDATE_PREFIX, endpoint_app("")))
            if state == "deleting" or app in wanted or not ours:
                continue
            self._open = True  # a candidate that is still wanted is there only while its deployment is going on
            if app.startswith(CANDIDATE_PREFIX) and not self._unused(app, keys):
                continue
            log.info("deleting %s, which nothing wants", app)
            self._backend.delete(app)

    def _unused(self, app: str, keys: set[str]) -> bool:
        owners = [key for key in keys if app.startswith(f"{CANDIDATE_PREFIX}{key}-v")]
        for key in owners:
            endpoint, _ = load(self._journal, "endpoint", key, Endpoint)
            live = self.live(endpoint).deployments if endpoint is not None else ()
            if any(found.candidate_app == app and needs_candidate(found) for found in live):
                return False
            if endpoint is not None and not self._board.applied(key, endpoint.epoch, drained=True):
                return False
        return True


def serving_app(endpoint: Endpoint) -> str:
    """Name the app that answers for an endpoint: its own, or the pool."""
    return POOL_APP if endpoint.route == "shared" else endpoint_app(endpoint.model_key)


def _named(deployments: Iterable[Deployment], endpoint: Endpoint) -> list[Deployment]:
    """Keep those that are going on after a move, in the endpoint's order."""
    by_id = {found.deployment_id: found for found in deployments}
    return [by_id[name] for name in endpoint.deployment_ids if name in by_id]


def _arms(table: RouteTable | None) -> tuple[Arm, ...]:
    return () if table is None else (*table.arms, *table.warm, *((table.shadow,) if table.shadow else ()))

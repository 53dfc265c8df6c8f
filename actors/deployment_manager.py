"""Deployments: what people ask for, and the loop that makes it so.

What survives a restart: everything, because goals and steps are in the journal. What does not: the latest HOLD verdicts
and the list of live replicas; both are back within seconds. The rules are in ``mldl_ray.deployment``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from actors.reconciler import JUDGED, MOST_ENDPOINTS, Reconciler, Watcher, serving_app
from actors.replica_calls import ReplicaCalls
from actors.route_board import RouteBoard
from contracts.errors import Conflict, Incompatible, MldlError, NotFound, Unavailable
from contracts.events import Fact
from contracts.ports import Clock, Document, Journal, Once, ServingBackend
from contracts.records import TrainedBundle
from contracts.rollouts import Change, Deployment, Endpoint
from contracts.specs import DeploymentSpec, Json
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.bridges.governance_acts import ask, warn
from mldl_ray.deployment.beside import check_join
from mldl_ray.deployment.by_hand import hold, promote, resume, roll_back
from mldl_ray.deployment.density import routed
from mldl_ray.deployment.moves import Move
from mldl_ray.deployment.plan import steps_of, strategy_of
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, load, write
from mldl_ray.registry.catalog import Catalog
from mldl_ray.settings import Settings
from mldl_ray.snapshots.capture import recorded

log = logging.getLogger(__name__)
T = TypeVar("T")
Decide = Callable[[Endpoint, Deployment, tuple[Deployment, ...]], Move]
TRIES = 5
"""Of a decision whose documents somebody else wrote between its reading and its append."""


class DeploymentManager(ReplicaCalls):
    """Keep every endpoint's traffic at what the journal says it should be.

    A plain class: tests build it directly, ``compose`` wraps it as a detached actor. It holds nothing that the
    journal lacks, so a restart at any line loses nothing. The verbs only write the goal; the loop acts on it.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        backend: ServingBackend,
        monitor: Watcher,
        governance: EmbeddedGovernance,
        clock: Clock,
        *,
        autostart: bool = False,
    ) -> None:
        self._settings, self._journal, self._backend = settings, journal, backend
        self._governance, self._clock = governance, clock
        self._catalog, self._board = Catalog(journal), RouteBoard()
        defaults = recorded(settings.mldl)
        self.reconciler = Reconciler(
            journal, backend, monitor, self._board, clock, keys_required=settings.keys_required, defaults=defaults
        )
        self._turns = asyncio.Lock()
        self._wake = asyncio.Event()
        self._loop_task = asyncio.get_running_loop().create_task(self._run()) if autostart else None

    # What people ask for

    async def deploy(
        self,
        model_key: str,
        version: str,
        spec: DeploymentSpec,
        *,
        by: str,
        reason: str = "",
        once: Once | None = None,
    ) -> Deployment:
        """Have a version take over an endpoint, as its spec says; the answer is the goal, not its end.

        Raises:
            NotFound: No such version.
            Conflict: Policy forbids it (the reasons are listed), it serves already, or another rollout is live.
        """
        return await self._acting(lambda: self._deploy(model_key, version, spec, by, reason, once))

    async def promote(
        self, deployment_id: str, *, to_pct: float | None = None, reason: str, by: str, once: Once | None = None
    ) -> Deployment:
        """Go on without waiting for the evidence.

        Raises:
            Conflict: It is not between steps, has no such step, other candidates leave no room for it, or policy
                forbids it.
        """

        def move(endpoint: Endpoint, deployment: Deployment, others: tuple[Deployment, ...]) -> Move:
            now_s = self._clock.now_s()
            moved = promote(endpoint, deployment, to_pct, now_s=now_s, actor=by, reason=reason, others=others)
            bundle = self._catalog.bundle(deployment.model_key, deployment.version)
            ask(self._governance, self._journal, "promote", bundle, by)
            return moved

        return await self._acting(lambda: self._by_hand(deployment_id, move, once))

    async def rollback(self, deployment_id: str, *, reason: str, by: str, once: Once | None = None) -> Deployment:
        """Give its traffic back to the version before, from any state. Policy can only warn, afterwards.

        Raises:
            Conflict: There is nothing of it to roll back.
        """

        def move(endpoint: Endpoint, deployment: Deployment, others: tuple[Deployment, ...]) -> Move:
            now_s = self._clock.now_s()
            return roll_back(endpoint, deployment, now_s=now_s, actor=by, reason=reason, others=others)

        found = await self._acting(lambda: self._by_hand(deployment_id, move, once))
        await asyncio.to_thread(lambda: self._warned(found, by))
        return found

    async def hold(self, deployment_id: str, *, reason: str, by: str, once: Once | None = None) -> Deployment:
        """Keep a rollout where it is, whatever the evidence, unless that shows harm.

        Raises:
            Conflict: It is held already, or in a state that cannot be held.
        """

        def move(endpoint: Endpoint, deployment: Deployment, others: tuple[Deployment, ...]) -> Move:
            return hold(endpoint, deployment, now_s=self._clock.now_s(), actor=by, reason=reason, others=others)

        return await self._acting(lambda: self._by_hand(deployment_id, move, once))

    async def resume(self, deployment_id: str, *, reason: str, by: str, once: Once | None = None) -> Deployment:
        """Let a held rollout go on by the evidence.

        Raises:
            Conflict: Nobody holds it.
        """

        def move(endpoint: Endpoint, deployment: Deployment, others: tuple[Deployment, ...]) -> Move:
            return resume(endpoint, deployment, now_s=self._clock.now_s(), actor=by, reason=reason, others=others)

        return await self._acting(lambda: self._by_hand(deployment_id, move, once))

    async def scale(self, model_key: str, replicas: int, *, reason: str, by: str, once: Once | None = None) -> Json:
        """Have an endpoint run with another number of replicas; the answer shows the goal and how many live now.

        The number is the endpoint's own: it stays through deployments, rollbacks and restarts. The number that it has
        already is answered in the same way, and nothing is written.

        Raises:
            NotFound: Nothing serves that model_key, and nothing is about to.
        """
        await self._acting(lambda: self._scale(model_key, replicas, by, reason, once))
        return next(found for found in await self.endpoints() if found["model_key"] == model_key)

    async def keys_changed(self) -> None:
        """Send every endpoint the API keys that are valid now."""
        await self._acting(self.reconciler.publish)

    # What people see

    async def deployment(self, deployment_id: str) -> Deployment:
        """Give a deployment, with the verdict of this moment last.

        Raises:
            NotFound: No such deployment.
        """
        return await asyncio.to_thread(lambda: self._view(self._known(deployment_id)[0]))

    async def deployments(self, *, model_key: str | None = None, limit: int = 50) -> list[Deployment]:
        """List deployments, newest first."""

        def find() -> list[Deployment]:
            found = [Deployment.model_validate(d.body) for d in self._journal.scan("deployment", limit=10_000)]
            mine = [self._view(d) for d in found if model_key in {None, d.model_key}]
            return sorted(mine, key=lambda d: d.created_at_s, reverse=True)[:limit]

        return await asyncio.to_thread(find)

    async def endpoints(self) -> list[Json]:
        """List endpoints: what each should serve, and whether every replica has it."""

        def find() -> list[Json]:
            states = self._backend.states()
            goals = [Endpoint.model_validate(d.body) for d in self._journal.scan("endpoint", limit=10_000)]
            return [
                goal.model_dump(mode="json", exclude={"salt", "keys_digest"})
                | {
                    "applied": self._board.applied(goal.model_key, goal.epoch),
                    "live_replicas": len(self._board.live(goal.model_key)),
                    "app_state": states.get(serving_app(goal), "absent"),
                }
                for goal in goals
            ]

        return await asyncio.to_thread(find)

    # The loop

    async def turn(self) -> bool:
        """Look at everything once and do what is due; say whether anything moved."""
        async with self._turns:
            return await asyncio.to_thread(self.reconciler.turn)

    async def _look(self) -> bool:
        """Turn, unless the last turn left nothing open and the journal is where it was."""
        return False if await asyncio.to_thread(self.reconciler.idle) else await self.turn()

    async def _run(self) -> None:
        """Turn for ever: soon after something moved or was asked, otherwise every ``tick_s``."""
        while True:
            try:
                if not await self._look():
                    await asyncio.wait_for(self._wake.wait(), self._settings.mldl.deployment.tick_s)
            except TimeoutError:
                pass
            except Unavailable as error:
                log.warning("waiting for another part: %s", error)
                await asyncio.sleep(self._settings.mldl.deployment.tick_s)
            except Exception:  # the loop is what keeps traffic right: it reports and goes on
                log.exception("a turn of the deployment loop failed")
                await asyncio.sleep(1.0)
            self._wake.clear()

    async def _acting(self, act: Callable[[], T]) -> T:
        """Do something that writes, and have the loop look at once.

        It does not wait for a turn that is going on, which may be waiting for Serve. Whoever of the two writes second
        is refused by the journal, because what it had read has changed: the turn looks again, and so does this.
        """
        try:
            return await asyncio.to_thread(lambda: _again_after_races(act))
        finally:
            self._wake.set()

    # Rules of the verbs

    def _deploy(
        self, model_key: str, version: str, spec: DeploymentSpec, by: str, reason: str, once: Once | None
    ) -> Deployment:
        if (known := first_answer(self._journal, once)) is not None:
            return _deployment_of(known.documents)
        # read before the version: whoever retires a version writes the endpoint too (registry.life)
        endpoint, revision = load(self._journal, "endpoint", model_key, Endpoint)
        bundle = self._catalog.bundle(model_key, self._catalog.resolve(model_key, version))
        self._allowed(bundle, spec, by)
        goal = endpoint or Endpoint(model_key=model_key, salt=secrets.token_hex(8))
        goal = goal.model_copy(update={"replicas": spec.replicas or goal.replicas})
        goal = routed(goal, spec.route, self._pooled, self._settings.mldl.deployment.pool_models)
        asked = self._new_deployment(goal, bundle, spec, by, reason, once)
        self._free(goal, asked)
        going_on = (*goal.deployment_ids, asked.deployment_id)
        fact = Fact(
            type="MLDL_DEPLOYMENT_REQUESTED",
            subject=asked.deployment_id,
            data={"model_key": model_key, "version": asked.version, "strategy": asked.strategy},
        )
        receipt = self._journal.append(
            [
                write("endpoint", model_key, revision, goal.model_copy(update={"deployment_ids": going_on})),
                write("deployment", asked.deployment_id, 0, asked),
            ],
            [fact],
            actor=by,
            reason=reason or f"deploy {model_key} {asked.version}",
            once=once,
        )
        return _deployment_of(receipt.documents)

    def _allowed(self, bundle: TrainedBundle, spec: DeploymentSpec, by: str) -> None:
        if bundle.task == "generation":
            raise Incompatible(
                f"{bundle.model_key} {bundle.version} makes rows and answers none, so it cannot be deployed; ask it "
                "for samples instead",
                {"task": bundle.task},
            )
        if bundle.status != "registered":
            raise Conflict(f"{bundle.model_key} {bundle.version} is {bundle.status}; it cannot be deployed")
        ask(self._governance, self._journal, "deploy", bundle, by)

    def _warned(self, gone_back: Deployment, by: str) -> None:
        if gone_back.stable is None:
            return
        try:
            bundle = self._catalog.bundle(gone_back.model_key, gone_back.stable)
            warn(self._governance, self._journal, bundle, by)
        except MldlError as error:  # the rollback is done; whatever hinders the warning must not make it look failed
            log.warning("what policy says of the version gone back to is not known: %s", error)

    def _pooled(self) -> int:
        goals = [Endpoint.model_validate(d.body) for d in self._journal.scan("endpoint", limit=MOST_ENDPOINTS)]
        return sum(goal.route == "shared" and bool(goal.stable or goal.deployment_ids) for goal in goals)

    def _free(self, endpoint: Endpoint, asked: Deployment) -> None:
        live = self.reconciler.live(endpoint).deployments
        check_join(endpoint, asked.spec, asked.version, asked.steps[0], live)
        if endpoint.stable == asked.version:
            raise Conflict(f"{endpoint.model_key} {asked.version} is what serves already", {"version": asked.version})

    def _new_deployment(
        self, endpoint: Endpoint, bundle: TrainedBundle, spec: DeploymentSpec, by: str, reason: str, once: Once | None
    ) -> Deployment:
        defaults, now_s = self._settings.mldl.deployment, self._clock.now_s()
        strategy = strategy_of(spec, endpoint.stable)
        window_s = defaults.promotion_window if spec.promotion_window is None else spec.promotion_window
        bake_s = defaults.bake_window if spec.bake_window is None else spec.bake_window
        why = reason or "asked for"
        return Deployment(
            deployment_id=new_id("dep", once),
            model_key=bundle.model_key,
            version=str(bundle.version),
            spec=spec,
            strategy=strategy,
            status="requested",
            stable=endpoint.stable,
            steps=steps_of(spec, defaults, strategy),
            promotion_window_s=window_s,
            bake_window_s=bake_s,
            history=(Change(at_s=now_s, status="requested", traffic={}, actor=by, reason=why),),
            requested_by=by,
            created_at_s=now_s,
        )

    def _scale(self, model_key: str, replicas: int, by: str, reason: str, once: Once | None) -> None:
        if first_answer(self._journal, once) is not None:
            return
        endpoint, revision = load(self._journal, "endpoint", model_key, Endpoint)
        if endpoint is None:
            raise NotFound(f"there is no endpoint {model_key!r}; list them with GET /endpoints, or deploy a version")
        if endpoint.replicas == replicas:
            return
        change = {"model_key": model_key, "from": endpoint.replicas, "to": replicas}
        self._journal.append(
            [write("endpoint", model_key, revision, endpoint.model_copy(update={"replicas": replicas}))],
            [Fact(type="MLDL_ENDPOINT_SCALED", subject=model_key, data=change)],
            actor=by,
            reason=reason,
            once=once,
        )

    def _by_hand(self, deployment_id: str, decide: Decide, once: Once | None) -> Deployment:
        if (known := first_answer(self._journal, once)) is not None:
            return _deployment_of(known.documents)
        deployment, revision = self._known(deployment_id)
        endpoint, version = load(self._journal, "endpoint", deployment.model_key, Endpoint)
        if endpoint is None:
            raise Conflict(f"endpoint {deployment.model_key} is gone; there is nothing to act on")
        live = self.reconciler.live(endpoint)
        others = live.others(deployment)
        move = decide(endpoint, deployment, others)
        self.reconciler.commit(move, version, live.revisions | {deployment_id: revision}, once)
        self.reconciler.show_move(move, others)
        return move.deployment

    def _known(self, deployment_id: str) -> tuple[Deployment, int]:
        found, version = load(self._journal, "deployment", deployment_id, Deployment)
        if found is None:
            raise NotFound(f"there is no deployment {deployment_id!r}; list them with GET /deployments")
        return found, version

    def _view(self, deployment: Deployment) -> Deployment:
        verdict = self.reconciler.verdicts.get(deployment.deployment_id)
        if verdict is None or verdict.verdict != "HOLD" or deployment.status not in JUDGED:
            return deployment
        return deployment.model_copy(update={"decisions": (*deployment.decisions, verdict)})


def _deployment_of(documents: Sequence[Document]) -> Deployment:
    body = next(document.body for document in documents if document.kind == "deployment")
    return Deployment.model_validate(body)


def _again_after_races(act: Callable[[], T]) -> T:
    for _ in range(TRIES - 1):
        try:
            return act()
        except Conflict as error:
            if "expected_version" not in error.facts:
                raise
    return act()

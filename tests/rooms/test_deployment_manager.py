"""The manager's verbs and its loop, on a journal in memory, with replicas that apply what they are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from actors.deployment_manager import DeploymentManager
from contracts.errors import Conflict, NotFound
from contracts.ports import Once, endpoint_app
from contracts.records import ApiKey, Policy, TrainedBundle
from contracts.replays import RecentRows
from contracts.rollouts import ArmTelemetry, Deployment, Endpoint, RolloutTelemetry
from contracts.specs import DeploymentSpec
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import load, write
from mldl_ray.settings import load_settings
from serve.memory_backend import MemoryServing

T = TypeVar("T")
KEY = "income"
SPEC = DeploymentSpec(canary_steps=(10, 100), promotion_window=10, bake_window=5)


class Counts:
    """A monitor that reports what the test tells it to."""

    def __init__(self) -> None:
        self.errors, self.requests = 0, 0
        self.asked = RecentRows(source="none", why="nobody asked")

    def rollout(self, deployment: Deployment) -> RolloutTelemetry:
        epoch = deployment.first_epoch or 0
        stable = self._arm(str(deployment.stable), epoch, self.requests * 9, 0)
        candidate = self._arm(deployment.version, epoch, self.requests, self.errors)
        return RolloutTelemetry(deployment_id=deployment.deployment_id, stable=(stable,), candidate=(candidate,))

    def recent(self, model_key: str, version: str, limit: int) -> RecentRows:
        return self.asked

    @staticmethod
    def _arm(version: str, epoch: int, requests: int, errors: int) -> ArmTelemetry:
        counts = [0] * (len(LATENCY_EDGES_MS) + 1)
        counts[50] = requests
        return ArmTelemetry(
            version=version,
            epoch=epoch,
            share=0.1,
            requests=requests,
            errors=errors,
            errors_in_a_row=errors,
            latency_counts=tuple(counts),
            keys=requests,
        )


class World:
    """A manager with everything around it."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.journal = MemoryJournal(self.clock)
        self.serving: MemoryServing = MemoryServing()
        self.counts = Counts()
        self.start()
        policy = Policy(approvals_required=0)
        self.journal.append([write("policy", "default", 0, policy)], actor="t", reason="t")
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            self.register(version)

    def start(self) -> None:
        """Begin with an empty memory, as after a crash."""
        self.manager = DeploymentManager(
            load_settings({}, home="/nowhere"),
            self.journal,
            self.serving,
            self.counts,
            EmbeddedGovernance(self.journal, self.clock),
            self.clock,
        )

    def register(self, version: str) -> None:
        digest = "sha256:" + version.replace(".", "").rjust(64, "0")
        bundle = TrainedBundle(
            model_key=KEY, version=version, artifact_uri=f"blobs:{digest}", validation_hash=digest, created_at="now"
        )
        self.journal.append([write("model_version", f"{KEY}@{version}", 0, bundle)], actor="t", reason="t")

    async def deploy(self, version: str, spec: DeploymentSpec = SPEC, **more: Any) -> Deployment:
        return await self.manager.deploy(KEY, version, spec, by="ann", **more)

    async def settle(self, deployment_id: str, *, until: str, turns: int = 20) -> Deployment:
        """Let the loop turn, with one replica that applies each table, until a state is reached."""
        for _ in range(turns):
            await self.manager.turn()
            await self.apply()
            found = await self.manager.deployment(deployment_id)
            if found.status == until:
                return found
        raise AssertionError(f"{found.status}, not {until}: {found.history[-1].reason}")

    async def apply(self) -> None:
        for goal in await self.manager.endpoints():
            await self.manager.acknowledge(KEY, "replica", goal["epoch"], True)

    async def served(self, *versions: str) -> None:
        for version in versions:
            asked = await self.deploy(version, SPEC.model_copy(update={"strategy": "blue_green", "bake_window": 0}))
            await self.settle(asked.deployment_id, until="succeeded")
            self.clock.advance(1)

    def endpoint(self) -> Endpoint:
        found, _ = load(self.journal, "endpoint", KEY, Endpoint)
        assert found is not None
        return found


def story(told: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def test() -> None:
        async def tell() -> None:
            await told(World())

        asyncio.run(tell())

    test.__name__, test.__doc__ = told.__name__, told.__doc__
    return test


@story
async def test_the_first_version_serves_alone(world: World) -> None:
    asked = await world.deploy("1.0.0")
    ended = await world.settle(asked.deployment_id, until="succeeded")
    assert ended.history[-1].traffic == {"1.0.0": 1.0}
    assert world.serving.states() == {endpoint_app(KEY): "running"}


@story
async def test_a_harmless_canary_is_promoted_and_its_app_deleted(world: World) -> None:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    await world.settle(asked.deployment_id, until="canary")
    world.counts.requests = 2000
    world.clock.advance(11)
    await world.settle(asked.deployment_id, until="baking")
    world.clock.advance(6)
    await world.settle(asked.deployment_id, until="succeeded")
    for _ in range(3):
        await world.manager.turn()
    assert world.endpoint().stable == "1.1.0"
    assert set(world.serving.states()) == {endpoint_app(KEY)}


@story
async def test_a_failing_canary_gives_all_traffic_back_to_stable(world: World) -> None:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    await world.settle(asked.deployment_id, until="canary")
    world.counts.requests, world.counts.errors = 10, 10
    ended = await world.settle(asked.deployment_id, until="rolled_back")
    assert world.endpoint().stable == "1.0.0"
    assert ended.history[-1].traffic == {"1.0.0": 1.0}
    assert ended.decisions[-1].verdict == "ROLLBACK"
    kinds = [event.type for event in world.journal.events(subject=asked.deployment_id)]
    assert kinds[-3:] == ["ROLLBACK_REQUESTED", "MLDL_VIOLATION", "MLDL_DEPLOYMENT_ROLLED_BACK"]


@story
async def test_without_traffic_a_canary_holds_and_says_so(world: World) -> None:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    await world.settle(asked.deployment_id, until="canary")
    world.clock.advance(3600)
    await world.manager.turn()
    held = await world.manager.deployment(asked.deployment_id)
    assert (held.status, held.decisions[-1].verdict) == ("canary", "HOLD")


@story
async def test_a_candidate_that_does_not_start_leaves_stable_alone(world: World) -> None:
    await world.served("1.0.0")
    world.serving.fail_next("it is broken", manifest="sha256:" + "110".rjust(64, "0"))
    asked = await world.deploy("1.1.0")
    ended = await world.settle(asked.deployment_id, until="failed")
    assert "it is broken" in ended.history[-1].reason
    assert (world.endpoint().stable, world.endpoint().deployment_ids) == ("1.0.0", ())


@story
async def test_a_manager_that_died_anywhere_goes_on_where_it_was(world: World) -> None:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    world.counts.requests = 2000
    for _ in range(12):
        world.start()
        await world.apply()
        await world.manager.turn()
        await world.apply()
        world.clock.advance(11)
    assert (await world.manager.deployment(asked.deployment_id)).status == "succeeded"
    assert world.endpoint().stable == "1.1.0"


@story
async def test_an_app_that_nothing_wants_is_deleted(world: World) -> None:
    await world.served("1.0.0")
    world.serving.start_candidate("m-income-v9.9.9-lost", KEY, "9.9.9", "sha256:0")
    for _ in range(3):
        await world.manager.turn()
    assert set(world.serving.states()) == {endpoint_app(KEY)}


@story
async def test_a_second_rollout_must_wait_for_the_first(world: World) -> None:
    await world.served("1.0.0")
    await world.deploy("1.1.0")
    with pytest.raises(Conflict, match="still going on"):
        await world.deploy("1.2.0")


@story
async def test_what_serves_already_is_not_deployed_again(world: World) -> None:
    await world.served("1.0.0")
    with pytest.raises(Conflict, match="serves already"):
        await world.deploy("1.0.0")


@story
async def test_the_same_request_twice_is_one_deployment(world: World) -> None:
    once = Once(key="k", digest="d")
    first = await world.deploy("1.0.0", once=once)
    again = await world.deploy("1.0.0", once=once)
    assert first == again
    with pytest.raises(Conflict, match="different request"):
        await world.deploy("1.1.0", once=Once(key="k", digest="other"))


@story
async def test_an_unknown_version_is_refused(world: World) -> None:
    with pytest.raises(NotFound, match=r"1\.2\.0"):
        await world.deploy("7.0.0")
    with pytest.raises(NotFound):
        await world.manager.rollback("dep-none", reason="r", by="ann")


@story
async def test_policy_can_forbid_a_deployment_and_the_refusal_is_recorded(world: World) -> None:
    _, version = load(world.journal, "policy", "default", Policy)
    world.journal.append([write("policy", "default", version, Policy(approvals_required=2))], actor="t", reason="t")
    with pytest.raises(Conflict, match="policy forbids"):
        await world.deploy("1.0.0")
    assert world.journal.events(types=["MLDL_VIOLATION"])[-1].data["version"] == "1.0.0"


@story
async def test_a_finished_rollout_is_rolled_back_by_hand_without_asking_policy(world: World) -> None:
    await world.served("1.0.0", "1.1.0")
    _, version = load(world.journal, "policy", "default", Policy)
    world.journal.append([write("policy", "default", version, Policy(approvals_required=5))], actor="t", reason="t")
    last = (await world.manager.deployments(model_key=KEY))[0]
    await world.manager.rollback(last.deployment_id, reason="complaints", by="ann")
    ended = await world.settle(last.deployment_id, until="rolled_back")
    assert world.endpoint().stable == "1.0.0"
    assert "complaints" in [change.reason for change in ended.history]


@story
async def test_a_new_key_reaches_replicas_as_a_new_epoch(world: World) -> None:
    await world.served("1.0.0")
    before = world.endpoint().epoch
    key = ApiKey(key_id="key-1", name="ann", role="viewer", sha256="a" * 64, created_at_s=0)
    world.journal.append([write("api_key", "key-1", 0, key)], actor="t", reason="t")
    await world.manager.keys_changed()
    table = await world.manager.watch(KEY, "replica", before, True)
    assert table is not None
    assert (table.epoch, table.key_roles) == (before + 1, {"a" * 64: "viewer"})


@story
async def test_a_restored_endpoint_is_shown_to_replicas(world: World) -> None:
    await world.served("1.0.0", "1.1.0")
    own, version = load(world.journal, "endpoint", KEY, Endpoint)
    assert own is not None
    goal = own.model_copy(update={"stable": "1.0.0", "epoch": own.epoch + 1})
    world.journal.append([write("endpoint", KEY, version, goal)], actor="restore", reason="r")
    await world.manager.turn()
    table = await world.manager.watch(KEY, "replica", own.epoch, True)
    assert table is not None
    assert table.stable.version == "1.0.0"


@story
async def test_an_endpoint_restored_to_serve_nothing_is_deleted_and_can_serve_again(world: World) -> None:
    await world.served("1.0.0")
    own, version = load(world.journal, "endpoint", KEY, Endpoint)
    assert own is not None
    goal = own.model_copy(update={"stable": None, "epoch": own.epoch + 1})
    world.journal.append([write("endpoint", KEY, version, goal)], actor="restore", reason="r")
    for _ in range(3):
        await world.manager.turn()
    assert world.serving.states() == {}
    again = await world.deploy("1.1.0")
    assert (await world.settle(again.deployment_id, until="succeeded")).version == "1.1.0"


@story
async def test_an_endpoint_that_was_withdrawn_is_deleted(world: World) -> None:
    await world.served("1.0.0")
    _, version = load(world.journal, "endpoint", KEY, Endpoint)
    withdrawal = write("endpoint", KEY, version, world.endpoint()).model_copy(update={"body": None})
    world.journal.append([withdrawal], actor="restore", reason="r")
    for _ in range(3):
        await world.manager.turn()
    assert world.serving.states() == {}
    again = await world.deploy("1.1.0")
    assert (await world.settle(again.deployment_id, until="succeeded")).version == "1.1.0"

"""Every rollback of a rollout takes a snapshot of the moment before along, and never fails for it."""

from __future__ import annotations

from typing import Any

from actors.deployment_manager import DeploymentManager
from actors.snapshot_store import SnapshotStore
from contracts.errors import Broken, Unavailable
from contracts.ports import Once, Seal
from contracts.records import Snapshot
from contracts.rollouts import Deployment
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_settings
from mldl_ray.snapshots import snapshots
from tests.rooms.test_deployment_manager import World, story


class Sealless(MemoryJournal):
    """A journal whose chain cannot be looked at."""

    trouble: type[Broken | Unavailable] = Unavailable

    def seal(self, *args: Any, **options: Any) -> Seal:
        raise self.trouble("its end cannot be read")


class Careful(MemoryJournal):
    """A journal that notes what it is asked to count."""

    counted: list[Any]

    def seal(self, kinds: Any = (), **options: Any) -> Seal:
        self.counted.append(tuple(kinds))
        return super().seal(kinds, **options)


def taken(world: World) -> list[Snapshot]:
    return [found for found in snapshots(world.journal) if found.kind == "before_rollback"]


async def canary(world: World) -> Deployment:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    return await world.settle(asked.deployment_id, until="canary")


def with_journal(world: World, journal: MemoryJournal) -> World:
    """Put another journal, with the same past, under the manager."""
    journal.__dict__.update(vars(world.journal))
    world.journal = journal
    world.start()
    return world


@story
async def test_a_rollback_by_hand_takes_a_snapshot_in_the_same_append(world: World) -> None:
    rollout = await canary(world)
    position = world.journal.position()
    await world.manager.rollback(rollout.deployment_id, reason="it is slow", by="ann")
    (found,) = taken(world)
    assert (found.position, found.created_by) == (position, "ann")
    assert found.reason == f"before the rollback of {rollout.deployment_id}, income 1.1.0"
    document = world.journal.read("snapshot", found.snapshot_id)
    assert document is not None
    assert (document.position, document.reason) == (position + 1, "it is slow")


@story
async def test_an_automatic_rollback_takes_one_too(world: World) -> None:
    rollout = await canary(world)
    world.counts.requests, world.counts.errors = 10, 10
    await world.settle(rollout.deployment_id, until="rolled_back")
    (found,) = taken(world)
    assert found.created_by == "deployment-manager"


@story
async def test_the_end_of_a_first_version_that_is_called_off_takes_one_too(world: World) -> None:
    asked = await world.deploy("1.0.0")
    await world.manager.rollback(asked.deployment_id, reason="not yet", by="ann")
    assert len(taken(world)) == 1


@story
async def test_no_other_move_of_a_rollout_takes_one(world: World) -> None:
    rollout = await canary(world)
    await world.manager.hold(rollout.deployment_id, reason="lunch", by="ann")
    await world.manager.resume(rollout.deployment_id, reason="back", by="ann")
    await world.manager.promote(rollout.deployment_id, reason="go", by="ann")
    assert taken(world) == []


@story
async def test_a_rollback_repeated_with_its_key_takes_one_snapshot(world: World) -> None:
    rollout, once = await canary(world), Once(key="k", digest="d")
    for _ in range(2):
        await world.manager.rollback(rollout.deployment_id, reason="it is slow", by="ann", once=once)
    assert len(taken(world)) == 1


@story
async def test_the_way_back_leads_to_what_served_before_the_rollback(world: World) -> None:
    await world.served("1.0.0", "1.1.0")
    last = (await world.manager.deployments())[0]
    await world.manager.rollback(last.deployment_id, reason="a mistake", by="ann")
    await world.settle(last.deployment_id, until="rolled_back")
    assert world.endpoint().stable == "1.0.0"
    store = SnapshotStore(world.journal, MemoryBlobs(), world.clock)
    store.restore(taken(world)[0].snapshot_id, reason="it was none", by="ann", force=True)
    assert world.endpoint().stable == "1.1.0"


@story
async def test_a_journal_that_cannot_be_sealed_does_not_keep_a_rollback_from_happening(world: World) -> None:
    for trouble in (Unavailable, Broken):
        rollout = await canary(fresh := World())
        journal = Sealless(fresh.clock)
        journal.trouble = trouble
        with_journal(fresh, journal)
        gone_back = await fresh.manager.rollback(rollout.deployment_id, reason="it is slow", by="ann")
        assert gone_back.status == "rolling_back"
        document = fresh.journal.read("deployment", rollout.deployment_id)
        assert document is not None
        assert document.reason == (
            "it is slow (no snapshot of the moment before could be taken: its end cannot be read)"
        )
        assert taken(fresh) == []


@story
async def test_it_costs_one_look_at_the_chain_and_counts_no_documents(world: World) -> None:
    rollout = await canary(world)
    journal = Careful(world.clock)
    journal.counted = []
    with_journal(world, journal)
    await world.manager.rollback(rollout.deployment_id, reason="it is slow", by="ann")
    assert journal.counted == [()]


@story
async def test_it_records_the_settings_without_addresses(world: World) -> None:
    rollout = await canary(world)
    settings = load_settings({}, home="/nowhere")
    parts = (world.journal, world.serving, world.counts, EmbeddedGovernance(world.journal, world.clock), world.clock)
    world.manager = DeploymentManager(settings, *parts)
    await world.manager.rollback(rollout.deployment_id, reason="it is slow", by="ann")
    recorded = taken(world)[0].settings
    assert recorded["deployment"]["promotion_window"] == settings.mldl.deployment.promotion_window
    assert "bridges" not in recorded


@story
async def test_the_timetable_keeps_as_many_of_them_as_of_any_automatic_kind(world: World) -> None:
    rollout = await canary(world)
    await world.manager.rollback(rollout.deployment_id, reason="it is slow", by="ann")
    await world.settle(rollout.deployment_id, until="rolled_back")
    mldl = load_settings({}, home="/nowhere").mldl
    kept = mldl.model_copy(update={"snapshots": mldl.snapshots.model_copy(update={"keep": 1})})
    store = SnapshotStore(world.journal, MemoryBlobs(), world.clock, kept)
    named = store.export(reason="mine", by="ann").snapshot_id
    store.restore(named, reason="nothing changed", by="ann")
    store.tick()
    assert len(taken(world)) == 1
    assert named in {found.snapshot_id for found in store.snapshots()}

"""Which job starts next: by priority, then fairly between people, then by age; and nobody waits for ever."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.records import Job
from contracts.specs import JobSpec, TrialResources
from mldl_ray.training.queue import Queue, lacking

RECENT_S = 100.0
AT_ONCE = 2


def job_of(name: str, by: str = "ana", *, at_s: float = 0, priority: int = 0, began_at_s: float | None = None) -> Job:
    wanted = JobSpec.model_validate({"spec": {"model_key": "m", "family": "lr"}, "priority": priority})
    return Job(
        job_id=name,
        status="queued" if began_at_s is None else "running",
        job=wanted,
        requested_by=by,
        created_at_s=at_s,
        began_at_s=began_at_s,
    )


def queue_of(*jobs: Job) -> Queue:
    queue = Queue(RECENT_S)
    for job in jobs:
        queue.add(job)
    return queue


def drained(queue: Queue, now_s: float = 50) -> list[str]:
    """Start all that wait, none of which ends."""
    order = []
    while (job_id := queue.first(now_s)) is not None:
        queue.begun(job_id, now_s)
        order.append(job_id)
    return order


def test_one_persons_jobs_start_in_the_order_in_which_they_came() -> None:
    assert drained(queue_of(*(job_of(name, at_s=at_s) for at_s, name in enumerate("dbca")))) == ["d", "b", "c", "a"]


def test_a_higher_priority_goes_first_whoever_asks() -> None:
    urgent = job_of("urgent", by="cy", at_s=9, priority=3)
    assert drained(queue_of(job_of("a"), job_of("b", by="bo"), job_of("later", priority=-1), urgent)) == [
        "urgent",
        "a",
        "b",
        "later",
    ]


def test_a_flood_from_one_person_leaves_the_next_turn_to_another() -> None:
    flood = [job_of(f"a{n}", at_s=n) for n in range(5)]
    assert drained(queue_of(*flood, job_of("b0", by="bo", at_s=9)))[:3] == ["a0", "b0", "a1"]


def test_a_job_that_ended_counts_until_it_is_no_longer_recent() -> None:
    def first(now_s: float) -> str | None:
        queue = queue_of(job_of("a", at_s=1), job_of("b", by="bo", at_s=2))
        queue.note(job_of("old", began_at_s=0.0).model_copy(update={"status": "succeeded"}))
        return queue.first(now_s)

    assert first(now_s=RECENT_S - 1) == "b"
    assert first(now_s=RECENT_S) == "a"


def test_a_job_that_runs_counts_however_long_ago_it_began() -> None:
    queue = queue_of(job_of("long"))
    queue.begun("long", 0)
    queue.add(job_of("a", at_s=1))
    queue.add(job_of("b", by="bo", at_s=2))
    assert queue.first(now_s=50 * RECENT_S) == "b"
    queue.over("long")
    assert queue.first(now_s=50 * RECENT_S) == "a"


def test_a_job_that_had_begun_goes_before_all_that_have_not() -> None:
    queue = queue_of(job_of("urgent", by="bo", priority=9), job_of("again", at_s=5, priority=-9, began_at_s=6))
    assert drained(queue) == ["again", "urgent"]


def test_a_job_that_is_over_waits_no_longer() -> None:
    queue = queue_of(job_of("a"))
    queue.over("a")
    assert queue.first(0) is None


jobs = st.lists(
    st.builds(
        lambda by, at_s, priority: (by, at_s, priority),
        st.sampled_from(["ana", "bo", "cy"]),
        st.integers(0, 3),
        st.integers(-2, 2),
    ),
    max_size=12,
).map(lambda many: [job_of(f"j{n}", by, at_s=at, priority=p) for n, (by, at, p) in enumerate(many)])


@given(jobs, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_is_the_same_however_the_jobs_were_handed_over(waiting: list[Job], chance: random.Random) -> None:
    shuffled = list(waiting)
    chance.shuffle(shuffled)
    order = drained(queue_of(*shuffled))
    assert order == drained(queue_of(*waiting))
    assert sorted(order) == sorted(job.job_id for job in waiting)


@given(jobs)
@settings(deadline=None)
def test_each_turn_goes_to_one_of_those_who_had_the_fewest(waiting: list[Job]) -> None:
    level = [job.model_copy(update={"job": job.job.model_copy(update={"priority": 0})}) for job in waiting]
    asker = {job.job_id: job.requested_by for job in level}
    order = [asker[job_id] for job_id in drained(queue_of(*level))]
    for taken in range(len(order)):
        turns = {person: order[:taken].count(person) for person in order[taken:]}
        assert turns[order[taken]] == min(turns.values())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60)), min_size=1, max_size=6), st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_nobody_waits_for_ever_however_many_come_after(mine: list[tuple[int, int]], seed: int) -> None:
    """Strangers without a single job so far come faster than jobs end, from the first moment on; mine all start."""
    chance = random.Random(seed)
    queue = queue_of(*(job_of(f"mine{n}", "me", at_s=at) for n, (at, _) in enumerate(mine)))
    lasts = {f"mine{n}": length for n, (_, length) in enumerate(mine)}
    ends: dict[str, float] = {}
    started: set[str] = set()
    longest = len(mine) * (60 + RECENT_S + 60 * 6)
    for now_s in range(5, int(longest)):
        queue.add(job_of(f"other{now_s}", f"stranger{now_s}", at_s=now_s))
        for job_id in [job_id for job_id, end in ends.items() if end <= now_s]:
            del ends[job_id]
            queue.over(job_id)
        while len(ends) < AT_ONCE and (turn := queue.first(now_s)) is not None:
            queue.begun(turn, now_s)
            started.add(turn)
            ends[turn] = now_s + lasts.get(turn, chance.randint(1, 60))
        if set(lasts) <= started:
            return
    raise AssertionError(f"still waiting: {set(lasts) - started}")


def test_a_trial_that_fits_no_machine_is_told_so() -> None:
    machines = [{"CPU": 2.0, "memory": 4e9}]
    assert lacking(TrialResources(), machines) is None
    assert lacking(TrialResources(cpus=2, memory_bytes=2**30), machines) is None
    for wanted in (TrialResources(cpus=3), TrialResources(gpus=0.5), TrialResources(memory_bytes=2**33)):
        assert "no machine has that" in str(lacking(wanted, machines))


@pytest.mark.parametrize(
    "parts",
    [
        {"priority": 10},
        {"priority": -10},
        {"resources": {"cpus": 0}},
        {"resources": {"cpus": 1.5}},
        {"resources": {"gpus": -1}},
        {"resources": {"memory_bytes": 1000}},
    ],
)
def test_priorities_and_resources_have_bounds(parts: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate({"spec": {"model_key": "m", "family": "lr"}} | parts)


@given(jobs, st.integers(0, 12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_queue_made_anew_from_the_records_goes_on_as_the_old_one_would(
    waiting: list[Job], begun: int, chance: random.Random
) -> None:
    queue = queue_of(*waiting)
    records = {job.job_id: job for job in waiting}
    for _ in range(min(begun, len(waiting))):
        job_id = str(queue.first(50))
        queue.begun(job_id, 50)
        ended = chance.random() < 0.5
        records[job_id] = records[job_id].model_copy(
            update={"began_at_s": 50.0, "status": "succeeded" if ended else "running"}
        )
        if ended:
            queue.over(job_id)
    again = Queue(RECENT_S)
    for job in records.values():
        (again.note if job.status == "succeeded" else again.add)(job)
    running = [job_id for job_id, job in records.items() if job.status == "running"]
    order = drained(again, now_s=60)
    assert set(order[: len(running)]) == set(running)
    assert order[len(running) :] == drained(queue, now_s=60)

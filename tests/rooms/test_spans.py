"""Several candidates side by side: none takes another's keys, and none gives its own back while it runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.routing import Arm, RouteTable
from mldl_ray.deployment.spans import Spans, grown, size, unowned

KEYS = [f"person-{i}" for i in range(400)]


def choices(owned: dict[str, Spans]) -> dict[str, str]:
    arms = [Arm(version="stable", manifest="sha256:0", share=0)]
    arms += [Arm(version=name, manifest="sha256:1", share=size(spans), spans=spans) for name, spans in owned.items()]
    table = RouteTable(model_key="m", epoch=1, salt="s", arms=tuple(arms))
    return {key: table.choose(key).version for key in KEYS}


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.333, 0.5, 0.999])
def test_a_single_candidate_owns_the_low_end_whatever_steps_it_came_by(share: float) -> None:
    spans: Spans = ()
    for step in (0.01, 0.03, share):
        spans = grown(spans, [], max(step, size(spans)))
    assert spans == ((0.0, share),)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["grow", "go"]), st.floats(0.01, 0.4)), max_size=12))
def test_a_key_changes_version_only_from_stable_to_who_grows_and_from_who_goes_to_stable(
    story: list[tuple[str, str, float]],
) -> None:
    owned: dict[str, Spans] = {}
    for name, act, more in story:
        before = choices(owned)
        if act == "go":
            owned.pop(name, None)
        else:
            room = 1 - sum(size(spans) for other, spans in owned.items() if other != name)
            others = [spans for other, spans in owned.items() if other != name]
            owned[name] = grown(owned.get(name, ()), others, min(room, size(owned.get(name, ())) + more))
        after = choices(owned)
        moved = {(before[key], after[key]) for key in KEYS if before[key] != after[key]}
        assert moved <= ({(name, "stable")} if act == "go" else {("stable", name)})
        assert size(unowned(owned.values())) == pytest.approx(1 - sum(size(spans) for spans in owned.values()))


def test_all_of_the_space_can_be_owned_and_no_more() -> None:
    first = grown((), [], 0.5)
    second = grown((), [first], 0.5)
    assert unowned([first, second]) == ()
    assert grown((), [first, second], 0.1) == ()


def test_a_table_that_was_kept_on_disk_before_there_could_be_several_is_read() -> None:
    arms = [
        {"version": "1", "manifest": "sha256:a", "share": 0.75, "app": None},
        {"version": "2", "manifest": "sha256:b", "share": 0.25, "app": "m-x"},
    ]
    old = {"model_key": "m", "epoch": 3, "salt": "s", "arms": arms, "shadow": None, "deployment_id": "dep-1"}
    table = RouteTable.model_validate(old)
    assert (table.deployment_ids, table.arms[1].deployment_id, table.arms[1].spans) == (
        ("dep-1",),
        "dep-1",
        ((0.0, 0.25),),
    )
    assert RouteTable.model_validate_json(table.model_dump_json()) == table

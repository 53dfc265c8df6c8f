"""Which version a sticky key gets: always the same, the same everywhere, and each version its share."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from contracts.routing import Arm, RouteTable

keys = st.text(max_size=40) | st.just("\ud800")
salts = st.text(min_size=1, max_size=20)
shares = st.floats(0.0, 1.0)


def table(*candidates: float, salt: str = "s", epoch: int = 1) -> RouteTable:
    arms = [Arm(version="stable", manifest="sha256:0", share=max(0.0, 1 - sum(candidates)))]
    edge = 0.0
    for i, share in enumerate(candidates):
        spans = ((edge, edge + share),)
        arms.append(Arm(version=f"c{i}", manifest=f"sha256:{i}", share=share, spans=spans))
        edge += share
    return RouteTable(model_key="m", epoch=epoch, salt=salt, arms=tuple(arms))


@settings(deadline=None)
@given(keys, salts, shares)
def test_a_key_gets_the_same_version_on_every_replica_and_in_every_epoch(key: str, salt: str, share: float) -> None:
    here = table(share, salt=salt)
    there = RouteTable.model_validate_json(table(share, salt=salt, epoch=9).model_dump_json())
    assert here.choose(key).version == here.choose(key).version == there.choose(key).version


@settings(deadline=None)
@given(keys, salts, shares, shares)
def test_who_is_in_at_a_small_share_stays_in_at_a_larger_one(key: str, salt: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if table(small, salt=salt).choose(key).version == "c0":
        assert table(large, salt=salt).choose(key).version == "c0"


@settings(deadline=None)
@given(keys, salts)
def test_nobody_is_in_at_nought_and_everybody_at_one(key: str, salt: str) -> None:
    assert table(0.0, salt=salt).choose(key).version == "stable"
    assert table(1.0, salt=salt).choose(key).version == "c0"
    assert table(salt=salt).choose(key).version == "stable"


@settings(max_examples=25, deadline=None)
@given(salts, st.floats(0.01, 0.99))
def test_a_version_gets_its_share_of_the_keys(salt: str, share: float) -> None:
    total = 2000
    there = table(share, salt=salt)
    found = sum(there.choose(f"person-{i}").version == "c0" for i in range(total))
    low, high = stats.binom.interval(1 - 1e-9, total, share)
    assert low <= found <= high


@settings(max_examples=10, deadline=None)
@given(salts)
def test_several_candidates_get_their_shares_side_by_side(salt: str) -> None:
    total = 2000
    there = table(0.1, 0.3, salt=salt)
    found = [there.choose(str(i)).version for i in range(total)]
    for version, share in (("c0", 0.1), ("c1", 0.3), ("stable", 0.6)):
        low, high = stats.binom.interval(1 - 1e-9, total, share)
        assert low <= found.count(version) <= high


def test_another_salt_chooses_other_people() -> None:
    one, other = table(0.05, salt="a"), table(0.05, salt="b")
    chosen = [{i for i in range(4000) if t.choose(str(i)).version == "c0"} for t in (one, other)]
    assert len(chosen[0] & chosen[1]) < 30  # 10 are expected where the two choices are independent


def test_the_first_arm_is_stable() -> None:
    assert table(0.2).stable.version == "stable"

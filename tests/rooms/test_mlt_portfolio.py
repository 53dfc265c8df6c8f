"""Where a search begins: configurations chosen together from all that was tried, not the winners one by one."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.records import TrialRecord
from contracts.specs import Json
from mldl_ray.bridges.mlt import experience, warm_starts
from mldl_ray.bridges.mlt_portfolio import LEAST, Tried, as_quantiles, greedy, nearness, portfolio
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from tests.rooms.test_mlt import LARGE, SMALL, learn, trial

GRID: list[Json] = [{"depth": depth, "rate": rate} for depth in range(3, 10) for rate in (0.02, 0.05, 0.1, 0.2)]


def searched(best_depth: float, best_rate: float, distance: float = 1.0, luck: int = 0) -> Tried:
    """Give a search on data that want one depth and one rate; ``luck`` seeds what its folds add."""
    noise = np.random.default_rng(luck).normal(0, 0.3, len(GRID))
    gains = [
        -abs(config["depth"] - best_depth) - 2 * abs(np.log(config["rate"] / best_rate)) + float(extra)
        for config, extra in zip(GRID, noise, strict=True)
    ]
    return Tried(distance, tuple(GRID), tuple(gains))


def chosen(searches: list[Tried], most: int) -> list[Json]:
    return [GRID[place] for place in portfolio(searches, GRID, most=most)]


def test_what_all_searches_say_counts_more_than_the_luck_of_one() -> None:
    (first,) = chosen([searched(5, 0.05, luck=luck) for luck in range(4)], 1)
    assert first["rate"] == 0.05
    assert abs(first["depth"] - 5) <= 1


def test_a_single_lucky_trial_among_bad_ones_is_not_copied() -> None:
    said = searched(4, 0.02)
    lucky = GRID.index({"depth": 9, "rate": 0.2})
    gains = tuple(100.0 if place == lucky else gain for place, gain in enumerate(said.gains))
    (first,) = chosen([Tried(1.0, said.configs, gains)], 1)
    assert first["depth"] <= 6


def test_where_data_want_different_things_the_second_is_for_those_that_the_first_does_not_suit() -> None:
    both = [searched(3, 0.02, luck=luck) for luck in range(3)] + [searched(9, 0.2, luck=luck) for luck in range(3, 6)]
    depths = sorted(config["depth"] for config in chosen(both, 3))
    assert depths[0] <= 4
    assert depths[-1] >= 8


def test_the_nearest_data_decide_what_comes_first() -> None:
    near = searched(3, 0.02, distance=0.2)
    far = [searched(9, 0.2, distance=4.0, luck=luck) for luck in range(1, 5)]
    for searches in ([near, *far], [*far, near]):
        assert chosen(searches, 1)[0]["depth"] <= 4


def test_a_search_of_a_few_trials_has_no_say() -> None:
    short = Tried(0.0, tuple(GRID[: LEAST - 1]), (1.0, 2.0, 3.0, 4.0))
    assert portfolio([short], GRID, most=3) == []
    assert portfolio([], GRID, most=3) == []
    assert portfolio([searched(5, 0.05)], [], most=3) == []


def test_the_same_experience_gives_the_same_portfolio_without_repetition() -> None:
    said = [searched(5, 0.05, luck=luck) for luck in range(3)]
    places = portfolio(said, GRID, most=100)
    assert places == portfolio(said, GRID, most=100)
    assert sorted(places) == list(range(len(GRID)))


def test_the_units_of_a_setting_do_not_matter() -> None:
    def in_thousands(config: Json) -> Json:
        return config | {"rate": config["rate"] * 1000}

    said = [searched(5, 0.05, luck=luck) for luck in range(3)]
    other = [Tried(s.distance, tuple(in_thousands(config) for config in s.configs), s.gains) for s in said]
    assert portfolio(said, GRID, most=5) == portfolio(other, [in_thousands(config) for config in GRID], most=5)


def test_choices_and_settings_that_are_there_now_and_then_are_told_apart() -> None:
    configs: list[Json] = [{"penalty": "l1", "ratio": r / 10} for r in range(6)] + [{"penalty": "ridge"}] * 2
    said = Tried(0.0, tuple(configs), (0.0,) * 6 + (1.0, 1.0))
    assert portfolio([said], [{"penalty": "l1", "ratio": 0.3}, {"penalty": "ridge"}], most=1) == [1]


def test_greedy_takes_what_adds_most_and_then_what_is_best_alone() -> None:
    gains = np.array([[3.0, 2.9, 0.0, 1.0], [0.0, 0.1, 1.0, 0.0]])
    assert greedy(gains, 10) == [0, 2, 1, 3]
    assert greedy(gains, 1) == [0]


def test_quantiles_see_order_alone_and_equal_scores_as_equal() -> None:
    assert as_quantiles([1, 1e9, -5]).tolist() == as_quantiles([0.2, 0.3, 0.1]).tolist()
    low, high = as_quantiles([0.5, 0.5])
    assert low == high == 0.0


def test_a_search_counts_less_the_further_its_data_are() -> None:
    assert [nearness(d) for d in (0.0, 1.0, 3.0)] == sorted((nearness(d) for d in (0.0, 1.0, 3.0)), reverse=True)


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SettableClock())


def remember(journal: MemoryJournal, job_id: str, meta: Json, said: Tried) -> Json:
    """Leave the experience of a search, and give its winner."""
    trials = tuple(
        trial(f"t{n:02}", config, gain) for n, (config, gain) in enumerate(zip(said.configs, said.gains, strict=True))
    )
    winner = dict(said.configs[int(np.argmax(said.gains))])
    learn(journal, job_id, meta, winner, trials=trials)
    return winner


def test_a_new_job_begins_with_the_portfolio_of_what_all_jobs_tried(journal: MemoryJournal) -> None:
    far = SMALL | {"rows": 5000}
    for luck in range(4):
        remember(journal, f"job-{luck}", far, searched(5, 0.05, luck=luck))
    first = warm_starts(journal, SMALL, "xgb")[0]
    assert first.config["rate"] == 0.05
    assert abs(first.config["depth"] - 5) <= 1
    assert (first.job_id, first.distance) == ("job-3", 1.0)


def test_what_won_on_the_same_data_comes_before_all_else(journal: MemoryJournal) -> None:
    for luck in range(4):
        remember(journal, f"job-{luck}", LARGE, searched(5, 0.05, luck=luck))
    winner = remember(journal, "last-month", SMALL, searched(9, 0.2, luck=9))
    assert warm_starts(journal, SMALL, "xgb")[0].config == winner


def test_every_configuration_is_given_once(journal: MemoryJournal) -> None:
    for luck in range(3):
        remember(journal, f"job-{luck}", LARGE, searched(5, 0.05, luck=luck))
    configs = [start.config for start in warm_starts(journal, SMALL, "xgb", limit=100)]
    assert len(configs) == len(GRID)
    assert all(configs.count(config) == 1 for config in configs)


def test_a_trial_that_was_stopped_early_is_as_far_from_the_best_as_it_was(journal: MemoryJournal) -> None:
    whole = TrialRecord(
        trial_id="t0", config={"depth": 3}, score=0.3, fold_scores=(0.5, 0.1), status="completed", seconds=1.0
    )
    stopped = TrialRecord(
        trial_id="t1", config={"depth": 4}, score=0.7, fold_scores=(0.7,), status="pruned", seconds=1.0
    )
    failed = TrialRecord(trial_id="t2", config={"depth": 5}, score=None, status="failed", seconds=1.0)
    learn(journal, "job-1", SMALL, {"depth": 3}, trials=(whole, stopped, failed), metric="logloss")
    document = journal.read("experience", "job-1")
    assert document is not None
    assert [(each["config"]["depth"], each["score"]) for each in (document.body or {})["tried"]] == [
        (3, 0.3),
        (4, pytest.approx(0.5)),
    ]


def test_the_list_of_experience_is_short(journal: MemoryJournal) -> None:
    remember(journal, "job-1", SMALL, searched(5, 0.05))
    assert "tried" not in experience(journal)[0]
    assert len(experience(journal)[0]["best"]) == 3

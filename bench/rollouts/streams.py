"""A stream of requests with what either version would have answered to each. Who gets which is the judge's to say.

Every judge meets the very same stream: the same arrivals, keys, places of the keys on the ring, and outcomes. The two
outcomes of a request are drawn with the same dice, so "the candidate failed and stable would not have" is a fact.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.rollouts.scenarios import Scenario
from contracts.telemetry import LATENCY_EDGES_MS

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

MEDIAN_MS, SPREAD = 20.0, 0.5
"""Stable's latency is lognormal: p95 45.5 ms, p99 64 ms."""
P95_MS = MEDIAN_MS * math.exp(1.6449 * SPREAD)
LABELLED_SHARE = 0.3
SLICES = 2400  # of the horizon; the load is even within one
BURST_LOAD, BURST_SLOW, BURST_ERRORS = 4.0, 4.0, 5.0
BURSTS, BURST_PART = 20, 0.1
"""A burst about every twentieth of the horizon; together a tenth of it. Both arms are slower and fail more."""
DAY_SWING, DAY_SLOW = 0.8, 0.5
"""The load swings between 0.2 and 1.8 of the mean; at its peak both arms are half as slow again."""
KEYS_PER_REQUEST, FRAGILE = 0.2, 0.1
"""Sticky users: five requests a key on average, by rank⁻¹; a key's rate is Beta(0.1, …), so most never fail."""


class Stream(NamedTuple):
    """Requests in the order of their arrival; ``[stable, candidate]`` where there are two of a kind."""

    at_s: Numbers
    key: Whole
    point: Numbers  # of each key, in [0, 1): on the candidate where below its share
    failed: tuple[Flags, Flags]
    wrong: tuple[Flags, Flags]
    labelled: Flags
    latency_ms: tuple[Numbers, Numbers]
    bins: tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]
    slow: tuple[Flags, Flags]  # above stable's p95 at this load
    label_delay_s: float
    horizon_s: float

    def __len__(self) -> int:
        """Requests."""
        return len(self.at_s)

    def extra(self, what: str) -> Flags:
        """Mark the requests that the candidate answers badly and stable would not: failed, wrong or slow."""
        stable, candidate = getattr(self, what)
        return np.asarray(candidate & ~stable)


def stream_of(scenario: Scenario, seed: int) -> Stream:
    """Draw one deployment's requests."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    load, slow, failing = _load(scenario, rng)
    at_s, piece = _arrivals(scenario, load, rng)
    key, keys = _keys(scenario, len(at_s), rng)
    error_rate = _rates(scenario, keys, scenario.base_errors, rng)
    wrong_rate = _rates(scenario, keys, scenario.base_wrong, rng)
    dice_errors, dice_wrong = rng.random(len(at_s)), rng.random(len(at_s))
    stable_errors = error_rate[key] * failing[piece]
    stable_wrong = wrong_rate[key]
    more_wrong = stable_wrong * (1 + scenario.more_wrong / scenario.base_wrong)
    latency = MEDIAN_MS * np.exp(SPREAD * rng.standard_normal(len(at_s))) * slow[piece]
    slower = latency * scenario.latency_times
    limit = P95_MS * slow[piece]
    return Stream(
        at_s,
        key,
        rng.random(keys),
        (dice_errors < stable_errors, dice_errors < stable_errors * scenario.errors_times),
        (dice_wrong < stable_wrong, dice_wrong < more_wrong),
        rng.random(len(at_s)) < LABELLED_SHARE,
        (latency, slower),
        (_bins(latency), _bins(slower)),
        (latency > limit, slower > limit),
        scenario.label_delay_s,
        scenario.horizon_s,
    )


def _load(scenario: Scenario, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers]:
    """Give, per slice, the load as a multiple of its mean, and what it multiplies latencies and error rates by."""
    load, slow, failing = np.ones(SLICES), np.ones(SLICES), np.ones(SLICES)
    if scenario.load == "bursty":
        length = BURST_PART * SLICES / BURSTS
        for begin in np.flatnonzero(rng.random(SLICES) < BURSTS / SLICES):
            burst = slice(begin, begin + 1 + int(rng.exponential(length)))
            load[burst], slow[burst], failing[burst] = BURST_LOAD, BURST_SLOW, BURST_ERRORS
    if scenario.load == "daily":
        swing = np.sin(2 * np.pi * (np.arange(SLICES) / SLICES + rng.random()))
        load, slow = 1 + DAY_SWING * swing, 1 + DAY_SLOW * np.maximum(swing, 0)
    return load / load.mean(), slow, failing


def _arrivals(scenario: Scenario, load: Numbers, rng: np.random.Generator) -> tuple[Numbers, Whole]:
    """Draw a Poisson process whose rate is even within each slice."""
    width_s = scenario.horizon_s / SLICES
    piece = np.repeat(np.arange(SLICES), rng.poisson(scenario.rate * width_s * load))
    at_s = np.sort((piece + rng.random(len(piece))) * width_s)
    return at_s, np.minimum((at_s / width_s).astype(np.int64), SLICES - 1)


def _keys(scenario: Scenario, requests: int, rng: np.random.Generator) -> tuple[Whole, int]:
    if not scenario.sticky:
        return np.arange(requests), max(1, requests)
    keys = max(1, int(requests * KEYS_PER_REQUEST))
    weight = np.cumsum(1 / np.arange(1, keys + 1))
    drawn = np.searchsorted(weight, rng.random(requests) * weight[-1])
    return drawn.astype(np.int64), keys


def _rates(scenario: Scenario, keys: int, mean: float, rng: np.random.Generator) -> Numbers:
    if not scenario.sticky:
        return np.full(keys, mean)
    return rng.beta(FRAGILE, FRAGILE * (1 - mean) / mean, keys)


def _bins(latency_ms: Numbers) -> Any:
    return np.searchsorted(LATENCY_EDGES_MS, latency_ms).astype(np.int16)

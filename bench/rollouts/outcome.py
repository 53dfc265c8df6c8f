"""How one deployment went under one judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from bench.rollouts.streams import Flags, Stream

Verdict = Literal["rolled_back", "promoted", "undecided"]


class Held(NamedTuple):
    """From this request of the stream on the candidate has this share."""

    start: int
    share: float


class Outcome(NamedTuple):
    """What a judge did, and what it cost."""

    verdict: Verdict
    at_s: float  # of the verdict, since the candidate got its first share
    candidate_requests: int  # until then
    harmed: int  # distinct keys with a bad answer that stable would not have given, until the horizon
    looks: int = 0
    rule: str = ""


def outcome(
    stream: Stream,
    held: Sequence[Held],
    verdict: Verdict,
    at_s: float,
    *,
    harm: str,
    looks: int = 0,
    rule: str = "",
) -> Outcome:
    """Count up what the shares that were held led to."""
    mine = on_candidate(stream, held)
    until = int(np.searchsorted(stream.at_s, at_s, side="right"))
    harmed = len(np.unique(stream.key[mine & stream.extra(harm)]))
    return Outcome(verdict, at_s, int(mine[:until].sum()), harmed, looks, rule)


def on_candidate(stream: Stream, held: Sequence[Held]) -> Flags:
    """Mark the requests that the candidate answered."""
    share = np.zeros(len(stream))
    for step in held:
        share[step.start :] = step.share
    return np.asarray(stream.point[stream.key] < share)

"""What may happen to a deployment, as a table: which difference, at which rate, with which users and load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

HORIZON_S = {1: 10_800.0, 10: 10_800.0, 1000: 900.0}
"""Per requests a second: three hours; at 1,000 a quarter of an hour, or a run would have eleven million requests."""
LABELS_LATE = 1 / 18  # of the horizon: ten minutes of three hours


@dataclass(frozen=True)
class Scenario:
    """One row of the scoreboard."""

    effect: str
    users: Literal["single", "sticky"] = "single"
    load: Literal["even", "bursty", "daily"] = "even"
    rate: int = 10
    errors_times: float = 1.0
    latency_times: float = 1.0
    more_wrong: float = 0.0
    base_errors: float = 0.005
    base_wrong: float = 0.1
    lasts_s: float | None = None

    @property
    def name(self) -> str:
        """As it is called in the results, such as ``errors_2x_10rps_sticky``."""
        extra = [word for word in (self.users, self.load) if word not in {"single", "even"}]
        return "_".join([self.effect, f"{self.rate}rps", *extra])

    @property
    def sticky(self) -> bool:
        """Say whether users come again and again, some much more than others, with errors and labels of their own."""
        return self.users == "sticky"

    @property
    def equal(self) -> bool:
        """Say whether the candidate is as good as stable."""
        return (self.errors_times, self.latency_times, self.more_wrong) == (1, 1, 0)

    @property
    def harm(self) -> Literal["failed", "slow", "wrong"]:
        """Name the bad answers that the candidate gives more of."""
        return "slow" if self.latency_times > 1 else "wrong" if self.more_wrong > 0 else "failed"

    @property
    def horizon_s(self) -> float:
        """Seconds until the simulation ends, whatever a judge has said by then."""
        return self.lasts_s or HORIZON_S[self.rate]

    @property
    def label_delay_s(self) -> float:
        """Seconds between an answer and its label."""
        return self.horizon_s * LABELS_LATE


EFFECTS = (
    Scenario("aa"),
    Scenario("errors_1.2x", errors_times=1.2),
    Scenario("errors_2x", errors_times=2),
    Scenario("errors_10x", errors_times=10),
    Scenario("p95_20pct", latency_times=1.2),
    Scenario("p95_100pct", latency_times=2),
    Scenario("quality_2pt", more_wrong=0.02),
    Scenario("quality_5pt", more_wrong=0.05),
    Scenario("quality_10pt", more_wrong=0.1),
)
HARDER = ("aa", "errors_2x", "errors_10x", "p95_100pct", "quality_10pt")
"""Effects that are simulated with sticky users, bursts and a daily cycle too."""


def scenarios(base_errors: float) -> Iterator[Scenario]:
    """Give the whole table."""
    for rate in HORIZON_S:
        for effect in EFFECTS:
            yield replace(effect, rate=rate, base_errors=base_errors)
    for effect in EFFECTS:
        if effect.effect in HARDER:
            yield replace(effect, users="sticky", base_errors=base_errors)
            yield replace(effect, load="bursty", base_errors=base_errors)
            yield replace(effect, load="daily", base_errors=base_errors)
            yield replace(effect, users="sticky", load="bursty", base_errors=base_errors)

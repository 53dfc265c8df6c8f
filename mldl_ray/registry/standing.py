"""What people's words on versions come to, remembered while nothing changes that. Not here: what counts (governance).

Which words count follows from the words on that version, the policies, the keys, and time; who trained and registered
it never changes. The index knows when each of these was last written, so an answer is good until then, or until the
first word ends.
"""

from __future__ import annotations

from typing import NamedTuple

from contracts.ports import Clock
from contracts.records import Approval, TrainedBundle
from mldl_ray.bridges.governance import EmbeddedGovernance, expiry_s
from mldl_ray.registry.catalog import version_key
from mldl_ray.registry.index import Moment

MOST = 20_000
"""Versions that are remembered; then it begins anew."""


class _Known(NamedTuple):
    moment: Moment
    until_s: float
    words: tuple[Approval, ...]


class Standing:
    """Remember which words count.

    Args:
        governance: Says it the first time.
        clock: Says when a word has ended.
    """

    def __init__(self, governance: EmbeddedGovernance, clock: Clock) -> None:
        self._governance, self._clock = governance, clock
        self._known: dict[str, _Known] = {}

    def remembered(self, key: str, moment: Moment) -> tuple[Approval, ...] | None:
        """Give the words that count for a version now, if that is known without asking."""
        known = self._known.get(key)
        good = known is not None and known.moment == moment and self._clock.now_s() < known.until_s
        return known.words if known is not None and good else None

    def words(self, bundle: TrainedBundle, moment: Moment) -> tuple[Approval, ...]:
        """Give the words that count for a version now."""
        key = version_key(bundle.model_key, str(bundle.version))
        if (known := self.remembered(key, moment)) is not None:
            return known
        words = self._governance.approvals(bundle)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = _Known(moment, self._until_s(bundle, words), words)
        return words

    def _until_s(self, bundle: TrainedBundle, words: tuple[Approval, ...]) -> float:
        approvals = [word for word in words if word.decision == "approved"]
        policies = self._governance.held_to(bundle) if approvals else []
        return min((expiry_s(word, policy) for word in approvals for policy in policies), default=float("inf"))

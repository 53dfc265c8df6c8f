"""Who had their first error and their first label in a rollout, so that its judge counts people and not repetitions.

Both arms of a canary share one ledger: a key that moves from stable to the candidate brings nothing new. The copies
that a shadow gets are counted apart, since the same keys go to both.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_KEYS = 50_000
MOST_LEDGERS = 32


class Firsts:
    """The ledger of one rollout. When it is ``full``, what was counted with it is not to be used."""

    def __init__(self) -> None:
        self.full = False
        self._seen: dict[str, set[int]] = {}
        self._epoch, self._asked = -1, set[int]()

    def error(self, key: int) -> bool:
        """Note an error; say whether it is the key's first.

        >>> firsts = Firsts()
        >>> firsts.error(7), firsts.error(7), firsts.label(7)
        (True, False, True)
        """
        return self.first("error", key)

    def label(self, key: int) -> bool:
        """Note a label; say whether it is the key's first."""
        return self.first("label", key)

    def close(self) -> None:
        """Forget everything: there are too many keys, or too many rollouts."""
        self.full, self._seen, self._asked = True, {}, set()

    def asked(self, epoch: int, key: int) -> bool:
        """Note a request; say whether it is the key's first in this epoch, of the first ``MOST_KEYS`` keys.

        >>> firsts = Firsts()
        >>> firsts.asked(1, 7), firsts.asked(1, 7), firsts.asked(2, 7), firsts.asked(1, 8)
        (True, False, True, False)
        """
        if epoch > self._epoch:
            self._epoch, self._asked = epoch, set()
        if self.full or epoch < self._epoch or key in self._asked or len(self._asked) >= MOST_KEYS:
            return False
        self._asked.add(key)
        return True

    def first(self, what: str, key: int) -> bool:
        """Note that something happened to a key; say whether for the first time. False of all once it is full."""
        seen = self._seen.setdefault(what, set())
        if self.full or key in seen:
            return False
        seen.add(key)
        if len(seen) > MOST_KEYS:
            self.close()
        return True


class Ledgers:
    """Find the ledger of a rollout; the one longest not asked for is closed when there are too many."""

    def __init__(self, most: int = MOST_LEDGERS) -> None:
        self._ledgers: OrderedDict[tuple[str, bool], Firsts] = OrderedDict()
        self._most = most

    def of(self, deployment_id: str, *, shadow: bool) -> Firsts:
        """Give the ledger of a rollout's canary, or of its shadow."""
        place = (deployment_id, shadow)
        ledger = self._ledgers.setdefault(place, Firsts())
        self._ledgers.move_to_end(place)
        while len(self._ledgers) > self._most:
            self._ledgers.popitem(last=False)[1].close()
        return ledger

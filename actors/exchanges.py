"""What the bridges do by themselves, in a thread of the bridges actor: exchange with kernels, look after them.

What survives a restart: everything; how far each exchange is is in the journal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from contracts.errors import MldlError, Unavailable
from mldl_ray.bridges.exchange import Exchange

log = logging.getLogger(__name__)
PAUSE_S = 2.0
MOST_TURNS = 100
"""Batches of one exchange in a row, so that the others have their turn."""


class Rounds:
    """Do the rounds: every exchange, then every other errand, again and again until closed.

    Args:
        exchanges: Each is turned until there is nothing more for now.
        errands: Called once a round; what goes wrong in one is logged, and the others go on.
    """

    def __init__(self, exchanges: Sequence[Exchange], errands: Sequence[Callable[[], object]] = ()) -> None:
        self._exchanges, self._errands = tuple(exchanges), tuple(errands)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._for_ever, name="bridge-rounds", daemon=True)
        self._thread.start()

    def once(self) -> None:
        """Do one round."""
        for exchange in self._exchanges:
            self._turned(exchange)
        for errand in self._errands:
            try:
                errand()
            except MldlError as error:
                log.warning("an errand of the bridges waits: %s", error.message)
            except Exception:  # one errand's defect must not end the others
                log.exception("an errand of the bridges failed")

    def close(self) -> None:
        """Stop; what is under way is finished."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _turned(self, exchange: Exchange) -> None:
        try:
            for _ in range(MOST_TURNS):
                if self._stop.is_set() or not exchange.turn():
                    return
        except Unavailable as error:
            log.info("the %s bridge exchanges later: %s", exchange.bridge, error.message)
        except Exception:  # a defect of one exchange must not end the others
            log.exception("the exchange of the %s bridge failed", exchange.bridge)

    def _for_ever(self) -> None:
        while not self._stop.is_set():
            self.once()
            self._stop.wait(PAUSE_S)

"""What a resident does again and again, beside the calls that it answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


def every(pause_s: float, act: Callable[[], object], name: str, *, at_once: bool = False) -> None:
    """Act for ever in a thread of its own, with pauses between.

    Args:
        pause_s: Seconds.
        act: What to do. Nobody waits for it: what failed is logged, and the next time tries again.
        name: Of the thread, and in the log.
        at_once: Whether the first time comes before the first pause.
    """

    def go_on() -> None:
        time.sleep(0 if at_once else pause_s)
        while True:
            try:
                act()
            except Exception:  # as said above
                log.exception("%s failed", name)
            time.sleep(pause_s)

    threading.Thread(target=go_on, name=name, daemon=True).start()

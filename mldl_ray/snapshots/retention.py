"""When a snapshot is due by the timetable, and which ones go. Pure. What a person took is never removed."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.records import Snapshot


def due(found: Sequence[Snapshot], now_s: float, every_s: float | None) -> bool:
    """Say whether the timetable wants one now; never when it is off."""
    if every_s is None:
        return False
    last = max((snapshot.created_at_s for snapshot in found if snapshot.kind == "scheduled"), default=None)
    return last is None or now_s - last >= every_s


def surplus(found: Sequence[Snapshot], now_s: float, *, keep: int, keep_s: float | None) -> list[Snapshot]:
    """List the snapshots to remove: of each kind but ``named``, those after the newest ``keep``, and the too old.

    Args:
        found: All snapshots.
        now_s: Unix seconds.
        keep: Most of one kind.
        keep_s: Greatest age in seconds; any when absent.
    """
    gone = []
    for kind in ("scheduled", "before_rollback"):
        mine = [snapshot for snapshot in found if snapshot.kind == kind]
        mine.sort(key=lambda snapshot: (-snapshot.position, -snapshot.created_at_s))
        for rank, snapshot in enumerate(mine):
            if rank >= keep or (keep_s is not None and now_s - snapshot.created_at_s > keep_s):
                gone.append(snapshot)
    return gone

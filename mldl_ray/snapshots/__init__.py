"""Moments to go back to: taken (``capture``), weighed (``impact``), restored by one more append (``restore``)."""

from mldl_ray.snapshots.capture import capture, snapshot_of, snapshots
from mldl_ray.snapshots.kinds import EXCLUDED, RESTORABLE
from mldl_ray.snapshots.restore import Sight, plan, restore
from mldl_ray.snapshots.state import reachable

__all__ = ["EXCLUDED", "RESTORABLE", "Sight", "capture", "plan", "reachable", "restore", "snapshot_of", "snapshots"]

"""Moments to go back to: taken (``capture``), weighed (``impact``), restored by one more append (``restore``)."""

from mldl_ray.snapshots.capture import RESTORABLE, capture, snapshot_of, snapshots
from mldl_ray.snapshots.restore import plan, restore

__all__ = ["RESTORABLE", "capture", "plan", "restore", "snapshot_of", "snapshots"]

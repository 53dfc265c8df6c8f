"""The long-lived actors as they are wrapped for Ray: one file each, so that a process imports no other's parts.

Each is detached (it outlives the driver that made it), restarts for ever, takes no CPU from trials, and lives on the
head, where the embedded journal and artifacts are. Each says its code version, so that a new release never talks to
last month's actor unknowingly. ``start`` starts them.
"""

"""Doors: HTTP, and the processes that answer predictions."""

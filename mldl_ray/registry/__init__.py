"""Versions of models: how they are numbered, found and read. Not here: approvals and appends (``actors.registry``)."""

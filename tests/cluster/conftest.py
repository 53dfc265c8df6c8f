"""A journal of our own on the session's head, unless the whole system runs there already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mldl_ray.settings import Settings


@pytest.fixture(scope="module")
def journal(ray_cluster: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    import ray

    from actors.directory import NAMESPACE, handle
    from actors.journal import JournalActor, RemoteJournal
    from contracts.errors import Unavailable

    try:
        handle("journal")
        own = None
    except Unavailable:
        url = f"sqlite:///{tmp_path_factory.mktemp('journal') / 'journal.db'}"
        own = ray.remote(JournalActor).options(name="mldl.journal", namespace=NAMESPACE, num_cpus=0).remote(url)
    yield RemoteJournal()
    if own is not None:
        ray.kill(own)

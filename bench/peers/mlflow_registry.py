"""MLflow's model registry on SQLite, for ``bench.registry``: runs in MLflow's own environment.

Reads JSON lines, answers each with one. The first fills the registry; the others register or search, timed here.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# MLflow is in the other environment only.
# mypy: disable-error-code="import-not-found"
import mlflow
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag, SqlRegisteredModel
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore


def main() -> None:
    """Fill, register and search as asked."""
    database = Path(sys.argv[1])
    store = SqlAlchemyStore(f"sqlite:///{database}")
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(VERBS[asked.pop("verb")](store, **asked)), flush=True)


def fill(store: SqlAlchemyStore, models: int, versions: int, tags: list[list[str]]) -> dict[str, Any]:
    """Write rows into MLflow's own tables, as its registration does, but many at once."""
    began, now = time.perf_counter(), int(time.time() * 1000)
    with store.ManagedSessionMaker() as session:
        for model in range(models):
            name = f"model-{model:05}"
            session.add(SqlRegisteredModel(name=name, creation_time=now, last_updated_time=now))
        session.flush()
        for model in range(models):
            name = f"model-{model:05}"
            rows = [
                SqlModelVersion(
                    name=name, version=v + 1, creation_time=now, last_updated_time=now, source="blobs:x",
                    current_stage="None", status="READY",
                )
                for v in range(versions)
            ]  # fmt: skip
            session.bulk_save_objects(rows)
            held = [
                SqlModelVersionTag(name=name, version=v + 1, key=tag, value="1")
                for v in range(versions)
                for tag in tags[(model * versions + v) % len(tags)]
            ]
            session.bulk_save_objects(held)
    return {"seconds": time.perf_counter() - began, "mlflow": mlflow.__version__}


def search(store: SqlAlchemyStore, queries: list[list[str]], limit: int) -> dict[str, Any]:
    """Search for versions with all of some tags, by name."""
    took, found = [], []
    for tags in queries:
        wanted = " and ".join(f"tags.`{tag}` = '1'" for tag in tags)
        began = time.perf_counter()
        page = store.search_model_versions(wanted, max_results=limit, order_by=["name ASC", "version_number ASC"])
        took.append((time.perf_counter() - began) * 1000)
        found.append(len(page))
    return {"ms": took, "found": found}


def register(store: SqlAlchemyStore, count: int, tags: list[str]) -> dict[str, Any]:
    """Register versions, one after the other, with their tags."""
    began = time.perf_counter()
    for n in range(count):
        held = [ModelVersionTag(tag, "1") for tag in tags]
        store.create_model_version(f"model-{n:05}", "blobs:x", tags=held)
    return {"per_second": count / (time.perf_counter() - began)}


VERBS: dict[str, Callable[..., dict[str, Any]]] = {"fill": fill, "search": search, "register": register}

if __name__ == "__main__":
    main()

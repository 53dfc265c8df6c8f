"""The whole system: a view makes the features, a family is chosen, callers send raw columns, bad ones are noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import Incompatible
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings
from mldl_ray.wire import wait

KEY = "lenders"
VIEW = {
    "name": "lending",
    "dataset_id": "lenders",
    "columns": ["who", "day", "income", "debt"],
    "join": {"dataset_id": "balances", "key": "who", "time": "day", "columns": ["balance"]},
    "steps": [
        {"op": "ratio", "numerator": "income", "denominator": "debt", "into": "cover"},
        {"op": "log1p", "column": "income"},
        {"op": "select", "columns": ["cover", "income", "balance"]},
    ],
}
DEPLOY = {"strategy": "blue_green", "bake_window": 0}


def tables() -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(1)
    income, debt = rng.lognormal(8, 1, 600), rng.lognormal(6, 1, 600)
    lenders = {"who": [f"p{n % 20}" for n in range(600)], "day": [float(n % 90) for n in range(600)]}
    lenders |= {"income": income, "debt": debt, "good": (income > debt * 8).astype(int)}
    balances = {"who": [f"p{n % 20}" for n in range(200)], "day": [float(n // 20 * 9) for n in range(200)]}
    return pa.table(lenders), pa.table(balances | {"balance": [float(n) for n in range(200)]})


def served(client: MLDLClient, system: Settings, folder: Path) -> str:
    for name, table in zip(("lenders", "balances"), tables(), strict=True):
        pq.write_table(table, folder / f"{name}.parquet")
        ref = {"uri": str(folder / f"{name}.parquet")} | ({"target": "good"} if name == "lenders" else {})
        client.register_dataset(ref, dataset_id=name)
    view = client.register_view(VIEW, reason="journey")
    accepted = client.train(
        {
            "spec": {"model_key": KEY, "feature_view": "lending"},
            "data": {"dataset_id": "lenders"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    job = client.wait_job(accepted.job_id)
    assert job.status == "succeeded", job.error
    assert job.advice is not None and job.advice.family == accepted.family
    bundle = client.register(accepted.job_id, reason="journey")
    assert bundle.lineage.feature_view == view.reference
    MLDLClient(system.url, acting_as="bo").approve(KEY, str(bundle.version), reason="journey")
    deployed = client.deploy(KEY, str(bundle.version), DEPLOY)
    assert client.wait_deployment(deployed.deployment_id).status == "succeeded"
    advice = wait(lambda: client.deployment(deployed.deployment_id).advice, 60, "advice on the deployment")
    assert advice["verdict"] in {"deploy", "canary", "hold"}
    return str(bundle.version)


def test_callers_send_raw_columns_and_bad_ones_are_noticed(system: Settings, tmp_path: Path) -> None:
    client = MLDLClient(system.url, acting_as="ana")
    version = served(client, system, tmp_path)
    table = tables()[0]
    rows: list[dict[str, Any]] = table.drop_columns(["good"]).to_pylist()
    answer = client.predict(KEY, rows[:100])
    right = np.mean(np.array(answer["predictions"]) == table["good"].to_numpy()[:100])
    assert right > 0.85, right
    alone = [client.predict(KEY, [row])["predictions"][0] for row in rows[:10]]
    assert alone == list(answer["predictions"][:10])
    with pytest.raises(Incompatible, match="column 'cover' is unknown"):
        client.predict(KEY, [rows[0] | {"cover": 1.0}])
    known = client.transform("lending", [rows[599]])[0]
    assert known["balance"] is not None
    client.set_quality_rules("lenders", {"rules": [{"check": "range", "column": "income", "low": 0}]}, reason="journey")

    def noticed() -> Any:
        for start in range(0, 400, 100):
            client.predict(KEY, [row | {"income": -1.0} for row in rows[start : start + 100]])
        return next((alert for alert in client.alerts(model_key=KEY) if alert.kind == "data_quality"), None)

    alert = wait(noticed, 90, "an alert on bad rows")
    assert (alert.severity, alert.version) == ("warning", None)
    assert alert.evidence["version"] == version
    client.remove_quality_rules("lenders", reason="journey over")
    client.resolve(alert.alert_id, reason="journey over")
    client.close()

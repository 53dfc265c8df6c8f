"""The neural families of tables and images keep every promise of an adapter."""

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mldl_ray.adapters._torch_cnn import CNNAdapter
from mldl_ray.adapters._torch_mlp import MLPAdapter
from mldl_ray.adapters.conformance import ROWS, AdapterConformance, scores


def pixel_table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Make images of 4×4 pixels whose first one matters; some values missing."""
    rng = np.random.default_rng(seed)
    names = ["length", "count", "colour", *(f"p{i}" for i in range(13))]
    return pa.table({name: pa.array(rng.normal(10, 3, rows), mask=rng.random(rows) < 0.05) for name in names})


class TestMLP(AdapterConformance):
    family = MLPAdapter
    hyperparams: ClassVar[dict[str, Any]] = {"epochs": 12, "width": 16, "batch_size": 32, "learning_rate": 0.02}


class TestCNN(AdapterConformance):
    family = CNNAdapter
    hyperparams: ClassVar[dict[str, Any]] = {
        "epochs": 8,
        "filters": 4,
        "blocks": 1,
        "hidden": 16,
        "dropout": 0.0,
        "batch_size": 32,
        "learning_rate": 0.02,
    }

    def table(self) -> pa.Table:
        return pixel_table()

    def test_missing_unseen_and_extreme_values_are_answered(self) -> None:
        for adapter, table in self.fitted():
            nothing = pa.table({name: pa.nulls(1) for name in table.column_names})
            assert np.isfinite(scores(adapter, nothing)).all()
            odd = table.slice(0, 3).set_column(0, "length", pa.array([1e300, -1e300, -0.0]))
            assert np.isfinite(scores(adapter, odd)).all()

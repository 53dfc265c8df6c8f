"""The neural families of tables and images keep every promise of an adapter."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mldl_ray.adapters._torch_cnn import CNNAdapter
from mldl_ray.adapters._torch_gan import GANAdapter
from mldl_ray.adapters._torch_mlp import MLPAdapter
from mldl_ray.adapters.conformance import ROWS, AdapterConformance, refusal, scores


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


class TestGAN(AdapterConformance):
    family = GANAdapter
    hyperparams: ClassVar[dict[str, Any]] = {"epochs": 2, "width": 8}

    def test_a_setting_of_the_wrong_type_is_refused_by_name(self) -> None:
        for setting in self.family.settings:
            for wrong in (float("nan"), [1], -2):  # a text would name a column
                assert setting.name in refusal(partial(self.make, "generation", **{setting.name: wrong}))

    def test_sample_weights_count(self) -> None:
        table = pixel_table()
        weights = np.where(np.arange(table.num_rows) < 60, 1.0, 0.0)
        plain, weighted = (
            GANAdapter(task="generation", **self.hyperparams),
            GANAdapter(task="generation", **self.hyperparams),
        )
        made = weighted.fit(table, sample_weight=weights).sample(20)
        assert not made.equals(plain.fit(table).sample(20))
        assert "negative" in refusal(lambda: plain.fit(table, sample_weight=-weights))

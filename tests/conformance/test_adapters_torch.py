"""The neural families of tables keep every promise of an adapter."""

from typing import Any, ClassVar

from mldl_ray.adapters._torch_mlp import MLPAdapter
from mldl_ray.adapters.conformance import AdapterConformance


class TestMLP(AdapterConformance):
    family = MLPAdapter
    hyperparams: ClassVar[dict[str, Any]] = {"epochs": 12, "width": 16, "batch_size": 32, "learning_rate": 0.02}

"""Both families of the base install keep every promise of an adapter."""

from typing import Any, ClassVar

from mldl_ray.adapters import LogisticRegressionAdapter, XGBAdapter
from mldl_ray.adapters.conformance import AdapterConformance


class TestLogisticRegression(AdapterConformance):
    family = LogisticRegressionAdapter


class TestXGBoost(AdapterConformance):
    family = XGBAdapter
    hyperparams: ClassVar[dict[str, Any]] = {"n_estimators": 25, "max_depth": 4}

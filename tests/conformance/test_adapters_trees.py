"""The families of trees keep every promise of an adapter."""

from typing import Any, ClassVar

from mldl_ray.adapters._gbm import GBMAdapter
from mldl_ray.adapters._trees import ForestAdapter, TreeAdapter
from mldl_ray.adapters.conformance import AdapterConformance


class TestTree(AdapterConformance):
    family = TreeAdapter


class TestForest(AdapterConformance):
    family = ForestAdapter
    hyperparams: ClassVar[dict[str, Any]] = {"n_estimators": 20, "max_features": 0.5}


class TestGBM(AdapterConformance):
    family = GBMAdapter
    hyperparams: ClassVar[dict[str, Any]] = {"n_estimators": 20, "min_samples_leaf": 5}

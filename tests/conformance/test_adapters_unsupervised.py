"""Families that learn without a target keep every promise of an adapter."""

from typing import Any, ClassVar

from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.conformance import AdapterConformance


class TestKMeans(AdapterConformance):
    family = adapter_class("kmeans")
    hyperparams: ClassVar[dict[str, Any]] = {"n_clusters": 3, "n_init": 2}


class TestAgglomerative(AdapterConformance):
    family = adapter_class("agglo")
    hyperparams: ClassVar[dict[str, Any]] = {"n_clusters": 3}


class TestDBSCAN(AdapterConformance):
    family = adapter_class("dbscan")


class TestPCA(AdapterConformance):
    family = adapter_class("pca")
    hyperparams: ClassVar[dict[str, Any]] = {"n_components": 3}

"""The classic families keep every promise of an adapter."""

from typing import Any, ClassVar

from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.conformance import AdapterConformance


class TestLinear(AdapterConformance):
    family = adapter_class("linear")


class TestLasso(AdapterConformance):
    family = adapter_class("linear")
    hyperparams: ClassVar[dict[str, Any]] = {"penalty": "lasso"}


class TestSVM(AdapterConformance):
    family = adapter_class("svm")


class TestLinearSVM(AdapterConformance):
    family = adapter_class("svm")
    hyperparams: ClassVar[dict[str, Any]] = {"kernel": "linear"}


class TestSVR(AdapterConformance):
    family = adapter_class("svr")


class TestKNN(AdapterConformance):
    family = adapter_class("knn")


class TestKNNUniform(AdapterConformance):
    family = adapter_class("knn")
    hyperparams: ClassVar[dict[str, Any]] = {"weights": "uniform", "n_neighbors": 7, "scale": "unit"}


class TestNaiveBayes(AdapterConformance):
    family = adapter_class("naive_bayes")


class TestGaussianNaiveBayes(AdapterConformance):
    family = adapter_class("naive_bayes")
    hyperparams: ClassVar[dict[str, Any]] = {"numbers": "gaussian"}

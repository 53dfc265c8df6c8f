"""MLDL on Ray: define → train → evaluate → register → deploy → monitor → rollback.

The public names, loaded when first used, so that importing this package is quick and needs neither Ray nor a framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mldl_ray.adapters import AgglomerativeAdapter as AgglomerativeAdapter
    from mldl_ray.adapters import CNNAdapter as CNNAdapter
    from mldl_ray.adapters import DBSCANAdapter as DBSCANAdapter
    from mldl_ray.adapters import DQNAdapter as DQNAdapter
    from mldl_ray.adapters import ForestAdapter as ForestAdapter
    from mldl_ray.adapters import GANAdapter as GANAdapter
    from mldl_ray.adapters import GBMAdapter as GBMAdapter
    from mldl_ray.adapters import KMeansAdapter as KMeansAdapter
    from mldl_ray.adapters import KNNAdapter as KNNAdapter
    from mldl_ray.adapters import LinearAdapter as LinearAdapter
    from mldl_ray.adapters import LogisticRegressionAdapter as LogisticRegressionAdapter
    from mldl_ray.adapters import LSTMAdapter as LSTMAdapter
    from mldl_ray.adapters import MLPAdapter as MLPAdapter
    from mldl_ray.adapters import NaiveBayesAdapter as NaiveBayesAdapter
    from mldl_ray.adapters import PCAAdapter as PCAAdapter
    from mldl_ray.adapters import PolicyGradientAdapter as PolicyGradientAdapter
    from mldl_ray.adapters import QLearningAdapter as QLearningAdapter
    from mldl_ray.adapters import RNNAdapter as RNNAdapter
    from mldl_ray.adapters import SVMAdapter as SVMAdapter
    from mldl_ray.adapters import SVRAdapter as SVRAdapter
    from mldl_ray.adapters import TransformerAdapter as TransformerAdapter
    from mldl_ray.adapters import TreeAdapter as TreeAdapter
    from mldl_ray.adapters import XGBAdapter as XGBAdapter
    from mldl_ray.adapters import create_adapter as create_adapter
    from mldl_ray.adapters import families as families
    from mldl_ray.client import MLDLClient as MLDLClient
    from mldl_ray.runner import TrainingJobRunner as TrainingJobRunner
    from mldl_ray.service import MLDLService as MLDLService

_HOMES = {
    "MLDLService": "mldl_ray.service",
    "MLDLClient": "mldl_ray.client",
    "TrainingJobRunner": "mldl_ray.runner",
    "create_adapter": "mldl_ray.adapters",
    "families": "mldl_ray.adapters",
    "AgglomerativeAdapter": "mldl_ray.adapters",
    "CNNAdapter": "mldl_ray.adapters",
    "DBSCANAdapter": "mldl_ray.adapters",
    "DQNAdapter": "mldl_ray.adapters",
    "ForestAdapter": "mldl_ray.adapters",
    "GANAdapter": "mldl_ray.adapters",
    "GBMAdapter": "mldl_ray.adapters",
    "KMeansAdapter": "mldl_ray.adapters",
    "KNNAdapter": "mldl_ray.adapters",
    "LSTMAdapter": "mldl_ray.adapters",
    "LinearAdapter": "mldl_ray.adapters",
    "LogisticRegressionAdapter": "mldl_ray.adapters",
    "MLPAdapter": "mldl_ray.adapters",
    "NaiveBayesAdapter": "mldl_ray.adapters",
    "PCAAdapter": "mldl_ray.adapters",
    "PolicyGradientAdapter": "mldl_ray.adapters",
    "QLearningAdapter": "mldl_ray.adapters",
    "RNNAdapter": "mldl_ray.adapters",
    "SVMAdapter": "mldl_ray.adapters",
    "SVRAdapter": "mldl_ray.adapters",
    "TransformerAdapter": "mldl_ray.adapters",
    "TreeAdapter": "mldl_ray.adapters",
    "XGBAdapter": "mldl_ray.adapters",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  # one list of names, not two


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mldl_ray' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

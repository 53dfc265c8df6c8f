"""MLDL on Ray: define → train → evaluate → register → deploy → monitor → rollback.

The public names, loaded when first used, so that importing this package is quick and needs neither Ray nor a framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mldl_ray.adapters import LogisticRegressionAdapter as LogisticRegressionAdapter
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
    "LogisticRegressionAdapter": "mldl_ray.adapters",
    "XGBAdapter": "mldl_ray.adapters",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  # one list of names, not two


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mldl_ray' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

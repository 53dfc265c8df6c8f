"""Figures about models that admit their uncertainty. Not here: which rows are judged, and what follows from a figure.

Names load when first used: serving needs only the calibrator, and must not pay for the rest.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mldl_ray.evaluation.calibration import Calibrator as Calibrator
    from mldl_ray.evaluation.card import card_html as card_html
    from mldl_ray.evaluation.card import card_json as card_json
    from mldl_ray.evaluation.conformal import prediction_interval as prediction_interval
    from mldl_ray.evaluation.evaluate import evaluate as evaluate
    from mldl_ray.evaluation.gate import gate as gate
    from mldl_ray.evaluation.metrics import METRICS as METRICS
    from mldl_ray.evaluation.metrics import score as score
    from mldl_ray.evaluation.paired import Stable as Stable
    from mldl_ray.evaluation.paired import against_stable as against_stable
    from mldl_ray.evaluation.robustness import noise_robustness as noise_robustness

_HOMES = {
    "Calibrator": "calibration",
    "METRICS": "metrics",
    "Stable": "paired",
    "against_stable": "paired",
    "card_html": "card",
    "card_json": "card",
    "evaluate": "evaluate",
    "gate": "gate",
    "noise_robustness": "robustness",
    "prediction_interval": "conformal",
    "score": "metrics",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  # one list of names, not two


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mldl_ray.evaluation' has no attribute {name!r}")
    return getattr(import_module(f"mldl_ray.evaluation.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps ``evaluate`` and ``gate`` the functions, although the modules that hold them are named alike.

    Importing a module binds it in its package; without this, what a name means would hang on who imported what first.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        alike = isinstance(value, ModuleType) and _HOMES.get(name) == name
        super().__setattr__(name, getattr(value, name) if alike else value)


sys.modules[__name__].__class__ = _Package

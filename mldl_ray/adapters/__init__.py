"""Model families behind one interface. A family loads when it is first asked for.

Our own are listed here; other packages add theirs by an entry point in the group ``mldl_ray.adapters`` whose name is
the family and whose value is the class, as in ``forest = "my_package.forest:ForestAdapter"``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import Incompatible
from contracts.http import FamilyView, Setting
from contracts.specs import Task
from mldl_ray.adapters.base import BaseModelAdapter, Capabilities, Explanation, read_facts
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.adapters.schema import InputSchema

if TYPE_CHECKING:
    from mldl_ray.adapters._bayes import NaiveBayesAdapter
    from mldl_ray.adapters._centres import KMeansAdapter
    from mldl_ray.adapters._components import PCAAdapter
    from mldl_ray.adapters._gbm import GBMAdapter
    from mldl_ray.adapters._kernel import SVMAdapter, SVRAdapter
    from mldl_ray.adapters._linear import LogisticRegressionAdapter
    from mldl_ray.adapters._nearest import AgglomerativeAdapter, DBSCANAdapter
    from mldl_ray.adapters._neighbours import KNNAdapter
    from mldl_ray.adapters._q_learning import QLearningAdapter
    from mldl_ray.adapters._regression import LinearAdapter
    from mldl_ray.adapters._torch_cnn import CNNAdapter
    from mldl_ray.adapters._torch_dqn import DQNAdapter
    from mldl_ray.adapters._torch_gan import GANAdapter
    from mldl_ray.adapters._torch_mlp import MLPAdapter
    from mldl_ray.adapters._torch_pg import PolicyGradientAdapter
    from mldl_ray.adapters._torch_recurrent import LSTMAdapter, RNNAdapter
    from mldl_ray.adapters._torch_transformer import TransformerAdapter
    from mldl_ray.adapters._trees import ForestAdapter, TreeAdapter
    from mldl_ray.adapters._xgboost import XGBAdapter

__all__ = [
    "AgglomerativeAdapter",
    "BaseModelAdapter",
    "CNNAdapter",
    "Capabilities",
    "DBSCANAdapter",
    "DQNAdapter",
    "Encoder",
    "Explanation",
    "ForestAdapter",
    "GANAdapter",
    "GBMAdapter",
    "InputSchema",
    "KMeansAdapter",
    "KNNAdapter",
    "LSTMAdapter",
    "LinearAdapter",
    "LogisticRegressionAdapter",
    "MLPAdapter",
    "NaiveBayesAdapter",
    "PCAAdapter",
    "PolicyGradientAdapter",
    "QLearningAdapter",
    "RNNAdapter",
    "SVMAdapter",
    "SVRAdapter",
    "TransformerAdapter",
    "TreeAdapter",
    "XGBAdapter",
    "adapter_class",
    "create_adapter",
    "describe",
    "families",
    "load_adapter",
]

GROUP = "mldl_ray.adapters"
_OWN = {
    "lr": "mldl_ray.adapters._linear:LogisticRegressionAdapter",
    "linear": "mldl_ray.adapters._regression:LinearAdapter",
    "svm": "mldl_ray.adapters._kernel:SVMAdapter",
    "svr": "mldl_ray.adapters._kernel:SVRAdapter",
    "knn": "mldl_ray.adapters._neighbours:KNNAdapter",
    "naive_bayes": "mldl_ray.adapters._bayes:NaiveBayesAdapter",
    "tree": "mldl_ray.adapters._trees:TreeAdapter",
    "forest": "mldl_ray.adapters._trees:ForestAdapter",
    "gbm": "mldl_ray.adapters._gbm:GBMAdapter",
    "xgb": "mldl_ray.adapters._xgboost:XGBAdapter",
    "mlp": "mldl_ray.adapters._torch_mlp:MLPAdapter",
    "cnn": "mldl_ray.adapters._torch_cnn:CNNAdapter",
    "rnn": "mldl_ray.adapters._torch_recurrent:RNNAdapter",
    "lstm": "mldl_ray.adapters._torch_recurrent:LSTMAdapter",
    "transformer": "mldl_ray.adapters._torch_transformer:TransformerAdapter",
    "gan": "mldl_ray.adapters._torch_gan:GANAdapter",
    "kmeans": "mldl_ray.adapters._centres:KMeansAdapter",
    "agglo": "mldl_ray.adapters._nearest:AgglomerativeAdapter",
    "dbscan": "mldl_ray.adapters._nearest:DBSCANAdapter",
    "pca": "mldl_ray.adapters._components:PCAAdapter",
    "q_learning": "mldl_ray.adapters._q_learning:QLearningAdapter",
    "dqn": "mldl_ray.adapters._torch_dqn:DQNAdapter",
    "pg": "mldl_ray.adapters._torch_pg:PolicyGradientAdapter",
}
_CLASSES = {value.split(":")[1]: value.split(":")[0] for value in _OWN.values()}


def families() -> dict[str, str]:
    """List every family: ``available``, or why it is not and what installs it."""
    return {family: _state(family) for family in sorted(_points())}


def describe() -> list[FamilyView]:
    """Describe every family by its own record: what it can do and how it is set."""
    return [_described(family, state) for family, state in families().items()]


def adapter_class(family: str) -> type[BaseModelAdapter]:
    """Give the class of a family.

    Raises:
        Incompatible: No such family, or its package cannot be loaded.
    """
    point = _points().get(family)
    if point is None:
        known = ", ".join(sorted(_points()))
        raise Incompatible(f"there is no family {family!r}; there are: {known}", {"family": family})
    try:
        found = point.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise Incompatible(f"family {family} comes from {point.value}, which does not load: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseModelAdapter) and found.family == family):
        raise Incompatible(f"family {family} comes from {point.value}, which is no adapter of that family")
    return found


def create_adapter(
    family: str, *, model_key: str = "model", task: Task = "classification", seed: int = 0, **hyperparams: Any
) -> BaseModelAdapter:
    """Make an unfitted model of a family.

    Raises:
        Incompatible: No such family, task or setting; or its framework is not installed (the message says what does).
    """
    return adapter_class(family)(model_key, task=task, seed=seed, **hyperparams)


def load_adapter(folder: Path | str) -> BaseModelAdapter:
    """Load whatever family a folder holds. Nothing in it is run.

    Raises:
        Broken: Files are missing or damaged.
        Incompatible: Its family is not available here.
    """
    return adapter_class(str(read_facts(Path(folder))["family"])).load(folder)


def _points() -> dict[str, EntryPoint]:
    """Find every family; ours cannot be replaced by another package's."""
    own = {family: EntryPoint(family, value, GROUP) for family, value in _OWN.items()}
    return {point.name: point for point in entry_points(group=GROUP)} | own


def _described(family: str, state: str) -> FamilyView:
    try:
        found = adapter_class(family)
    except Incompatible:
        return FamilyView(family=family, state=state)
    can = found.capabilities
    return FamilyView(
        family=family,
        state=state,
        adapter=found.__name__,
        tasks=tuple(sorted(can.tasks)),
        probabilities=can.probabilities,
        explain=can.explain,
        warm_start=can.warm_start,
        sequence=can.sequence,
        early_stopping=can.early_stopping,
        resource=can.resource,
        settings=tuple(
            Setting(name=s.name, kind=s.kind, default=s.default, choices=s.choices, search=s.search)
            for s in found.settings
        ),
    )


def _state(family: str) -> str:
    try:
        needs = adapter_class(family).capabilities.needs
    except Incompatible as error:
        return error.message
    missing = {module: install for module, install in needs.items() if find_spec(module) is None}
    if not missing:
        return "available"
    return f"needs {', '.join(missing)}; install with: {' && '.join(missing.values())}"


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_CLASSES[name]), name)

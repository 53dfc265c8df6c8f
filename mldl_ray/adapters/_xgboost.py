"""Gradient-boosted trees by xgboost (``xgb``): two classes or more, and regression."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters._matrices import digest, kept
from mldl_ray.adapters.base import BaseModelAdapter, Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.graphs import trees_graph
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles

FILE = "model.ubj"
_OURS = ("n_estimators", "max_bin", "nthread")  # settings that go elsewhere than into the training parameters


class XGBAdapter(BaseModelAdapter):
    """Trees on columns left as they are; a missing number goes the way that training found best."""

    family: ClassVar[str] = "xgb"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification", "regression"}),
        style="plain",
        early_stopping=True,
        resource="n_estimators",
        needs={"xgboost": "pip install 'xgboost>=3'"},
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "n_estimators",
            "int",
            200,
            low=1,
            high=20_000,
            aliases=("num_boost_round",),
            search=SearchDimension(kind="int", low=50, high=300),
            grid=(100, 200),
        ),
        Hyperparam(
            "learning_rate",
            "float",
            0.1,
            low=0.0,
            high=1.0,
            above=True,
            aliases=("eta",),
            search=SearchDimension(kind="float", low=0.02, high=0.3, log=True),
            grid=(0.05, 0.1, 0.2),
        ),
        Hyperparam(
            "max_depth",
            "int",
            6,
            low=0,
            high=64,
            search=SearchDimension(kind="int", low=3, high=9),
            grid=(4, 6, 8),
        ),
        Hyperparam(
            "min_child_weight",
            "float",
            1.0,
            low=0.0,
            search=SearchDimension(kind="float", low=0.5, high=20, log=True),
        ),
        Hyperparam(
            "subsample",
            "float",
            1.0,
            low=0.0,
            high=1.0,
            above=True,
            search=SearchDimension(kind="float", low=0.5, high=1.0),
        ),
        Hyperparam(
            "colsample_bytree",
            "float",
            1.0,
            low=0.0,
            high=1.0,
            above=True,
            search=SearchDimension(kind="float", low=0.4, high=1.0),
        ),
        Hyperparam(
            "reg_lambda",
            "float",
            1.0,
            low=0.0,
            aliases=("lambda",),
            search=SearchDimension(kind="float", low=1e-2, high=10, log=True),
        ),
        Hyperparam("reg_alpha", "float", 0.0, low=0.0, aliases=("alpha",)),
        Hyperparam("gamma", "float", 0.0, low=0.0, aliases=("min_split_loss",)),
        Hyperparam("colsample_bylevel", "float", 1.0, low=0.0, high=1.0, above=True),
        Hyperparam("colsample_bynode", "float", 1.0, low=0.0, high=1.0, above=True),
        Hyperparam("max_delta_step", "float", 0.0, low=0.0),
        Hyperparam("scale_pos_weight", "float", 1.0, low=0.0, above=True),
        Hyperparam("max_leaves", "int", 0, low=0),
        Hyperparam("grow_policy", "choice", "depthwise", choices=("depthwise", "lossguide")),
        Hyperparam("max_bin", "int", 256, low=2, high=65_536),
        Hyperparam("nthread", "int", 1, low=1, high=1024, aliases=("n_jobs",)),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        import xgboost  # noqa: PLC0415  # optional, and slow to load

        callbacks, judged = [], []
        if valid is not None and stopping is not None:
            judged = [(self._validation(*valid), "valid")]
            callbacks = [
                xgboost.callback.EarlyStopping(rounds=stopping.patience, min_delta=stopping.min_delta, save_best=True)
            ]
        self._booster = xgboost.train(
            self._parameters(),
            self._training(M, answers, weights),
            num_boost_round=self.hyperparams["n_estimators"],
            evals=judged,
            callbacks=callbacks,
            verbose_eval=False,
        )

    def _parameters(self) -> dict[str, Any]:
        chosen = {name: value for name, value in self.hyperparams.items() if name not in _OURS}
        if len(self.classes) != 2:
            chosen.pop("scale_pos_weight")  # of binary objectives only
        chosen |= {"tree_method": "hist", "max_bin": self.hyperparams["max_bin"], "seed": self.seed, "verbosity": 0}
        return chosen | {"nthread": self.hyperparams["nthread"]} | self._objective()

    def _objective(self) -> dict[str, Any]:
        if self.task == "regression":
            return {"objective": "reg:squarederror", "eval_metric": "rmse"}
        if len(self.classes) == 2:
            return {"objective": "binary:logistic", "eval_metric": "logloss"}
        return {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": len(self.classes)}

    def _training(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None) -> Any:
        import xgboost  # noqa: PLC0415  # as above

        bins, threads = self.hyperparams["max_bin"], self.hyperparams["nthread"]
        return kept(
            M,
            ("train", bins, threads, digest(answers), digest(weights)),
            lambda: xgboost.QuantileDMatrix(M, answers, weight=weights, max_bin=bins, nthread=threads),
        )

    def _validation(self, M: Matrix, answers: npt.NDArray[Any]) -> Any:
        import xgboost  # noqa: PLC0415  # as above

        threads = self.hyperparams["nthread"]
        return kept(M, ("valid", threads, digest(answers)), lambda: xgboost.DMatrix(M, answers, nthread=threads))

    def _raw(self, M: Matrix) -> Doubles:
        if len(M) == 0:
            return np.zeros((0, self.outputs))
        margins = self._booster.inplace_predict(M, predict_type="margin", strict_shape=True)
        return np.asarray(margins, dtype=np.float64)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """TreeSHAP (Lundberg et al., Nature Machine Intelligence 2020), as xgboost computes it: in single precision.

        Measured on Adult, 100 trees, margins up to 9: the sum is off by 2e-6 with trees of 6 levels, 5e-6 with 14 and
        3e-4 with 25.
        """
        import xgboost  # noqa: PLC0415  # as above

        data = xgboost.DMatrix(M, nthread=self.hyperparams["nthread"])
        values = self._booster.predict(data, pred_contribs=True, strict_shape=True).astype(np.float64)
        return values[:, :, :-1].transpose(0, 2, 1), values[0, :, -1]

    def _save(self, folder: Path) -> None:
        self._booster.save_model(folder / FILE)

    def _load(self, folder: Path) -> None:
        import xgboost  # noqa: PLC0415  # as above

        path = folder / FILE
        booster = xgboost.Booster()
        try:
            data = bytearray(path.read_bytes())
            if not data:
                raise Broken(f"{path} is empty")  # xgboost would end the process
            if not data.endswith(b"}"):
                raise Broken(f"{path} is cut short")  # xgboost reads on beyond its end, and sometimes dies of it
            booster.load_model(data)
            learner = json.loads(booster.save_config())["learner"]
            found = (learner["objective"]["name"], booster.num_features(), booster.num_boosted_rounds() > 0)
        except OSError as error:
            raise Broken(f"{path} cannot be read: {error.strerror}") from error
        except (xgboost.core.XGBoostError, KeyError, ValueError) as error:
            raise Broken(f"{path} is not a readable booster: {str(error).splitlines()[0]}") from error
        if found != (self._objective()["objective"], self.encoder.width, True):
            raise Broken(f"{path} does not fit the adapter's task and columns (found {found})")
        for number, tree in enumerate(_trees(booster)):
            if objection := _objection(tree, self.encoder.width):
                raise Broken(f"{path} holds a tree that is none (number {number}): {objection}")
        booster.set_param({"nthread": self.hyperparams["nthread"]})
        self._booster = booster

    def graph(self) -> bytes:
        """Write the trees as a graph in single precision, which is xgboost's own.

        Raises:
            Incompatible: The booster is not one of plain trees.
        """
        document = json.loads(self._booster.save_raw("json"))
        booster = document["learner"]["gradient_booster"]
        if booster["name"] != "gbtree" or any(any(tree["split_type"]) for tree in booster["model"]["trees"]):
            raise Incompatible(f"a {booster['name']} booster with native categories has no graph form")
        return trees_graph(booster["model"], self._base(document), self.encoder.width)

    def _base(self, document: dict[str, Any]) -> npt.NDArray[np.float32]:
        """Ask xgboost for the margin before the first tree, by a copy of the model whose trees all answer 0.

        The model stores the base score as a probability, and only xgboost's own arithmetic turns it into the exact
        single-precision margin.
        """
        import xgboost  # noqa: PLC0415  # as above

        learner = document["learner"]
        trees = learner["gradient_booster"]
        trees = trees | {"model": _silent(trees["model"], self.outputs)}
        bare = document | {"learner": learner | {"gradient_booster": trees}}
        booster = xgboost.Booster()
        booster.load_model(bytearray(json.dumps(bare).encode()))
        row = np.zeros((1, self.encoder.width), dtype=np.float32)
        return np.asarray(booster.inplace_predict(row, predict_type="margin", strict_shape=True)[0], dtype=np.float32)


def _silent(model: dict[str, Any], outputs: int) -> dict[str, Any]:
    trees = [_stump(tree, i) for i, tree in enumerate(model["trees"][:outputs])]
    return model | {
        "trees": trees,
        "tree_info": list(range(outputs)),
        "iteration_indptr": [0, outputs],
        "gbtree_model_param": model["gbtree_model_param"] | {"num_trees": str(outputs)},
    }


def _stump(tree: dict[str, Any], number: int) -> dict[str, Any]:
    """Cut a tree down to one leaf that answers 0."""
    cut = {name: value[:1] if isinstance(value, list) else value for name, value in tree.items()}
    cut |= {name: [] for name in cut if name.startswith("categories")}
    cut |= {"left_children": [-1], "right_children": [-1], "base_weights": [0.0], "split_conditions": [0.0]}
    return cut | {"id": number, "tree_param": tree["tree_param"] | {"num_nodes": "1", "num_deleted": "0"}}


def _trees(booster: Any) -> list[dict[str, Any]]:
    document = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    trees: list[dict[str, Any]] = document.get("model", {}).get("trees", [])
    return trees


def _objection(tree: dict[str, Any], width: int) -> str | None:
    """Say what is wrong with a tree that xgboost has parsed; it follows any child number that a file names."""
    left, right, parents, features = (
        np.array(tree[name], dtype=np.int64) for name in ("left_children", "right_children", "parents", "split_indices")
    )
    count, inner = len(left), np.flatnonzero(left != -1)
    children = np.concatenate([left[inner], right[inner]])
    if not ((children > 0) & (children < count)).all() or (right[left == -1] != -1).any():
        return "a child is not among its nodes"
    if len(np.unique(children)) != len(children) or (parents[children] != np.concatenate([inner, inner])).any():
        return "a node has two parents, or another than it says"
    return None if (features[inner] < width).all() else "it splits on a column that the encoder does not give"

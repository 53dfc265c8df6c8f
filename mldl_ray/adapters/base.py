"""What every family offers, whatever its framework. A family is one private file with a subclass of the class below.

A subclass gives ``family``, ``capabilities``, ``settings`` and the hooks at the end of the class; validation, encoding,
calibration, explanation and files are done here, once.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Conflict, Incompatible
from contracts.specs import EarlyStopping, SearchDimension, Task
from mldl_ray.adapters import target
from mldl_ray.adapters.encoder import Encoder, Matrix, Style
from mldl_ray.adapters.files import read_json, write_json
from mldl_ray.adapters.hyperparams import Hyperparam, read_all
from mldl_ray.adapters.links import Doubles, Link, probabilities
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.adapters.shapley import sampled_shapley
from mldl_ray.evaluation.calibration import Calibrator

FORMAT = 1
FILE = "adapter.json"
UNSUPERVISED: frozenset[Task] = frozenset({"clustering", "dimension_reduction", "generation"})
"""Tasks that learn from rows alone: a target, if there is one, is never shown to the model."""


@dataclass(frozen=True)
class Capabilities:
    """What a family can do, for those who choose one."""

    tasks: frozenset[Task]
    style: Style
    probabilities: bool = True  # classification: scores are probabilities that a calibrator can improve
    explain: Literal["exact", "sampled"] = "exact"  # whether attributions are computed or estimated
    warm_start: bool = False  # fitting again goes on from what is there
    sequence: bool = False  # a row holds a series of steps and not one moment
    multiclass: bool = True
    sample_weight: bool = True
    early_stopping: bool = False
    resource: str | None = None  # the hyperparameter that grows with training time: what hyperband hands out
    needs: Mapping[str, str] = field(default_factory=dict)  # module → the command that installs it


@dataclass(frozen=True)
class Explanation:
    """How much each input column moved each row's raw scores: ``base + values.sum(axis=1)`` is the raw score."""

    columns: tuple[str, ...]
    values: Doubles  # (rows, columns, outputs)
    base: Doubles  # (outputs,)


class BaseModelAdapter(ABC):
    """A model of one family: fitted on tables, saved to a folder, loaded without running code from it.

    Args:
        model_key: Name under which versions of it are kept.
        task: What it learns; the family must know it.
        seed: Of every random choice it makes.
        hyperparams: The family's settings; unknown ones are refused.

    Raises:
        Incompatible: A task or a setting that the family does not have, or its framework is not installed.
    """

    family: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    settings: ClassVar[tuple[Hyperparam, ...]] = ()

    def __init__(
        self, model_key: str = "model", *, task: Task = "classification", seed: int = 0, **hyperparams: Any
    ) -> None:
        if task not in self.capabilities.tasks:
            tasks = ", ".join(sorted(self.capabilities.tasks))
            raise Incompatible(f"family {self.family} cannot do {task!r}; it can do: {tasks}", {"family": self.family})
        self.model_key, self.task, self.seed = model_key, task, seed
        self.hyperparams = read_all(self.family, self.settings, hyperparams)
        self.classes: list[Any] = []
        self.calibrator: Calibrator | None = None
        self._encoder: Encoder | None = None
        self._fitted = False
        self._require()

    # Searching

    @classmethod
    def search_space(cls) -> dict[str, SearchDimension]:
        """Give the axes that a search moves when nobody says otherwise."""
        return {setting.name: setting.search for setting in cls.settings if setting.search is not None}

    @classmethod
    def grid(cls) -> dict[str, tuple[Any, ...]]:
        """Give the values that a grid search tries when nobody says otherwise."""
        return {setting.name: setting.grid for setting in cls.settings if setting.grid}

    # Tables in

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Learn from a table (Arrow, pandas, numpy) and one label or value per row; unsupervised ones from rows alone.

        Raises:
            Incompatible: No rows, lengths differ, missing labels, one class only, columns of unsupported types.
        """
        encoder = self.fit_encoder(X)
        return self.fit_matrix(encoder.transform(X), y, sample_weight=sample_weight)

    def fit_encoder(self, X: Any) -> Encoder:
        """Learn the part of preprocessing that no hyperparameter changes, and use it from here on."""
        encoder = Encoder.fit(X, self.capabilities.style)
        self.use_encoder(encoder)
        return encoder

    def use_encoder(self, encoder: Encoder) -> None:
        """Take an encoder that another adapter of this family fitted on the same training rows.

        Raises:
            Incompatible: It encodes in another style.
        """
        if encoder.style != self.capabilities.style:
            wanted = self.capabilities.style
            raise Incompatible(f"family {self.family} needs a {wanted} encoder, not a {encoder.style} one")
        self._encoder = encoder

    @property
    def encoder(self) -> Encoder:
        """The fitted preprocessing."""
        if self._encoder is None:
            raise Conflict(f"this {self.family} adapter is not fitted yet; call fit or load first")
        return self._encoder

    @property
    def schema(self) -> InputSchema:
        """The columns that it takes."""
        return self.encoder.schema

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Give one label or value per row, shape ``(n,)``; a reduction gives coordinates, shape ``(n, outputs)``."""
        return self.predict_matrix(self.encoder.transform(X))

    def predict_proba(self, X: Any) -> Doubles:
        """Give calibrated probabilities in the order of ``classes``; shape ``(n, k)``."""
        return self.predict_proba_matrix(self.encoder.transform(X))

    def explain(self, X: Any) -> Explanation:
        """Attribute each row's raw scores to the input columns, against an average training row."""
        matrix = self.encoder.transform(X)
        self._check_matrix(matrix)
        values, base = self._contributions(matrix)
        by_column = np.zeros((len(values), len(self.schema.columns), values.shape[2]))
        for encoded, owner in enumerate(self.encoder.owners):
            by_column[:, owner] += values[:, encoded]
        return Explanation(self.schema.names, by_column, base)

    def representation(self, X: Any) -> Doubles | None:
        """Give how the model itself sees each row, shape ``(n, width)``: what drift of embeddings is measured on.

        None where the family has none of its own; a family that has (a hidden layer) overrides this.
        """
        return None

    # Matrices in: what a search repeats

    def fit_matrix(
        self,
        M: Matrix,
        y: Any = None,
        *,
        sample_weight: Any = None,
        M_valid: Matrix | None = None,
        y_valid: Any = None,
        early_stopping: EarlyStopping | None = None,
    ) -> Self:
        """Learn from encoded rows; the arrays must not be changed afterwards, as families may keep what they built.

        Args:
            M: What ``encoder.transform`` gave for the training rows.
            y: One label or value per row; ignored by unsupervised tasks.
            sample_weight: One weight per row.
            M_valid: Encoded rows that early stopping judges by, with ``y_valid``; ignored by families without it.
            y_valid: Their labels or values.
            early_stopping: When to stop; never without ``M_valid``.

        Raises:
            Incompatible: As ``fit``; a width that is not the encoder's; validation labels never seen in training.
        """
        self._check_matrix(M, fitting=True)
        answers = np.zeros(len(M)) if self.task in UNSUPERVISED else self._learn_target(y)
        target.same_length(len(M), len(answers), "y")
        weights = target.to_weights(sample_weight, len(M))
        valid = None
        if M_valid is not None and early_stopping is not None and self.capabilities.early_stopping:
            self._check_matrix(M_valid, fitting=True)
            valid = (M_valid, self._known_target(y_valid, len(M_valid)))
            target.same_length(len(M_valid), len(valid[1]), "y_valid")
        self.calibrator = None
        self._fit(M, answers, weights, valid, early_stopping if valid else None)
        self._fitted = True
        return self

    def raw_matrix(self, M: Matrix) -> Doubles:
        """Give raw scores of encoded rows, before the link and the calibrator; shape ``(n, outputs)``."""
        self._check_matrix(M)
        return self._raw(M)

    def predict_proba_matrix(self, M: Matrix) -> Doubles:
        """Give calibrated probabilities of encoded rows; shape ``(n, k)``.

        Raises:
            Incompatible: The task has no classes.
        """
        if self.task != "classification":
            raise Incompatible(f"task {self.task!r} has no probabilities; use predict")
        scores = probabilities(self.raw_matrix(M), self.link)
        return scores if self.calibrator is None else self.calibrator.apply(scores)

    def predict_matrix(self, M: Matrix) -> npt.NDArray[Any]:
        """Give the answer for each encoded row, see ``predict``."""
        if self.task == "regression":
            return self.raw_matrix(M)[:, 0]
        if self.task == "dimension_reduction":
            return self.raw_matrix(M)
        best = (self.predict_proba_matrix(M) if self.task == "classification" else self.raw_matrix(M)).argmax(axis=1)
        return cast("npt.NDArray[Any]", np.array(self.classes)[best])

    # Files

    def save(self, folder: Path | str) -> None:
        """Write everything that ``load`` needs into a folder, which is made if absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._check_fitted()
        self._save(folder)
        facts = {
            "format": FORMAT,
            "family": self.family,
            "model_key": self.model_key,
            "task": self.task,
            "seed": self.seed,
            "classes": self.classes,
            "hyperparams": self.hyperparams,
            "encoder": self.encoder.to_json(),
            "calibrator": None if self.calibrator is None else self.calibrator.to_json(),
        }
        write_json(folder / FILE, facts)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a folder that ``save`` wrote. Nothing in it is run.

        Raises:
            Incompatible: It holds another family.
            Broken: Files are missing, damaged, or hold what this family does not.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        if facts["family"] != cls.family:
            raise Incompatible(f"{folder} holds a model of family {facts['family']!r}, not {cls.family!r}")
        try:
            adapter = cls(facts["model_key"], task=facts["task"], seed=facts["seed"], **facts["hyperparams"])
            adapter.classes = list(facts["classes"])
            adapter._encoder = Encoder.from_json(facts["encoder"])
            stored = facts["calibrator"]
            adapter.calibrator = None if stored is None else Calibrator.from_json(stored)
        except (KeyError, TypeError, ValueError, Incompatible) as error:
            raise Broken(f"{folder / FILE} is damaged: {type(error).__name__}: {error}") from error
        adapter._load(folder)
        adapter._fitted = True
        return adapter

    # Hooks of a family

    @property
    def link(self) -> Link:
        """How raw scores become probabilities; margins by default."""
        if self.task != "classification":
            return "identity"
        return "sigmoid" if len(self.classes) == 2 else "softmax"

    @abstractmethod
    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        """Learn. ``answers`` are positions in ``classes``, or values for regression; zeros for unsupervised tasks.

        Clustering sets ``classes``, the names of its clusters, as integers.
        """

    @abstractmethod
    def _raw(self, M: Matrix) -> Doubles:
        """Give raw scores, shape ``(n, outputs)``: one output for two classes and for regression.

        Clusters and actions: one column per entry of ``classes``, the largest wins (minus a distance; an action value).
        """

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Give attributions ``(n, width, outputs)`` and their base ``(outputs,)``; together they are the raw scores.

        Estimated from the raw scores alone; a family that can compute them overrides this.
        """
        return sampled_shapley(self._raw, M, self.encoder.centre, self.encoder.owners, seed=self.seed)

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write the model's own file."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read the model's own file; refuse with Broken whatever does not fit ``classes`` and the encoder."""

    def graph(self) -> bytes:
        """Write the model as an ONNX graph from ``matrix`` to ``raw`` (see ``graphs``).

        Raises:
            Incompatible: The family has none; the message says why, and the native model serves.
        """
        raise Incompatible(f"family {self.family} has no graph form")

    # Checks

    @property
    def outputs(self) -> int:
        """Count the raw scores of a row; a reduction overrides this."""
        if self.task in {"clustering", "reinforcement"}:
            return len(self.classes)
        return len(self.classes) if len(self.classes) > 2 else 1

    @classmethod
    def _require(cls) -> None:
        for module, install in cls.capabilities.needs.items():
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise Incompatible(
                    f"family {cls.family} needs {module}, which is not installed here ({error}); install it with: "
                    f"{install}",
                    {"family": cls.family, "install": install},
                ) from error

    def _learn_target(self, y: Any) -> npt.NDArray[Any]:
        if self.task != "classification":
            return target.to_values(y)
        self.classes, answers = target.to_classes(y)
        if len(self.classes) > 2 and not self.capabilities.multiclass:
            raise Incompatible(f"family {self.family} knows two classes; the target has {len(self.classes)}")
        return answers

    def _known_target(self, y: Any, rows: int) -> npt.NDArray[Any]:
        if self.task in UNSUPERVISED:
            return np.zeros(rows)
        if self.task != "classification":
            return target.to_values(y)
        place = {label: i for i, label in enumerate(self.classes)}
        try:
            return np.array([place[label] for label in target.to_vector(y, "y_valid").tolist()], dtype=np.int64)
        except KeyError as error:
            raise Incompatible(f"y_valid has class {error}, which the training rows lack") from error

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise Conflict(f"this {self.family} adapter is not fitted yet; call fit or load first")

    def _check_matrix(self, M: Matrix, *, fitting: bool = False) -> None:
        if not fitting:
            self._check_fitted()
        if M.ndim != 2 or (fitting and len(M) == 0):
            raise Incompatible(f"expected encoded rows × columns with at least one row, got shape {M.shape}")
        if M.shape[1] != self.encoder.width:
            raise Incompatible(f"the matrix has {M.shape[1]} columns; this encoder gives {self.encoder.width}")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the description of a saved adapter.

    Raises:
        Broken: It is absent, not JSON, incomplete, or of a format that this release does not know.
    """
    facts = read_json(folder / FILE)
    if facts.get("format") != FORMAT:
        raise Broken(f"{folder / FILE} has format {facts.get('format')!r}; this release reads {FORMAT}")
    missing = {"family", "model_key", "task", "seed", "classes", "hyperparams", "encoder", "calibrator"} - set(facts)
    if missing:
        raise Broken(f"{folder / FILE} lacks {', '.join(sorted(missing))}")
    return facts

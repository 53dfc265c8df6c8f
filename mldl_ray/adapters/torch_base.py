"""What every neural family shares: from encoded rows to a trained torch network, its answers, and its files.

A family gives ``_network``. Training runs in single precision, on a GPU when there is one; answers are computed on the
CPU in double precision, so that neither the batch nor the machine on which it was trained changes them by more than
rounding of doubles. torch is loaded when it is first used.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles

if TYPE_CHECKING:
    import torch

    from mldl_ray.adapters.torch_loop import Recipe, Rows

FILE = "weights.safetensors"
NEEDS = {"torch": "pip install 'mldl-ray[deep]'", "safetensors": "pip install 'mldl-ray[deep]'"}
POINTS = 32  # on the way from the average row to a row, where gradients are taken
_LARGEST = 1e30  # inputs of training in single precision are cut to ± this

TRAINING = (
    Hyperparam(
        "epochs",
        "int",
        20,
        low=1,
        high=100_000,
        aliases=("max_epochs",),
        search=SearchDimension(kind="int", low=5, high=40),
        grid=(10, 20),
    ),
    Hyperparam("batch_size", "int", 0, low=0, high=1_000_000),  # 0 chooses by the number of rows
    Hyperparam(
        "learning_rate",
        "float",
        3e-3,
        low=0.0,
        high=10.0,
        above=True,
        aliases=("lr",),
        search=SearchDimension(kind="float", low=3e-4, high=1e-2, log=True),
        grid=(1e-3, 3e-3, 1e-2),
    ),
    Hyperparam(
        "weight_decay",
        "float",
        1e-2,
        low=0.0,
        high=100.0,
        search=SearchDimension(kind="float", low=1e-4, high=1.0, log=True),
    ),
    Hyperparam("schedule", "choice", "one_cycle", choices=("one_cycle", "cosine", "constant")),
    Hyperparam("clip_norm", "float", 1.0, low=0.0, aliases=("gradient_clip",)),
    Hyperparam("class_weight", "choice", None, choices=(None, "balanced")),
    Hyperparam("device", "choice", "auto", choices=("auto", "cpu", "cuda")),
)
"""Settings of the training loop; a family adds its own, and may give these other defaults by ``training``."""


def training(**defaults: Any) -> tuple[Hyperparam, ...]:
    """Give the settings of the training loop with other defaults.

    >>> {setting.name: setting.default for setting in training(epochs=3)}["epochs"]
    3
    """
    return tuple(replace(setting, default=defaults.get(setting.name, setting.default)) for setting in TRAINING)


def batch_size_for(rows: int) -> int:
    """Choose a batch so that an epoch has about a hundred, each of 16 to 256 rows.

    >>> batch_size_for(500), batch_size_for(6_400), batch_size_for(50_000)
    (16, 64, 256)
    """
    return min(256, max(16, rows // 100))


class TorchAdapter(BaseModelAdapter):
    """A network over the encoded matrix. A subclass gives ``family``, ``capabilities``, ``settings``, ``_network``."""

    settings: ClassVar[tuple[Hyperparam, ...]] = TRAINING
    rows_at_once: ClassVar[int] = 1024  # of a prediction: bounds its memory, and changes nothing else

    # Hooks of a neural family

    @abstractmethod
    def _network(self, width: int, outputs: int) -> torch.nn.Module:
        """Build the network, with fresh weights from torch's generator.

        It takes the encoded matrix, a float tensor ``(n, width)``, and gives raw scores ``(n, outputs)``; of values,
        they are in units of the target's deviation. Each row's answer must depend on that row alone when the network
        is in evaluation mode. It must work in single and in double precision: buffers that it needs belong to its
        state, and new tensors take the type of the input.
        """

    def _change(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Disturb a batch of training rows (augmentation); by default they stay as they are."""
        return inputs

    # Learning

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from mldl_ray.adapters.torch_loop import seeded, train  # noqa: PLC0415  # torch loads when first used

        self._target: Doubles = _centre_and_scale(answers) if self.task == "regression" else np.array([0.0, 1.0])
        device = self._device()
        rows = self._rows(M, answers, self._row_weights(answers, weights), device)
        judges = None if valid is None else self._rows(*valid, None, device)
        with seeded(self.seed):
            network = self._network(M.shape[1], self.outputs).to(device)
            self.epochs_kept = train(
                network, rows, self._recipe(len(M)), self._losses, valid=judges, stopping=stopping, change=self._change
            )
        self._answering(network)

    def _answering(self, network: torch.nn.Module) -> None:
        """Keep a trained network for answers: on the CPU, in double precision, never to be trained again."""
        self._model = network.cpu().double().eval().requires_grad_(False)

    def _recipe(self, rows: int) -> Recipe:
        from mldl_ray.adapters.torch_loop import Recipe  # noqa: PLC0415  # as above

        names = ("epochs", "learning_rate", "weight_decay", "schedule", "clip_norm")
        batch_size = self.hyperparams["batch_size"] or batch_size_for(rows)
        return Recipe(**{name: self.hyperparams[name] for name in names}, batch_size=batch_size, seed=self.seed)

    def _device(self) -> str:
        import torch  # noqa: PLC0415  # as above

        wanted = str(self.hyperparams["device"])
        if wanted == "cuda" and not torch.cuda.is_available():
            raise Incompatible("device is 'cuda', but this machine has no GPU that torch can use; choose 'auto'")
        return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted

    def _rows(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None, device: str) -> Rows:
        import torch  # noqa: PLC0415  # as above

        from mldl_ray.adapters.torch_loop import Rows  # noqa: PLC0415  # as above

        expected = self._expected(answers)
        return Rows(
            torch.tensor(np.clip(M, -_LARGEST, _LARGEST), dtype=torch.float32, device=device),
            torch.tensor(expected, dtype=torch.int64 if expected.dtype.kind == "i" else torch.float32, device=device),
            None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device),
        )

    def _expected(self, answers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give answers as the loss takes them: positions of several classes, 0 and 1 of two, values standardised."""
        if self.task == "regression":
            return np.asarray((answers - self._target[0]) / self._target[1])
        return answers.astype(np.int64 if self.outputs > 1 else np.float64)

    def _row_weights(self, answers: npt.NDArray[Any], weights: Doubles | None) -> Doubles | None:
        """Give the rows' weights times those of their classes, with mean 1; None when all rows count the same."""
        if self.task != "classification" or self.hyperparams["class_weight"] is None:
            return None if weights is None else weights / weights.mean()
        rows = np.ones(len(answers)) if weights is None else weights
        mass = np.bincount(answers, weights=rows, minlength=len(self.classes))
        balanced = rows / np.where(mass > 0, mass, 1.0)[answers]
        return np.asarray(balanced / balanced.mean())

    def _losses(self, raw: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """Give each row's loss: logarithmic for classes, squared for values."""
        from torch.nn import functional  # noqa: PLC0415  # as above

        if self.task == "regression":
            return functional.mse_loss(raw[:, 0], answers, reduction="none")
        if raw.shape[1] == 1:
            return functional.binary_cross_entropy_with_logits(raw[:, 0], answers, reduction="none")
        return functional.cross_entropy(raw, answers, reduction="none")

    # Answering

    def _raw(self, M: Matrix) -> Doubles:
        import torch  # noqa: PLC0415  # as above

        parts = [np.zeros((0, self.outputs))]
        with torch.no_grad():
            for start in range(0, len(M), self.rows_at_once):
                rows = torch.tensor(M[start : start + self.rows_at_once], dtype=torch.float64)
                parts.append(self._model(rows).numpy())
        centre, scale = self._target
        return np.asarray(np.concatenate(parts) * scale + centre)

    def representation(self, X: Any) -> Doubles | None:
        """Give the last hidden layer of each row; None where the network is no chain, or has no hidden layer."""
        import torch  # noqa: PLC0415  # as above
        from torch import nn  # noqa: PLC0415  # as above

        if not isinstance(self._model, nn.Sequential) or len(self._model) < 2:
            return None
        M = self.encoder.transform(X)
        self._check_matrix(M)
        hidden, parts = self._model[:-1], list[Doubles]()
        with torch.no_grad():
            for start in range(0, len(M), self.rows_at_once):
                rows = torch.tensor(M[start : start + self.rows_at_once], dtype=torch.float64)
                parts.append(hidden(rows).flatten(1).numpy())
        return np.concatenate(parts) if parts else None

    def gradient(self, M: Matrix, answers: npt.NDArray[Any]) -> Doubles:
        """Give the slope of each row's loss along its encoded columns, 0 where one is missing: what an attack climbs.

        Args:
            M: Encoded rows.
            answers: Positions in ``classes``, or values.

        Returns:
            The shape of ``M``.
        """
        import torch  # noqa: PLC0415  # as above

        self._check_matrix(M)
        expected, slopes = self._expected(answers), np.zeros(M.shape)
        for start in range(0, len(M), self.rows_at_once):
            part = slice(start, start + self.rows_at_once)
            rows = torch.tensor(M[part], dtype=torch.float64, requires_grad=True)
            loss = self._losses(self._model(rows), torch.tensor(expected[part])).sum()
            slopes[part] = torch.autograd.grad(loss, rows)[0].numpy()
        return np.where(np.isnan(M), 0.0, slopes)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Estimate by integrated gradients from the average training row; what the estimate leaves over is spread.

        The remainder goes to the columns in proportion to the size of their shares, so that the sum is the raw score.

        Source:
            Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks" (ICML 2017).
        """
        centre = self.encoder.centre
        base = self._raw(centre[None])[0]
        moved = np.where(np.isnan(M), centre, M) - centre
        values = np.stack([self._slopes(centre, moved, output) * moved for output in range(len(base))], axis=2)
        left = self._raw(M) - base - values.sum(axis=1)
        size = np.abs(values) + 1e-12 * (moved != 0)[:, :, None]
        total = size.sum(axis=1, keepdims=True)
        share = np.divide(size, total, out=np.full_like(size, 1 / M.shape[1]), where=total > 0)
        return values + share * left[:, None, :], base

    def graph(self) -> bytes:
        """Write the network as a graph in double precision.

        Raises:
            Incompatible: It has a layer, or is no chain of layers, that ``torch_graphs`` can write.
        """
        from torch import nn  # noqa: PLC0415  # as above

        from mldl_ray.adapters.torch_graphs import network_graph  # noqa: PLC0415  # as above

        if not isinstance(self._model, nn.Sequential):
            raise Incompatible(f"the network of family {self.family} is no chain of layers, so it has no graph form")
        return network_graph(self._model, self.encoder.width, self.outputs, self._target)

    def _slopes(self, centre: Doubles, moved: Doubles, output: int) -> Doubles:
        """Average an output's gradient over points (Gauss–Legendre) on the straight way from the centre to each row."""
        import torch  # noqa: PLC0415  # as above

        slopes = np.zeros(moved.shape)
        nodes, shares = np.polynomial.legendre.leggauss(POINTS)
        for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
            for start in range(0, len(moved), self.rows_at_once):
                part = slice(start, start + self.rows_at_once)
                rows = torch.tensor(centre + node * moved[part], dtype=torch.float64, requires_grad=True)
                (slope,) = torch.autograd.grad(self._model(rows)[:, output].sum(), rows)
                slopes[part] += share * slope.numpy()
        return np.asarray(slopes * self._target[1])

    # Files

    def _save(self, folder: Path) -> None:
        from mldl_ray.adapters.torch_weights import write_weights  # noqa: PLC0415  # as above

        write_weights(folder / FILE, self._model, {"target": self._target})

    def _load(self, folder: Path) -> None:
        from mldl_ray.adapters.torch_loop import seeded  # noqa: PLC0415  # as above
        from mldl_ray.adapters.torch_weights import read_weights  # noqa: PLC0415  # as above

        with seeded(self.seed):
            network = self._network(self.encoder.width, self.outputs)
        self._target = np.asarray(read_weights(folder / FILE, network, {"target": np.zeros(2)})["target"], np.float64)
        self._answering(network)


def _centre_and_scale(values: npt.NDArray[Any]) -> Doubles:
    """Give mean and deviation of a target; a constant one has deviation 1."""
    deviation = float(values.std())
    return np.array([float(values.mean()), deviation if deviation > 0 else 1.0])

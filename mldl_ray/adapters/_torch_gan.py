"""Generative adversarial network (``gan``): makes rows like those that it saw. It predicts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.base import BaseModelAdapter, Capabilities
from mldl_ray.adapters.decoder import KNOTS, Decoder
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.files import read_json, write_json
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.torch_base import FILE, NEEDS, batch_size_for

if TYPE_CHECKING:
    from mldl_ray.adapters.torch_gan_loop import Duel, Maker

DECODER = "decoder.json"
LED_BY = 8192  # made rows from which the ranks of numbers are learned
ROWS_AT_ONCE = 1024  # of a sample: bounds its memory, and changes nothing else


class GANAdapter(BaseModelAdapter):
    """A maker and a judge, both fully connected. With ``condition``, a column, each of its values gets its own rows."""

    family: ClassVar[str] = "gan"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"generation"}),
        style="scaled",
        probabilities=False,
        explain="sampled",
        multiclass=False,
        resource="epochs",
        needs=NEEDS,
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam("condition", "text", None),
        Hyperparam(
            "epochs",
            "int",
            300,
            low=1,
            high=1_000_000,
            search=SearchDimension(kind="int", low=100, high=400),
            grid=(200, 400),
        ),
        Hyperparam("batch_size", "int", 0, low=0, high=1_000_000),  # 0 chooses by the number of rows
        Hyperparam(
            "learning_rate",
            "float",
            5e-4,
            low=0.0,
            high=10.0,
            above=True,
            search=SearchDimension(kind="float", low=1e-4, high=2e-3, log=True),
        ),
        Hyperparam(
            "width", "int", 256, low=1, high=16_384, search=SearchDimension(kind="int", low=64, high=512, log=True)
        ),
        Hyperparam("depth", "int", 2, low=0, high=16),
        Hyperparam("noise", "int", 32, low=1, high=4096),
        Hyperparam("average", "float", 0.995, low=0.0, high=0.999_999),
    )

    def sample(self, n: int, seed: int = 0, *, condition: Any = None) -> pa.Table:
        """Make rows.

        Args:
            n: How many.
            seed: The same seed makes the same rows.
            condition: Make all of them for this value of the condition; as often as in training when absent.

        Returns:
            A table with the columns of the training rows, the condition among them.

        Raises:
            Conflict: Not fitted yet.
            Incompatible: A negative ``n``, or a condition that training never had.
        """
        self._check_fitted()
        if n < 0:
            raise Incompatible(f"cannot make {n} rows; ask for 0 or more")
        level = None if condition is None else self._decoder.level(condition)
        made, places = self._made(n, seed, level)
        return self._decoder.table(made, places)

    def _made(self, n: int, seed: int, level: int | None = None) -> tuple[Doubles, npt.NDArray[np.int64]]:
        """Make rows in the maker's own space, and say under which levels of the condition."""
        import torch  # noqa: PLC0415  # torch loads when first used

        from mldl_ray.adapters.torch_gan_loop import gumbel  # noqa: PLC0415  # as above

        rng, decoder = np.random.default_rng(seed), self._decoder
        places = rng.choice(len(decoder.levels), size=n, p=decoder.shares)
        if level is not None:
            places[:] = level
        noise = rng.normal(size=(n, self.hyperparams["noise"]))
        drawn = rng.random((n, sum(decoder.blocks)))
        made = [np.zeros((0, len(decoder.made)))]
        for start in range(0, n, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            told = torch.eye(len(decoder.levels), dtype=torch.float64)[places[part]]
            with torch.no_grad():
                rows = self._maker(torch.tensor(noise[part]), told, gumbel(torch.tensor(drawn[part])))
            made.append(rows.numpy())
        return np.concatenate(made), places

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        import torch  # noqa: PLC0415  # as above

        from mldl_ray.adapters.torch_gan_loop import contest  # noqa: PLC0415  # as above
        from mldl_ray.adapters.torch_loop import seeded  # noqa: PLC0415  # as above

        self._decoder = Decoder.fit(self.encoder, M, self.hyperparams["condition"], weights)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        rows = torch.tensor(self._decoder.compress(M), dtype=torch.float32, device=device)
        places = self._decoder.place(self._decoder.told(M))
        told = torch.eye(len(self._decoder.levels), device=device)[places]
        with seeded(self.seed):
            duel = self._duel(len(M))
            drawn = None if weights is None else torch.tensor(weights)
            maker = contest(self._build(duel).to(device), rows, told, duel, drawn)
        self._answering(maker)
        self._decoder = self._decoder.led(self._made(LED_BY, self.seed)[0], M, weights)

    def _duel(self, rows: int) -> Duel:
        from mldl_ray.adapters.torch_gan_loop import Duel  # noqa: PLC0415  # as above

        names = ("epochs", "learning_rate", "noise", "width", "depth", "average")
        batch_size = self.hyperparams["batch_size"] or max(64, batch_size_for(rows))
        return Duel(**{name: self.hyperparams[name] for name in names}, batch_size=batch_size, seed=self.seed)

    def _build(self, duel: Duel) -> Maker:
        from mldl_ray.adapters.torch_gan_loop import Maker  # noqa: PLC0415  # as above

        return Maker(duel, len(self._decoder.levels), self._decoder.numbers, self._decoder.blocks)

    def _answering(self, maker: Maker) -> None:
        self._maker = maker.cpu().double().eval().requires_grad_(False)

    def _raw(self, M: Matrix) -> Doubles:
        raise Incompatible("family gan makes rows and predicts nothing; use sample", {"family": "gan"})

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        raise Incompatible("family gan makes rows and has no prediction to explain", {"family": "gan"})

    def graph(self) -> bytes:
        """Refuse: there is no prediction to serve.

        Raises:
            Incompatible: Always.
        """
        raise Incompatible("family gan makes rows and has no prediction to serve", {"family": "gan"})

    def _save(self, folder: Path) -> None:
        from mldl_ray.adapters.torch_weights import write_weights  # noqa: PLC0415  # as above

        write_json(folder / DECODER, self._decoder.to_json())
        write_weights(folder / FILE, self._maker, {"ranks": np.asarray(self._decoder.ranks)})

    def _load(self, folder: Path) -> None:
        from mldl_ray.adapters.torch_loop import seeded  # noqa: PLC0415  # as above
        from mldl_ray.adapters.torch_weights import read_weights  # noqa: PLC0415  # as above

        self._decoder = decoder = Decoder.from_json(read_json(folder / DECODER), self.encoder)
        with seeded(self.seed):
            maker = self._build(self._duel(1))
        expected = np.zeros((2, decoder.numbers, KNOTS))
        ranks = read_weights(folder / FILE, maker, {"ranks": expected})["ranks"]
        self._decoder = decoder.with_ranks(np.asarray(ranks, np.float64))
        self._answering(maker)

"""What the neural families of series share: their explanation, where a column left out is one that is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.shapley import sampled_shapley
from mldl_ray.adapters.torch_base import TorchAdapter

if TYPE_CHECKING:
    from mldl_ray.adapters.torch_steps import Recurrent, Transformer

ORDERS = 4


class SequenceAdapter(TorchAdapter):
    """A network over series of steps. A subclass gives what ``TorchAdapter`` asks for, with style ``sequence``."""

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Estimate by sampled Shapley values over the input columns, against a row in which all are missing.

        An average row will not do here: it would have a length, and series have different ones.
        """
        owners = self.encoder.owners
        columns, firsts = np.unique(owners, return_index=True)

        def raw(present: Matrix) -> Doubles:
            return self._raw(self._without(M[: len(present)], present[:, np.searchsorted(columns, owners)] == 0))

        everything, nothing = np.ones((len(M), len(columns))), np.zeros(len(columns))
        shares, base = sampled_shapley(raw, everything, nothing, np.arange(len(columns)), seed=self.seed, orders=ORDERS)
        values = np.zeros((*M.shape, len(base)))
        values[:, firsts] = shares
        return values, base

    def _without(self, M: Matrix, gone: npt.NDArray[np.bool_]) -> Matrix:
        """Take values out as if their columns were missing; rows without any series are one step long."""
        empty = self.encoder.transform(pa.table({name: pa.nulls(1) for name in self.schema.names}))[0]
        width = self.encoder.step_width
        first = np.tile(empty[:width], M.shape[1] // width)
        changed = np.where(gone & ~np.isnan(M), first, M)
        shortest = gone[:, : len(self.encoder.sequences)].all(axis=1)
        changed[shortest, width:] = np.nan
        return changed

    def graph(self) -> bytes:
        """Write the network as a graph in double precision."""
        from mldl_ray.adapters.torch_steps_graph import steps_graph  # noqa: PLC0415  # torch loads when first used

        return steps_graph(cast("Recurrent | Transformer", self._model), self.encoder.width, self.outputs, self._target)

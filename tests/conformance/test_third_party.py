"""Families of other packages: an entry point is all it takes, and ours cannot be replaced by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Incompatible
from mldl_ray.adapters import create_adapter, families, load_adapter
from mldl_ray.adapters.conformance import answers, mixed_table

MODULE = '''
import json
import numpy as np
from mldl_ray.adapters import BaseModelAdapter, Capabilities
from mldl_ray.adapters.files import read_json, write_json


class SlopesAdapter(BaseModelAdapter):
    """Least squares on encoded columns."""

    family = "slopes"
    capabilities = Capabilities(tasks=frozenset({"regression"}), style="scaled", probabilities=False)

    def _fit(self, M, answers, weights, valid, stopping):
        root = np.sqrt(np.ones(len(M)) if weights is None else weights)
        wide = np.column_stack([M, np.ones(len(M))])
        self._slopes = np.linalg.lstsq(wide * root[:, None], answers * root, rcond=None)[0]

    def _raw(self, M):
        return (M @ self._slopes[:-1] + self._slopes[-1])[:, None]

    def _contributions(self, M):
        values = ((M - self.encoder.centre) * self._slopes[:-1])[:, :, None]
        return values, np.array([self.encoder.centre @ self._slopes[:-1] + self._slopes[-1]])

    def _save(self, folder):
        write_json(folder / "slopes.json", {"slopes": self._slopes.tolist()})

    def _load(self, folder):
        self._slopes = np.array(read_json(folder / "slopes.json")["slopes"])
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip would leave it, with four entry points, three of them bad."""
    (tmp_path / "their_slopes.py").write_text(MODULE)
    info = tmp_path / "their_slopes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-slopes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mldl_ray.adapters]\n"
        "slopes = their_slopes:SlopesAdapter\n"
        "lr = their_slopes:SlopesAdapter\n"
        "gone = their_slopes:NoSuchAdapter\n"
        "other = their_slopes:SlopesAdapter\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_a_family_of_another_package_is_listed_fitted_and_loaded(tmp_path: Path) -> None:
    assert families()["slopes"] == "available"
    table = mixed_table()
    model = create_adapter("slopes", task="regression").fit(table, answers(table, "regression"))
    model.save(tmp_path / "model")
    assert load_adapter(tmp_path / "model").predict(table).tolist() == model.predict(table).tolist()


@pytest.mark.usefixtures("installed")
def test_ours_cannot_be_replaced() -> None:
    assert type(create_adapter("lr")).__name__ == "LogisticRegressionAdapter"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("family", "said"), [("gone", "does not load"), ("other", "no adapter of that family")])
def test_an_entry_point_that_is_wrong_says_so_and_harms_nothing_else(family: str, said: str) -> None:
    assert said in families()[family]
    with pytest.raises(Incompatible, match=said):
        create_adapter(family)
    assert families()["xgb"] == "available"

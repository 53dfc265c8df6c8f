"""What is asked of every system: two data sets, each as a file to train from and one-row requests to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.datasets import load_breast_cancer

from bench.peers.pipelines import TARGETS, XGB
from contracts.specs import Json
from mldl_ray.demo.data import prepare

ROWS = 200


class Workload(NamedTuple):
    """A data set with the settings of our version of its pipeline, and rows to send."""

    name: str
    file: Path
    family: str
    hyperparams: Json
    rows: list[Any]

    @property
    def target(self) -> str:
        """Name the column to predict."""
        return TARGETS[self.name]

    def bodies(self, field: str = "inputs") -> list[str]:
        """Write every row as a request of its own."""
        return [json.dumps({field: [row]}) for row in self.rows]


def lr(folder: Path) -> Workload:
    """Breast cancer: 30 numbers a row, sent in order; logistic regression."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = load_breast_cancer(as_frame=True).frame
    file = folder / "lr.parquet"
    frame.to_parquet(file, index=False)
    rows = frame.drop(columns=TARGETS["lr"]).sample(ROWS, random_state=0)
    return Workload("lr", file, "lr", {"C": 1.0}, rows.to_numpy().tolist())


def adult(folder: Path) -> Workload:
    """Census: 13 columns, numbers and strings, some missing, sent as records; preprocessing and boosted trees."""
    census = prepare(folder, live_rows=ROWS)
    return Workload("adult", census.train_file, "xgb", XGB, census.rows)


MAKE = {"lr": lr, "adult": adult}

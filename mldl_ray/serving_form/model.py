"""The hot path: a version as an endpoint holds it. Loaded once, called from many threads, no lock, no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from contracts.errors import Broken
from contracts.records import ServingForm
from mldl_ray.adapters import load_adapter
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.links import probabilities
from mldl_ray.serving_form.form import GRAPH, Form
from mldl_ray.serving_form.record import RecordEncoder

Raw = Callable[[Matrix], npt.NDArray[Any]]


@dataclass(slots=True)
class Answer:
    """Predictions for some rows.

    ``scores`` has one number per row: the probability of the second of two classes, of the chosen one of several, the
    value itself, the raw score of the chosen cluster or action, or the first coordinate of a reduction. ``rows`` has
    the inputs in column order.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None
    scores: list[float]
    rows: list[list[Any]]


class ServingModel:
    """A loaded version: ``predict`` from records to answers."""

    def __init__(self, form: Form, raw: Raw) -> None:
        self._form, self._raw = form, raw
        self._records = RecordEncoder(form.encoder)
        self.columns: tuple[str, ...] = form.encoder.schema.names
        self.model_key, self.task, self.classes = form.model_key, form.task, form.classes
        self.schema = form.encoder.schema

    @property
    def form(self) -> ServingForm:
        """What serves, and its proof."""
        return self._form.serving

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Load a version's folder. Nothing in it is run but its graph.

        Raises:
            Broken: Files are missing or damaged.
        """
        folder = Path(folder)
        form = Form.read(folder)
        if form.serving.kind == "native":
            return cls(form, load_adapter(folder).raw_matrix)
        try:
            data = (folder / GRAPH).read_bytes()
        except OSError as error:
            raise Broken(f"{folder / GRAPH} cannot be read: {error.strerror}") from error
        return cls(form, graph_runner(data, form.encoder.width))

    def predict(self, inputs: Any) -> Answer:
        """Answer a list of records ``{column: value}`` or of rows in column order.

        Raises:
            Incompatible: See ``record``: the message names the row, the column, the value and what was expected.
        """
        rows = self._records.rows(inputs)
        raw = self._raw(self._records.matrix(rows))
        plain_rows = [list(row) for row in rows]
        if self.task != "classification":
            return self._without_probabilities(raw, plain_rows)
        proba = probabilities(raw, self._form.link)
        if self._form.calibrator is not None:
            proba = self._form.calibrator.apply(proba)
        best = proba.argmax(axis=1)
        scores = proba[:, 1] if proba.shape[1] == 2 else proba.max(axis=1)
        classes = self.classes
        return Answer([classes[i] for i in best.tolist()], proba.tolist(), scores.tolist(), plain_rows)

    def _without_probabilities(self, raw: npt.NDArray[Any], rows: list[list[Any]]) -> Answer:
        if self.task == "regression":
            values = raw[:, 0].tolist()
            return Answer(values, None, values, rows)
        if self.task == "dimension_reduction":
            return Answer(raw.tolist(), None, raw[:, 0].tolist(), rows)
        chosen = [self.classes[i] for i in raw.argmax(axis=1).tolist()]
        return Answer(chosen, None, raw.max(axis=1).tolist(), rows)


def graph_runner(data: bytes, width: int) -> Raw:
    """Load a graph from ``matrix`` to ``raw``; the runner may be called from many threads.

    Raises:
        Broken: Not a graph, or one of another shape.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # replicas scale by process; a pool of threads only adds latency to one row
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class; all mean that this is no usable graph
        raise Broken(f"the serving graph does not load: {str(error).splitlines()[0]}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != ["matrix"] or [o.name for o in outputs] != ["raw"] or inputs[0].shape[1] != width:
        raise Broken("the serving graph does not take the encoder's matrix")
    dtype = np.dtype(np.float64 if inputs[0].type == "tensor(double)" else np.float32)
    run, names = session.run, ["raw"]

    def raw(matrix: Matrix) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = run(names, {"matrix": matrix.astype(dtype, copy=False)})[0]
        return result

    return raw

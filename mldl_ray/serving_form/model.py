"""The hot path: a version as an endpoint holds it. Loaded once, called from many threads, no lock, no state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from contracts.errors import Broken, MldlError
from contracts.records import ServingForm
from mldl_ray.adapters import load_adapter
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.links import probabilities
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.serving_form.form import GRAPH, Form
from mldl_ray.serving_form.pace import Pace, measure_pace
from mldl_ray.serving_form.record import RecordEncoder, Row

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

    def part(self, start: int, end: int) -> Answer:
        """Give the answer to some of the rows."""
        proba = None if self.probabilities is None else self.probabilities[start:end]
        return Answer(self.predictions[start:end], proba, self.scores[start:end], self.rows[start:end])


class InputView(Protocol):
    """What makes the model's columns of those that callers send; see ``mldl_ray.features.serving``."""

    schema: InputSchema

    def rows(self, inputs: Any) -> list[Row]:
        """Check inputs and bring them into column order."""
        ...

    def features(self, rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
        """Make the model's columns of checked rows."""
        ...


class Encoded(NamedTuple):
    """Inputs that were read and checked: rows in column order, and the model's matrix of them."""

    rows: list[Row]
    matrix: Matrix


class ServingModel:
    """A loaded version: ``predict`` from records to answers.

    ``pace`` is None until ``warm_up`` measured it.
    """

    def __init__(self, form: Form, raw: Raw, view: InputView | None = None) -> None:
        self._form, self._raw, self._view = form, raw, view
        self._records = RecordEncoder(form.encoder)
        self.schema = form.encoder.schema if view is None else view.schema
        self.columns: tuple[str, ...] = self.schema.names
        self.model_key, self.task, self.classes = form.model_key, form.task, form.classes
        self.pace: Pace | None = None

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
        view = _view_of(folder)
        if form.serving.kind == "native":
            return cls(form, load_adapter(folder).raw_matrix, view)
        try:
            data = (folder / GRAPH).read_bytes()
        except OSError as error:
            raise Broken(f"{folder / GRAPH} cannot be read: {error.strerror}") from error
        return cls(form, graph_runner(data, form.encoder.width), view)

    def predict(self, inputs: Any) -> Answer:
        """Answer a list of records ``{column: value}`` or of rows in column order.

        Raises:
            Incompatible: See ``record``: the message names the row, the column, the value and what was expected.
        """
        return self.answer(self.read(inputs))

    def read(self, inputs: Any) -> Encoded:
        """Check inputs and bring them into the model's terms.

        Raises:
            Incompatible: See ``predict``.
        """
        if self._view is None:
            rows = self._records.rows(inputs)
            return Encoded(rows, self._records.matrix(rows))
        rows = self._view.rows(inputs)
        return Encoded(rows, self._records.matrix(self._view.features(rows, self._records.names)))

    def answer(self, encoded: Encoded) -> Answer:
        """Answer what was read.

        Raises:
            Broken: The model itself fails.
        """
        raw, plain_rows = self._run(encoded.matrix), [list(row) for row in encoded.rows]
        if self.task != "classification":
            return self._without_probabilities(raw, plain_rows)
        proba = probabilities(raw, self._form.link)
        if self._form.calibrator is not None:
            proba = self._form.calibrator.apply(proba)
        best = proba.argmax(axis=1)
        scores = proba[:, 1] if proba.shape[1] == 2 else proba.max(axis=1)
        classes = self.classes
        return Answer([classes[i] for i in best.tolist()], proba.tolist(), scores.tolist(), plain_rows)

    def answer_each(self, many: Sequence[Encoded]) -> list[Answer]:
        """Answer several callers in one run, each with the answer to its own rows.

        Raises:
            Broken: The model itself fails; nothing says on whose rows.
        """
        if len(many) == 1:
            return [self.answer(many[0])]
        together = Encoded([row for one in many for row in one.rows], np.concatenate([one.matrix for one in many]))
        answer = self.answer(together)
        ends = accumulate((len(one.rows) for one in many), initial=0)
        return [answer.part(start, end) for start, end in pairwise(ends)]

    def warm_up(self, rows: Sequence[Row]) -> None:
        """Answer some rows, so that no caller pays for what the first runs allocate, and measure the ``pace``."""
        read = [self.read([row]) for row in rows]
        for one in read:
            self.answer(one)
        if read:
            self.pace = measure_pace(lambda count: self.answer_each([read[i % len(read)] for i in range(count)]))

    def _run(self, matrix: Matrix) -> npt.NDArray[Any]:
        try:
            return self._raw(matrix)
        except MldlError:
            raise
        except Exception as error:  # each framework has its own; whatever it is, the model broke and not its caller
            raise Broken(f"{self.model_key} failed on {len(matrix)} rows: {type(error).__name__}: {error}") from error

    def _without_probabilities(self, raw: npt.NDArray[Any], rows: list[list[Any]]) -> Answer:
        if self.task == "regression":
            values = raw[:, 0].tolist()
            return Answer(values, None, values, rows)
        if self.task == "dimension_reduction":
            return Answer(raw.tolist(), None, raw[:, 0].tolist(), rows)
        chosen = [self.classes[i] for i in raw.argmax(axis=1).tolist()]
        return Answer(chosen, None, raw.max(axis=1).tolist(), rows)


def _view_of(folder: Path) -> InputView | None:
    """Read the version's feature view; None where it has none."""
    from mldl_ray.features.serving import ServedView  # noqa: PLC0415  # it reads records as this package does

    return ServedView.read(folder)


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

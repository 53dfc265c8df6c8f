"""Make a version's serving form, and use it only when it is proven equal to the native model."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from contracts.errors import Broken, Incompatible
from contracts.records import ServingForm
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.serving_form.form import GRAPH, Form
from mldl_ray.serving_form.model import Raw, ServingModel, graph_runner
from mldl_ray.serving_form.prove import TOLERANCE, Proof, prove


def compile_form(adapter: BaseModelAdapter, folder: Path | str, sample: pa.Table) -> ServingForm:
    """Write ``serving.json``, and ``form.onnx`` when the graph is proven equal, into a saved adapter's folder.

    Call it last: the calibrator is part of the form.

    Args:
        adapter: Fitted, calibrated, and saved into ``folder``.
        folder: Where ``adapter.save`` wrote.
        sample: Rows that the model takes, best held out from training; a few hundred are compared.

    Returns:
        What serves; ``why_native`` says why no graph does.

    Raises:
        Broken: Not even the native model answers records as it answers tables: a defect, and nothing may serve.
    """
    folder = Path(folder)
    try:
        graph = adapter.graph()
        serving = _proven(adapter, "onnx", graph_runner(graph, adapter.encoder.width), sample)
    except (Incompatible, Broken) as error:
        serving = _native(adapter, sample, error.message)
    else:
        (folder / GRAPH).write_bytes(graph)
    Form.of(adapter, serving).write(folder)
    return serving


def _native(adapter: BaseModelAdapter, sample: pa.Table, why: str) -> ServingForm:
    return _proven(adapter, "native", adapter.raw_matrix, sample).model_copy(update={"why_native": why})


def _proven(adapter: BaseModelAdapter, kind: str, raw: Raw, sample: pa.Table) -> ServingForm:
    unproven = ServingForm(kind="onnx", file=GRAPH) if kind == "onnx" else ServingForm(kind="native")
    proof: Proof = prove(adapter, ServingModel(Form.of(adapter, unproven), raw).predict, sample)
    if proof.objection is not None:
        raise Broken(f"the {kind} form is not equal to the model: {proof.objection}")
    return unproven.model_copy(
        update={"tolerance": TOLERANCE, "largest_difference": proof.largest_difference, "rows_compared": proof.rows}
    )

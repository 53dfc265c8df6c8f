"""The families of series keep every promise of an adapter, on tables with series beside every other kind of column."""

from typing import Any, ClassVar

from mldl_ray.adapters._torch_recurrent import LSTMAdapter, RNNAdapter
from mldl_ray.adapters._torch_transformer import TransformerAdapter
from mldl_ray.adapters.conformance import AdapterConformance

SMALL: dict[str, Any] = {"epochs": 8, "batch_size": 40, "learning_rate": 0.03}


class TestRNN(AdapterConformance):
    family = RNNAdapter
    hyperparams: ClassVar[dict[str, Any]] = SMALL | {"hidden": 8}


class TestLSTM(AdapterConformance):
    family = LSTMAdapter
    hyperparams: ClassVar[dict[str, Any]] = SMALL | {"hidden": 8}


class TestTransformer(AdapterConformance):
    family = TransformerAdapter
    hyperparams: ClassVar[dict[str, Any]] = SMALL | {"heads": 2, "head_width": 4, "layers": 1}

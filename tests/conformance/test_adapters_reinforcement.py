"""Policies keep the promises of an adapter; what teaches them is an environment, and tables only ask them."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy

from contracts.errors import Broken, Conflict, Incompatible
from mldl_ray.adapters import load_adapter
from mldl_ray.adapters._q_learning import QLearningAdapter
from mldl_ray.adapters._torch_dqn import DQNAdapter
from mldl_ray.adapters._torch_pg import PolicyGradientAdapter
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.conformance import ROWS, AdapterConformance, refusal
from mldl_ray.adapters.reinforcement import PolicyAdapter

SHORT: dict[type[PolicyAdapter], dict[str, Any]] = {
    QLearningAdapter: {"episodes": 200, "evaluate_every": 100, "evaluate_episodes": 10},
    DQNAdapter: {"episodes": 12, "warm_up_steps": 50, "evaluate_episodes": 2, "hidden_units": 16},
    PolicyGradientAdapter: {"episodes": 8, "batch_episodes": 4, "evaluate_episodes": 2, "hidden_units": 16},
}


def short(family: type[PolicyAdapter], environment: str = "FrozenLake-v1", **more: Any) -> PolicyAdapter:
    return family("kit", task="reinforcement", seed=7, **(SHORT[family] | {"environment": environment} | more))


class PolicyConformance(AdapterConformance):
    """The kit, where a table teaches nothing. A subclass gives ``column``, the first of the observation's."""

    family: ClassVar[type[PolicyAdapter]]
    column = "observation_0"

    def table(self) -> pa.Table:
        rows = np.random.default_rng(0).normal(0, 1, (4, ROWS))
        return pa.table({f"observation_{i}": row for i, row in enumerate(rows)})

    def fitted(self) -> Iterator[tuple[BaseModelAdapter, pa.Table]]:
        adapter = self.make("reinforcement")
        assert isinstance(adapter, PolicyAdapter)
        yield adapter.learn(), self.table()

    def test_it_learns_something(self) -> None:
        for adapter, table in self.fitted():
            assert set(adapter.predict(table).tolist()) <= set(adapter.classes)
            assert len(np.unique(adapter.raw_matrix(adapter.encoder.transform(table)))) > 2

    def test_missing_unseen_and_extreme_values_are_answered(self) -> None:
        for adapter, table in self.fitted():
            assert adapter.predict(pa.table({name: pa.nulls(1) for name in table.column_names})).shape == (1,)
            odd = table.slice(0, 4).set_column(0, self.column, pa.array([1e300, -1e300, -0.0, 0.5]))
            assert np.isfinite(adapter.raw_matrix(adapter.encoder.transform(odd))).all()

    def test_a_missing_or_unknown_column_is_refused_by_name(self) -> None:
        for adapter, table in self.fitted():
            extra = table.append_column("reward", table[self.column])
            assert "'reward' is unknown" in refusal(adapter.predict, extra)
            assert f"'{self.column}' is missing" in refusal(adapter.predict, extra.drop_columns([self.column]))

    def test_a_column_of_another_kind_is_refused_by_name(self) -> None:
        for adapter, table in self.fitted():
            wrong = table.set_column(0, self.column, pa.array(["left"] * table.num_rows))
            assert f"'{self.column}'" in refusal(adapter.predict, wrong)

    def test_an_infinite_value_is_refused_with_its_row(self) -> None:
        for adapter, table in self.fitted():
            wrong = table.slice(0, 2).set_column(0, self.column, pa.array([1.0, float("inf")]))
            assert "row 1" in refusal(adapter.predict, wrong)

    def test_rows_that_teach_nothing_are_refused(self) -> None:
        adapter, table = self.make("reinforcement"), self.table()
        for act in (adapter.fit, adapter.fit_encoder, partial(adapter.fit_matrix, y=None)):
            assert "call learn()" in refusal(act, table)

    def test_an_empty_column_has_no_effect_and_makes_no_noise(self) -> None:
        """There are no columns but the environment's own."""

    def test_a_shared_encoder_and_its_matrix_give_the_same_model(self) -> None:
        """Nothing is learned from a matrix."""

    def test_an_unknown_task_or_setting_is_refused_and_those_known_are_listed(self) -> None:
        assert "classification" in refusal(lambda: self.make("classification"))
        message = refusal(lambda: self.make("reinforcement", no_such_setting=1))
        assert all(setting.name in message for setting in self.family.settings)

    def test_a_setting_of_the_wrong_type_is_refused_by_name(self) -> None:
        for setting in self.family.settings:
            for wrong in (["a lot"], float("nan"), ""):
                assert setting.name in refusal(partial(self.make, "reinforcement", **{setting.name: wrong}))

    def test_what_it_plays_is_the_same_after_loading(self, tmp_path: Path) -> None:
        for adapter, _ in self.fitted():
            adapter.save(tmp_path)
            again = load_adapter(tmp_path)
            assert isinstance(adapter, PolicyAdapter) and isinstance(again, PolicyAdapter)
            assert np.array_equal(again.mean_return(5, seed=3), adapter.mean_return(5, seed=3))


class OfStates(PolicyConformance):
    column = "observation"

    def table(self) -> pa.Table:
        return pa.table({"observation": np.random.default_rng(0).integers(0, 16, ROWS)})


class TestQLearning(OfStates):
    family = QLearningAdapter
    hyperparams: ClassVar[dict[str, Any]] = SHORT[QLearningAdapter] | {"environment": "FrozenLake-v1"}


class TestDQN(PolicyConformance):
    family = DQNAdapter
    hyperparams: ClassVar[dict[str, Any]] = SHORT[DQNAdapter] | {"environment": "CartPole-v1"}


class TestDQNOfStates(OfStates):
    family = DQNAdapter
    hyperparams: ClassVar[dict[str, Any]] = SHORT[DQNAdapter] | {"environment": "FrozenLake-v1"}


class TestPolicyGradient(PolicyConformance):
    family = PolicyGradientAdapter
    hyperparams: ClassVar[dict[str, Any]] = SHORT[PolicyGradientAdapter] | {"environment": "CartPole-v1"}


class TestPolicyGradientOfStates(OfStates):
    family = PolicyGradientAdapter
    hyperparams: ClassVar[dict[str, Any]] = SHORT[PolicyGradientAdapter] | {"environment": "FrozenLake-v1"}


FAMILIES = tuple(SHORT)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (None, "give the hyperparameter environment"),
        ("os:system", "names a module"),
        ("cartpole", "there are, among others: FrozenLake-v1"),
        ("FrozenLake-v0", "did you mean 'FrozenLake"),
        ("Pendulum-v1", "is steered by Box"),
        ("Blackjack-v1", "observes Tuple"),
        ("phys2d/Pendulum-v0", "does not start here"),
    ],
)
def test_an_environment_that_cannot_teach_is_refused(
    family: type[PolicyAdapter], environment: str | None, said: str
) -> None:
    adapter = family(task="reinforcement", environment=environment)
    assert said in refusal(adapter.learn)
    assert said in refusal(adapter.check_environment)
    with pytest.raises(Conflict):
        adapter.mean_return(1, seed=0)


def test_a_table_of_values_is_not_for_boxes_of_numbers() -> None:
    assert "use family dqn or pg" in refusal(short(QLearningAdapter, "CartPole-v1").check_environment)


def test_a_module_named_as_an_environment_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harm.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    adapter = short(QLearningAdapter).learn()
    adapter.save(tmp_path / "model")
    path = tmp_path / "model" / "adapter.json"
    facts = json.loads(path.read_text())
    facts["hyperparams"]["environment"] = "harm:Env"
    path.write_text(json.dumps(facts))
    loaded = load_adapter(tmp_path / "model")
    assert isinstance(loaded, PolicyAdapter)
    assert "names a module" in refusal(loaded.mean_return, 1, 0)


def test_a_number_that_is_no_state_gets_the_answer_that_is_best_on_the_whole() -> None:
    adapter = short(QLearningAdapter).learn()
    odd = pa.table({"observation": [16.0, -1.0, 0.5, 1e300, None]})
    values = adapter.raw_matrix(adapter.encoder.transform(odd))
    assert (values == values[0]).all()
    assert adapter.raw_matrix(np.zeros((1, 1)))[0].tolist() != values[0].tolist()


def _pickled(_: bytes) -> bytes:
    return pickle.dumps({"table": [1.0]})


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _long_header(_: bytes) -> bytes:
    return struct.pack("<Q", 10 * 2**30) + b"{}"


@pytest.mark.parametrize("harm", [_pickled, _cut, _long_header, lambda _: b""])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_harmful_policy_file_is_refused(
    family: type[PolicyAdapter], harm: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    short(family).learn().save(tmp_path)
    (path,) = tmp_path.glob("policy.*")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(Broken):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    "table",
    [np.zeros((17, 3)), np.zeros((17, 4), dtype=np.float32), np.full((17, 4), np.nan), np.zeros(4), np.zeros((0, 4))],
)
def test_a_table_that_does_not_fit_is_refused(table: Any, tmp_path: Path) -> None:
    short(QLearningAdapter).learn().save(tmp_path)
    np.savez(tmp_path / "policy.npz", table=table)
    with pytest.raises(Broken):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("0.weight", np.zeros((16, 3), dtype=np.float32)),
        ("1.bias", np.full(16, np.inf, dtype=np.float32)),
        ("2.weight", np.zeros((2, 16))),
        ("3.weight", np.zeros((2, 16), dtype=np.float32)),
    ],
)
def test_weights_that_do_not_fit_are_refused(name: str, array: Any, tmp_path: Path) -> None:
    short(DQNAdapter, "CartPole-v1").learn().save(tmp_path)
    path = tmp_path / "policy.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(path) | {name: array}, path)
    with pytest.raises(Broken):
        load_adapter(tmp_path)


@pytest.mark.parametrize("actions", [[], ["left", "right", "up", "down"], [0, 1, 2], [0, 1, 2, True]])
def test_actions_that_are_none_are_refused(actions: list[Any], tmp_path: Path) -> None:
    short(QLearningAdapter).learn().save(tmp_path)
    path = tmp_path / "adapter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": actions}))
    with pytest.raises(Broken):
        load_adapter(tmp_path)


def test_probabilities_are_refused() -> None:
    adapter = short(QLearningAdapter).learn()
    with pytest.raises(Incompatible, match="use predict"):
        adapter.predict_proba(pa.table({"observation": [0]}))


def test_threads_of_torch_are_left_as_they_were() -> None:
    import torch

    before = torch.get_num_threads()
    state = torch.random.get_rng_state()
    short(PolicyGradientAdapter, "CartPole-v1").learn()
    assert torch.get_num_threads() == before
    assert torch.equal(torch.random.get_rng_state(), state)

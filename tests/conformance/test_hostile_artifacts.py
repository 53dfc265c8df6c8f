"""Artifacts made to harm: every family's files, replaced by what would run, fill the memory or leave the folder."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from contracts.errors import Broken, Incompatible
from mldl_ray.adapters import adapter_class, create_adapter, families, load_adapter
from mldl_ray.adapters.conformance import answers, mixed_table

MARK = "MLDL_HOSTILE_MARK"
TABLE_FAMILIES = ("lr", "linear", "svm", "svr", "knn", "naive_bayes", "tree", "forest", "gbm", "xgb", "mlp", "kmeans",
                  "agglo", "dbscan", "pca")  # fmt: skip


class _Runs:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def a_pickle(_: bytes, mark: Path) -> bytes:
    return pickle.dumps(_Runs(mark))


def a_pickle_in_a_zip(data: bytes, mark: Path) -> bytes:
    """Every member of what was there, or ``data.pkl`` as torch writes it, becomes a pickle."""
    names = ["archive/data.pkl", "archive/version"]
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps(_Runs(mark)))
    return made.getvalue()


def an_object_array(data: bytes, mark: Path) -> bytes:
    """Arrays whose elements are objects, which numpy stores as a pickle."""
    names = ["weights"]
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    made = io.BytesIO()
    np.savez(made, allow_pickle=True, **{name: np.array([_Runs(mark)], dtype=object) for name in names})
    return made.getvalue()


def a_name_that_leads_out(data: bytes, mark: Path) -> bytes:
    made = io.BytesIO(data if zipfile.is_zipfile(io.BytesIO(data)) else b"")
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr(f"../../../../../..{mark}", b"out")
    return made.getvalue()


def a_skops_file_that_names_a_command(_: bytes, mark: Path) -> bytes:
    schema = (
        '{"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1, '
        f'"content": {{"command": "mkdir {mark}"}}, "protocol": 2, "_skops_version": "0.13"}}'
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("schema.json", schema)
    return made.getvalue()


def cut_in_half(data: bytes, _: Path) -> bytes:
    return data[: len(data) // 2]


def a_header_of_ten_gigabytes(_: bytes, __: Path) -> bytes:
    return struct.pack("<Q", 10 * 2**30) + b'{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'


def an_array_of_ten_gigabytes(data: bytes, _: Path) -> bytes:
    """Every array of what was there claims to have ten thousand million entries."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1250000000,), }"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 64
    names = ["weights.npy"]
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, npy)
    return made.getvalue()


def nothing(_: bytes, __: Path) -> bytes:
    return b""


def noise(data: bytes, _: Path) -> bytes:
    return np.random.default_rng(0).bytes(max(64, len(data)))


ATTACKS: tuple[Callable[[bytes, Path], bytes], ...] = (
    a_pickle,
    a_pickle_in_a_zip,
    an_object_array,
    a_name_that_leads_out,
    a_skops_file_that_names_a_command,
    cut_in_half,
    a_header_of_ten_gigabytes,
    an_array_of_ten_gigabytes,
    nothing,
    noise,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a fitted model of a family; fitted once."""
    made: dict[str, Path] = {}

    def give(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family) / "model"
            _fitted(family).save(made[family])
        return made[family]

    return give


def _fitted(family: str) -> Any:
    table, tasks = mixed_table(60), adapter_class(family).capabilities.tasks
    for task in ("classification", "regression"):
        if task in tasks:
            return create_adapter(family, task=task).fit(table, answers(table, task))
    return create_adapter(family, task=min(tasks)).fit(table)


def _models(folder: Path) -> Iterator[Path]:
    """List the files that hold the model itself; the others are JSON, which runs nothing."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "adapter.json")


def test_every_available_table_family_is_attacked() -> None:
    available = {name for name, state in families().items() if state == "available"}
    tabular = {name for name in available if not adapter_class(name).capabilities.sequence}
    others = {"cnn", "gan"}  # images, and rows that are made: their files are those of mlp
    policies = {name for name in tabular if adapter_class(name).capabilities.tasks == {"reinforcement"}}
    assert tabular - others - policies == set(TABLE_FAMILIES)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("family", TABLE_FAMILIES)
def test_a_hostile_model_file_is_refused_and_nothing_runs(
    family: str, attack: Callable[[bytes, Path], bytes], saved: Callable[[str], Path], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    for number, name in enumerate(path.relative_to(saved(family)) for path in _models(saved(family))):
        folder = tmp_path / str(number)
        shutil.copytree(saved(family), folder)
        path = folder / name
        harmful = attack(path.read_bytes(), mark)
        path.write_bytes(harmful)
        before = _everything(tmp_path)
        if attack is a_name_that_leads_out and harmful.startswith(b"PK"):
            _refused_or_harmless(folder)
        else:
            with pytest.raises(Broken):
                load_adapter(folder)
        assert not mark.exists()
        assert _everything(tmp_path) == before


def _refused_or_harmless(folder: Path) -> None:
    """An archive may hold a member that nobody asks for; it must not be written anywhere."""
    try:
        load_adapter(folder)
    except Broken:
        return


def _everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("family", TABLE_FAMILIES)
def test_a_family_does_not_load_another_familys_folder(family: str, saved: Callable[[str], Path]) -> None:
    other = "lr" if family != "lr" else "xgb"
    with pytest.raises(Incompatible, match=f"family '{family}'"):
        adapter_class(other).load(saved(family))


@pytest.mark.parametrize(("entry", "value"), [("left_children", 10**6), ("left_children", 0), ("split_indices", 99)])
def test_a_booster_whose_trees_lead_outside_of_them_is_refused(
    entry: str, value: int, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """xgboost follows any number that a file names as a child."""
    folder = tmp_path / "model"
    shutil.copytree(saved("xgb"), folder)
    booster = xgboost.Booster(model_file=str(folder / "model.ubj"))
    document = json.loads(booster.save_raw("json"))
    document["learner"]["gradient_booster"]["model"]["trees"][0][entry][0] = value
    booster.load_model(bytearray(json.dumps(document).encode()))
    (folder / "model.ubj").write_bytes(booster.save_raw("ubj"))
    with pytest.raises(Broken, match="tree that is none"):
        load_adapter(folder)

"""The index of versions as a file, so that a restart need not read every version again. Never the truth.

The file names the journal's position that it reaches and the last document that it took in. One that cannot be read, is
of another form, or does not fit the journal is passed over: the index is built from the journal again.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Journal
from mldl_ray.registry.columns import Column, Names, Postings
from mldl_ray.registry.index import KINDS, Index

FORM = 3
FILE = "versions.npz"


def save(index: Index, folder: Path) -> None:
    """Write the index, aside first and then in place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{FILE}.{os.getpid()}"
    with aside.open("wb") as file:
        np.savez(file, **_arrays(index))
    aside.replace(folder / FILE)


def load(folder: Path, journal: Journal) -> Index:
    """Read the index, or begin an empty one where there is none that fits; either way it has yet to follow."""
    try:
        with (folder / FILE).open("rb") as file, np.load(file, allow_pickle=False) as found:
            index = _index({name: found[name] for name in found.files})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return Index()
    return index if _fits(index, journal) else Index()


def _fits(index: Index, journal: Journal) -> bool:
    if index.last is None or index.position > journal.position():
        return False
    there = journal.changes(KINDS, after=index.last["position"] - 1, limit=1)
    return any({"position": d.position, "kind": d.kind, "key": d.key, "at_s": d.at_s} == index.last for d in there)


def _arrays(index: Index) -> dict[str, Any]:
    rest = {
        "form": FORM,
        "position": index.position,
        "last": index.last,
        "names": {name: names.texts for name, names in index.names.items()},
        "served": index.served,
        "named": index.named,
        "rollouts": index.rollouts,
        "words": index.words,
        "said": index.said,
        "ruled": index.ruled,
    }
    for column in index.figures.values():
        column.reach(len(index))
    return {
        "rest": np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8),
        "tags": index.tags.pairs().astype(np.int32),
        **{f"small.{name}": column.values for name, column in index.small.items()},
        **{f"place.{name}": column.values for name, column in index.places.items()},
        **{f"figure.{name}": column.values for name, column in index.figures.items()},
    }


def _index(arrays: dict[str, NDArray[Any]]) -> Index:
    rest = json.loads(arrays["rest"].tobytes())
    if rest["form"] != FORM:
        raise ValueError(f"form {rest['form']} of the index is not {FORM}")
    index = Index()
    index.position, index.last, index.words = rest["position"], rest["last"], rest["words"]
    index.said, index.ruled = rest["said"], rest["ruled"]
    index.names = {name: Names(rest["names"][name]) for name in index.names}
    index.served, index.rollouts, index.named = (_pasts(rest[name]) for name in ("served", "rollouts", "named"))
    index.small = {name: Column(np.dtype(np.int32), values=arrays[f"small.{name}"]) for name in index.small}
    index.places = {name: Column(np.dtype(np.int64), fill=0, values=arrays[f"place.{name}"]) for name in index.places}
    index.figures = {
        name.removeprefix("figure."): Column(np.dtype(np.float64), fill=np.nan, values=values)
        for name, values in arrays.items()
        if name.startswith("figure.")
    }
    index.tags = Postings(arrays["tags"])
    index.settle()
    return index


def _pasts(found: dict[str, list[list[Any]]]) -> dict[str, list[tuple[int, str | None]]]:
    return {key: [(position, value) for position, value in past] for key, past in found.items()}

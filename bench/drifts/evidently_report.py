"""Evidently's drift preset on two Parquet files, timed; runs in Evidently's own environment and prints JSON.

``python bench/drifts/evidently_report.py REFERENCE CURRENT RUNS``: no module of the project is imported here.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd
from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]  # of its own environment
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]  # of its own environment


def main() -> None:
    """Report as often as asked; print the seconds of each and the columns called drifted."""
    reference, current = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
    seconds, drifted = [], []
    for _ in range(int(sys.argv[3])):
        began = time.perf_counter()
        result = _report(reference, current)
        seconds.append(time.perf_counter() - began)
        drifted = _drifted(result)
    print(json.dumps({"seconds": seconds, "drifted": drifted}))


def _report(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, object]:
    numbers = list(reference.select_dtypes("number").columns)
    words = [name for name in reference.columns if name not in numbers]
    kinds = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    old, new = (Dataset.from_pandas(frame, data_definition=kinds) for frame in (reference, current))
    found: dict[str, object] = Report([DataDriftPreset()]).run(new, old).dict()
    return found


def _drifted(result: dict[str, object]) -> list[str]:
    metrics: list[dict[str, dict[str, object] | float]] = result["metrics"]  # type: ignore[assignment]  # JSON
    found = []
    for metric in metrics:
        config = metric["config"]
        if isinstance(config, dict) and "column" in config:
            column, method = str(config["column"]), str(config["method"])
            limit, value = float(str(config["threshold"])), float(str(metric["value"]))
            found += [column] if (value < limit if "p_value" in method else value >= limit) else []
    return sorted(found)


if __name__ == "__main__":
    main()

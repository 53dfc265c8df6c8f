"""What a replica tells the monitor about its predictions: one Arrow table per flush and version.

Columns: those of ``FIELDS``, then one per input feature, prefixed with ``FEATURE``. The table's schema metadata holds
``model_key``, ``version``, ``epoch`` (of the route table), ``share`` (intended at that epoch for the candidate, of what
it and stable get together, 0–1; in stable's rows for all candidates), ``deployment_id`` (of a candidate's rows one, of
stable's all that are going on, joined by commas; empty when none) and ``lost`` (rows dropped since the last flush); all
as strings.
"""

from __future__ import annotations

from typing import Final

FEATURE: Final = "f."
MASKED: Final = "m."
"""Prefix of a column that holds keyed hashes of a feature's values instead of them; no drift test reads it."""
FIELDS: Final = (
    "request_id",  # string; "<id>" of the request, with "#<row>" when it had several rows
    "key",  # string; the sticky key, the unit of analysis
    "at_s",  # float64; Unix seconds
    "latency_ms",  # float64; of the whole request inside the replica, less the way to a candidate's process and back
    "status",  # int16; 200, or the status that this version's own answer would have had
    "role",  # string; stable, candidate or shadow
    "prediction",  # string; JSON of the answer
    "score",  # float64; probability of the positive or top class, the value itself for regression; null on error
)
FACTS: Final = ("model_key", "version", "epoch", "share", "deployment_id", "lost")

LATENCY_EDGES_MS: Final = tuple(0.05 * 1.05**i for i in range(288))
"""Upper edges of the latency histogram's bins, 0.05 ms to 60 s, 5% apart; one more bin holds what is above."""

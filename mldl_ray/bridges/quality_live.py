"""What callers send, held against the rules of the dataset that their model learned from: by samples, in the monitor.

A request waits for nothing here. An alert names the model and no version: every version gets the same requests, so bad
ones are no candidate's fault, and no rollout ends because of them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

import pyarrow as pa

from contracts.errors import MldlError
from contracts.ports import Clock, Journal
from contracts.quality import QualityFinding, QualityRules
from contracts.records import TrainedBundle
from contracts.telemetry import FEATURE
from mldl_ray.bridges.quality import KIND
from mldl_ray.bridges.quality_check import held_live, worst
from mldl_ray.journal.documents import load
from mldl_ray.monitoring.slo import Want

log = logging.getLogger(__name__)
READ_S = 30.0
"""So long rules are remembered: an edit counts within it."""
MOST = 256
TOLD = 3
Stream = tuple[str, str]


class LiveQuality:
    """Hold samples of live rows against rules. Safe from any thread: what is lost by a race is read again.

    Args:
        journal: Where rules live.
        bundle: Gives a version, and so its dataset; raises NotFound.
        clock: Says when rules are to be read again.
        private: Input columns that do not come as they were sent.
    """

    def __init__(
        self, journal: Journal, bundle: Callable[[str, str], TrainedBundle], clock: Clock, private: Iterable[str] = ()
    ) -> None:
        self._journal, self._bundle, self._clock = journal, bundle, clock
        self._private = frozenset(private)
        self._rules: OrderedDict[Stream, tuple[float, str | None, QualityRules | None]] = OrderedDict()

    def judge(self, stream: Stream, table: pa.Table) -> Want | None:
        """Look at rows in the telemetry's columns; say what alert there should be."""
        dataset_id, rules = self._of(stream)
        if dataset_id is None or rules is None:
            return None
        names = {name.removeprefix(FEATURE): name for name in table.column_names if name.startswith(FEATURE)}
        columns = {plain: table.column(name) for plain, name in names.items() if plain not in self._private}
        found = held_live(columns, rules.rules)
        return _want(stream, dataset_id, found, table.num_rows) if found else None

    def _of(self, stream: Stream) -> tuple[str | None, QualityRules | None]:
        now_s = self._clock.now_s()
        read_s, dataset_id, rules = self._rules.get(stream, (float("-inf"), None, None))
        if now_s - read_s < READ_S:
            return dataset_id, rules
        try:
            dataset_id = self._bundle(*stream).lineage.dataset_id
            rules = None if dataset_id is None else load(self._journal, KIND, dataset_id, QualityRules)[0]
        except MldlError as error:  # the monitor goes on; it asks again later
            log.info("the quality rules of what %s %s is sent are not known: %s", *stream, error)
            dataset_id, rules = None, None
        self._rules[stream] = (now_s, dataset_id, rules)
        while len(self._rules) > MOST:
            self._rules.popitem(last=False)
        return dataset_id, rules


def _want(stream: Stream, dataset_id: str, found: list[QualityFinding], rows: int) -> Want:
    model_key, version = stream
    told = "; ".join(finding.message for finding in found[:TOLD])
    more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
    severity = worst(found)
    assert severity != "ok"  # there are findings
    return Want(
        f"quality:{model_key}",
        "data_quality",
        severity,
        model_key,
        None,
        f"what {model_key} is sent breaks quality rules of {dataset_id}: {told}{more}",
        {
            "dataset_id": dataset_id,
            "version": version,
            "rows": rows,
            "findings": [finding.model_dump(mode="json") for finding in found[:20]],
        },
    )

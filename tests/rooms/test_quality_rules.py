"""Quality rules: read off good rows, edited, held at training and against what callers send; who is told how loudly."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.quality import QualityRule, QualityRules
from contracts.records import Dataset, TrainedBundle
from contracts.specs import Json
from mldl_ray.bridges._statistics import describe
from mldl_ray.bridges.quality import KIND
from mldl_ray.bridges.quality_check import held, held_live, worst
from mldl_ray.bridges.quality_infer import inferred
from mldl_ray.bridges.quality_live import LiveQuality
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from tests.conftest import unused_port
from tests.plain import PlainSystem

NOW = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
RULE: TypeAdapter[Any] = TypeAdapter(QualityRule)


def good(rows: int = 400) -> pa.Table:
    return pa.table(
        {
            "age": [None if n % 20 == 0 else float(20 + n % 60) for n in range(rows)],
            "city": [("Bern", "Uri", "Chur")[n % 3] for n in range(rows)],
            "who": [f"p{n}" for n in range(rows)],
            "at": [NOW - dt.timedelta(hours=n) for n in range(rows)],
            "rich": [int(n % 60 > 30) for n in range(rows)],
        }
    )


def changed(**columns: Any) -> pa.Table:
    table = good()
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def told(table: pa.Table, *rules: Json) -> list[tuple[str, str]]:
    found = held(table, [RULE.validate_python(rule) for rule in rules], now_s=NOW.timestamp())
    return [(finding.severity, finding.message) for finding in found]


@pytest.mark.parametrize(
    ("rule", "table", "said"),
    [
        ({"check": "schema", "column": "age", "kind": "numeric"}, good(), None),
        (
            {"check": "schema", "column": "age", "kind": "categorical"},
            good(),
            "column 'age' is numeric; it should be categorical",
        ),
        (
            {"check": "schema", "column": "sex", "kind": "categorical"},
            good(),
            "column 'sex' is not there, so its schema rule is not kept",
        ),
        ({"check": "range", "column": "age", "low": 20, "high": 79}, good(), None),
        (
            {"check": "range", "column": "age", "high": 78},
            good(),
            "6 of 380 values of 'age' are above 78; 0 % may be",
        ),
        ({"check": "range", "column": "age", "high": 78, "max_share": 0.02}, good(), None),
        (
            {"check": "range", "column": "age", "low": 0},
            changed(age=[np.inf, -1.0] + [30.0] * 398),
            "2 of 400 values of 'age' are below 0; 0 % may be",
        ),
        ({"check": "categories", "column": "city", "values": ["Bern", "Uri", "Chur"]}, good(), None),
        (
            {"check": "categories", "column": "city", "values": ["Bern", "Uri"], "max_share": 0.3},
            good(),
            "133 of 400 values of 'city' are not listed (Chur); 30 % may be",
        ),
        ({"check": "categories", "column": "rich", "values": ["0", "1"]}, good(), None),
        ({"check": "missing", "column": "age", "max_share": 0.05}, good(), None),
        (
            {"check": "missing", "column": "age", "max_share": 0.04},
            good(),
            "20 of 400 values of 'age' are missing; 4 % may be",
        ),
        ({"check": "duplicates"}, good(), None),
        (
            {"check": "duplicates", "max_share": 0.1},
            pa.concat_tables([good(), good().slice(0, 100)]),
            "100 of 500 rows are copies of others; 10 % may be",
        ),
        ({"check": "freshness", "column": "at", "max_age_s": 3600}, good(), None),
        (
            {"check": "freshness", "column": "at", "max_age_s": 86_400},
            good().slice(48),
            "the newest 'at' is 2 days old; 1 may be",
        ),
        (
            {"check": "freshness", "column": "age", "max_age_s": 1},
            good(),
            "column 'age' holds no time, so nothing says how fresh the rows are",
        ),
        ({"check": "volume", "min_rows": 400, "max_rows": 400}, good(), None),
        ({"check": "volume", "min_rows": 401}, good(), "there are 400 rows; 401 at least"),
        ({"check": "volume", "max_rows": 399}, good(), "there are 400 rows; 399 at most"),
    ],
)
def test_what_each_rule_says(rule: Json, table: pa.Table, said: str | None) -> None:
    severity = "critical" if rule["check"] == "schema" else "warning"
    assert told(table, rule) == ([] if said is None else [(severity, said)])


@pytest.mark.parametrize(
    "rule",
    [
        {"check": "python", "code": "1"},
        {"check": "range", "column": "a"},
        {"check": "range", "column": "a", "low": 2, "high": 1},
        {"check": "volume"},
        {"check": "missing", "column": "a", "max_share": 2},
    ],
)
def test_a_rule_that_is_none_is_refused_when_it_is_read(rule: Json) -> None:
    with pytest.raises(ValidationError):
        RULE.validate_python(rule)


def test_one_column_has_one_rule_of_a_kind() -> None:
    rule: Json = {"check": "range", "column": "a", "low": 1}
    with pytest.raises(ValidationError, match="two range rules of column 'a'"):
        QualityRules.model_validate({"rules": [rule, rule]})


def test_findings_come_by_their_severity() -> None:
    found = held(
        good(),
        [
            RULE.validate_python({"check": "volume", "min_rows": 500, "severity": "info"}),
            RULE.validate_python({"check": "missing", "column": "age", "severity": "critical"}),
            RULE.validate_python({"check": "range", "column": "age", "high": 1}),
        ],
        now_s=0.0,
    )
    assert [finding.severity for finding in found] == ["critical", "warning", "info"]
    assert (worst(found), worst([])) == ("critical", "ok")


def dataset(table: pa.Table) -> Dataset:
    return Dataset.model_validate(
        {
            "dataset_id": "people", "version": "1", "digest": "sha256:0", "rows": table.num_rows, "target": "rich",
            "columns": {}, "statistics": describe(table), "source": "x", "time_column": "at",
            "created_at_s": NOW.timestamp(),
        }
    )  # fmt: skip


def test_rules_read_off_rows_are_kept_by_those_rows_and_broken_by_others() -> None:
    rules = inferred(dataset(good()), good()).rules
    assert held(good(), rules, now_s=NOW.timestamp()) == []
    kinds = {(rule.check, getattr(rule, "column", None)) for rule in rules}
    assert {("schema", "age"), ("range", "age"), ("missing", "age"), ("categories", "city"), ("volume", None)} <= kinds
    assert ("categories", "who") not in kinds  # another text in every row
    assert ("freshness", "at") in kinds
    others = changed(age=[500.0] * 400, city=["Genf"] * 400).drop_columns(["who"]).slice(0, 100)
    found = held(pa.concat_tables([others, others.slice(0, 20)]), rules, now_s=NOW.timestamp() + 90 * 86_400)
    assert {finding.check for finding in found} == {
        "schema", "range", "categories", "missing", "duplicates", "freshness", "volume",
    }  # fmt: skip
    assert [finding.column for finding in found if finding.severity == "critical"] == ["who"]


def test_a_live_sample_breaks_a_rule_only_when_that_is_surely_so() -> None:
    rule = RULE.validate_python({"check": "missing", "column": "age", "max_share": 0.05})

    def live(missing: int) -> int:
        return len(held_live({"age": pa.chunked_array([[None] * missing + [1.0] * (1000 - missing)])}, [rule]))

    assert [live(50), live(70), live(150)] == [0, 0, 1]
    never = RULE.validate_python({"check": "range", "column": "age", "low": 0})
    assert held_live({"age": pa.chunked_array([[-1.0] + [1.0] * 999])}, [never])
    assert held_live({"other": pa.chunked_array([[-1.0]])}, [never]) == []
    ints = RULE.validate_python({"check": "categories", "column": "n", "values": ["1", "2"]})
    assert held_live({"n": pa.chunked_array([[1.0, 2.0]])}, [ints]) == []


def test_columns_that_are_hidden_are_not_held_and_an_edit_counts_within_half_a_minute() -> None:
    clock = SettableClock()
    journal = MemoryJournal(clock)
    bundle = TrainedBundle.model_validate(
        {
            "model_key": "m", "version": "1.0.0", "artifact_uri": "blobs:0", "validation_hash": "0",
            "lineage": {"dataset_id": "people"}, "created_at": "2026-01-01T00:00:00+00:00", "family": "lr",
        }
    )  # fmt: skip
    live = LiveQuality(journal, lambda *_: bundle, clock, private=["secret"])
    sent = pa.table({"f.secret": [9.0] * 100, "f.age": [9.0] * 100, "score": [9.0] * 100})
    assert live.judge(("m", "1.0.0"), sent) is None
    rules: list[Json] = [{"check": "range", "column": name, "high": 1} for name in ("secret", "age", "score")]
    journal.append([write(KIND, "people", 0, QualityRules.model_validate({"rules": rules}))], actor="a", reason="r")
    assert live.judge(("m", "1.0.0"), sent) is None
    clock.advance(31)
    want = live.judge(("m", "1.0.0"), sent)
    assert want is not None
    assert [finding["column"] for finding in want.evidence["findings"]] == ["age"]
    assert (want.kind, want.severity, want.version) == ("data_quality", "warning", None)


def batch(version: str, rows: list[Json], first: int = 0) -> bytes:
    """Make telemetry of requests that were answered."""
    count = len(rows)
    table = pa.table(
        {
            "request_id": [f"r{first + n}" for n in range(count)],
            "key": [f"k{first + n}" for n in range(count)],
            "at_s": [NOW.timestamp() + n for n in range(count)],
            "latency_ms": [5.0] * count,
            "status": pa.array([200] * count, pa.int16()),
            "role": ["stable"] * count,
            "prediction": ["1"] * count,
            "score": [0.5] * count,
        }
        | {f"f.{name}": [row[name] for row in rows] for name in rows[0]}
    )
    facts = {"model_key": "rich", "version": version, "epoch": 1, "share": 0, "deployment_id": "", "lost": 0}
    table = table.replace_schema_metadata({name: str(value) for name, value in facts.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


# Through the doors


class Scene:
    def __init__(self, home: Path) -> None:
        self.home, settings = home, load_settings({}, home=home, port=unused_port())
        self.system = PlainSystem(settings)
        self.system.serve()
        self.client = MLDLClient(settings.url, acting_as="ann")
        self.client.register_dataset(self.ref(good(), "people"), dataset_id="people")

    def ref(self, table: pa.Table, name: str) -> Json:
        pq.write_table(table, self.home / f"{name}.parquet")
        return {"uri": str(self.home / f"{name}.parquet"), "target": "rich", "exclude": ["who", "at"]}

    def job(self, **data: Any) -> Json:
        hpo = {"strategy": "random", "max_trials": 1}
        return {"spec": {"model_key": "rich", "family": "lr"}, "data": data, "hpo": hpo, "cv": {"folds": 2}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    found = Scene(tmp_path_factory.mktemp("home"))
    yield found
    found.client.close()
    found.system.close()


CRITICAL: Json = {"check": "range", "column": "age", "low": 0, "high": 120, "severity": "critical"}
WARNING: Json = {"check": "missing", "column": "age", "max_share": 0.01}


def test_a_person_reads_rules_off_rows_edits_and_sets_them_and_each_change_is_kept(scene: Scene) -> None:
    client = scene.client
    with pytest.raises(NotFound, match="mldl quality infer people"):
        client.quality_rules("people")
    read_off = client.inferred_quality_rules("people")
    assert read_off.inferred_from == f"people@{client.dataset('people').version}"
    first = client.set_quality_rules("people", read_off, reason="a beginning", expected_number=0)
    assert (first.number, first.set_by, client.quality_rules("people")) == (1, "ann", first)
    position = scene.system.journal.position()
    assert client.set_quality_rules("people", read_off, reason="again") == first
    assert scene.system.journal.position() == position
    second = client.set_quality_rules("people", {"rules": [CRITICAL]}, reason="by hand", expected_number=1)
    with pytest.raises(Conflict, match="are number 2 now, not 1"):
        client.set_quality_rules("people", {"rules": []}, reason="late", expected_number=1)
    assert [one.number for one in client.quality_rules_history("people")] == [2, 1]
    assert client.check_quality("people").status == "ok"
    assert client.remove_quality_rules("people", reason="enough").rules is None
    with pytest.raises(NotFound):
        client.check_quality("people")
    third = client.set_quality_rules("people", {"rules": [CRITICAL]}, reason="back", expected_number=0)
    assert third.rules == second.rules
    facts = scene.system.journal.events(types=["MLDL_QUALITY_RULES_CHANGED"])
    assert [fact.data["change"] for fact in facts] == ["set", "set", "removed", "set"]
    with pytest.raises(NotFound, match="there is no dataset nothing"):
        client.set_quality_rules("nothing", {"rules": []}, reason="x")
    with pytest.raises(Incompatible, match="rules"):
        client.set_quality_rules("people", {"rules": [{"check": "python"}]}, reason="x")


def test_a_job_on_rows_that_break_a_critical_rule_is_refused_and_nothing_is_written(scene: Scene) -> None:
    scene.client.set_quality_rules("people", {"rules": [CRITICAL]}, reason="hold")
    bad = scene.ref(changed(age=[200.0] * 4 + [30.0] * 396), "people")
    position = scene.system.journal.position()
    with pytest.raises(Incompatible, match="critical quality rules of people: 4 of 400 values of 'age'") as refused:
        scene.client.train(scene.job(**bad))
    assert refused.value.facts["findings"][0]["column"] == "age"
    assert scene.system.journal.position() == position
    worse = scene.client.register_dataset(bad, dataset_id="people").version
    with pytest.raises(Incompatible, match="critical quality rules"):
        scene.client.train(scene.job(dataset_id="people", version=worse))
    assert scene.client.check_quality("people", worse).status == "critical"


def test_a_job_on_rows_that_break_a_milder_rule_runs_and_says_so(scene: Scene) -> None:
    scene.client.set_quality_rules("people", {"rules": [CRITICAL, WARNING]}, reason="hold")
    accepted = scene.client.train(scene.job(**scene.ref(good(), "people")))
    report = scene.client.job(accepted.job_id).quality
    assert report is not None
    assert (report.status, [one.check for one in report.findings]) == ("warning", ["missing"])
    scene.client.remove_quality_rules("people", reason="none")
    accepted = scene.client.train(scene.job(**scene.ref(good(), "people")))
    assert scene.client.job(accepted.job_id).quality is None


def test_what_callers_send_is_sampled_and_the_alert_is_as_grave_as_its_rule(scene: Scene) -> None:
    client, monitor = scene.client, scene.system.actors.monitor
    client.set_quality_rules("people", {"rules": [CRITICAL, WARNING | {"max_share": 0.1}]}, reason="live")
    job_id = client.train(scene.job(dataset_id="people", version=client.datasets()[0].version)).job_id
    scene.system.jobs.run(job_id)
    version = str(client.register(job_id, reason="try").version)
    rows = [{"age": 30.0, "city": "Bern"}] * 1000  # one window
    monitor.ingest(batch(version, rows))
    assert not [alert for alert in monitor.alerts() if alert.kind == "data_quality"]
    monitor.ingest(batch(version, [row | {"age": 999.0} for row in rows], first=1000))
    [alert] = [alert for alert in monitor.alerts() if alert.kind == "data_quality"]
    assert (alert.severity, alert.model_key, alert.version) == ("critical", "rich", None)
    assert "1000 of 1000 values of 'age' are outside 0 to 120; 0 % may be" in alert.message
    assert alert.evidence["version"] == version


def test_rules_as_typed(scene: Scene, tmp_path: Path) -> None:
    url = scene.system.settings.url

    def typed(line: str, code: int = 0) -> Any:
        found = CliRunner().invoke(app, [*shlex.split(line), "--url", url, "--json"])
        assert found.exit_code == code, found.output
        return json.loads(found.stdout) if code == 0 else None

    first = scene.client.datasets()[0].version
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps(typed(f"quality infer people {first}")))
    assert typed(f"quality set people {file} --reason typed")["reason"] == "typed"
    assert typed(f"quality infer people {first} --save")["rules"] == typed("quality show people")["rules"]
    assert typed(f"quality check people {first}")["rows"] == 400
    assert typed("quality history people --limit 1")[0]["set_by"]
    assert typed("quality remove people --reason over")["rules"] is None
    typed("quality show people", code=3)
    typed("quality set people /nowhere.yaml --reason x", code=3)


def test_a_snapshot_brings_rules_back(scene: Scene) -> None:
    kept = scene.client.set_quality_rules("people", {"rules": [CRITICAL]}, reason="kept")
    snapshot = scene.client.snapshot_export("before").snapshot_id
    scene.client.set_quality_rules("people", {"rules": [WARNING]}, reason="wrong")
    scene.client.rollback(snapshot_id=snapshot, reason="undo")
    assert scene.client.quality_rules("people").rules == kept.rules

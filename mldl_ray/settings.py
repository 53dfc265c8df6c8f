"""Everything that can be configured, read once, with its default and its unit.

Three sources, later ones win: the defaults here, a YAML file (``MLDL_CONFIG``; its root key is ``mldl``), and
environment variables ``MLDL_<NAME>`` for the deployment's own settings (``MLDL_HOME``, ``MLDL_JOURNAL_URL``…).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from contracts.errors import Incompatible
from contracts.specs import CrossValidation, Hpo, RollbackCause, Words


class TrainingDefaults(Words):
    """What a job gets when it does not say."""

    cv: CrossValidation = CrossValidation()
    hpo: Hpo = Hpo()
    cost_per_cpu_second: float = Field(default=0.0001, ge=0, description="Cost units.")
    cost_per_gpu_second: float = Field(default=0.001, ge=0, description="Cost units.")


class MetricNames(Words):
    """Which figures an evaluation reports; the first is the default objective of a search."""

    classification: tuple[str, ...] = ("f1", "auroc", "logloss", "calibration")
    regression: tuple[str, ...] = ("rmse", "mae", "r2")
    clustering: tuple[str, ...] = ("silhouette",)
    dimension_reduction: tuple[str, ...] = ("explained_variance", "reconstruction_error")
    generation: tuple[str, ...] = ("realism", "coverage")
    reinforcement: tuple[str, ...] = ("mean_return",)


class EvaluationDefaults(Words):
    """Figures by task."""

    metrics: MetricNames = MetricNames()


class CalibrationDefaults(Words):
    """How probabilities are calibrated."""

    default: Literal["isotonic", "platt", "temperature", "auto", "none"] = "isotonic"


class FairnessDefaults(Words):
    """Largest tolerated difference between groups, and the columns looked at when present."""

    delta_max: float = Field(default=0.02, ge=0, le=1)
    groups: tuple[str, ...] = ("gender", "region")


class DeploymentDefaults(Words):
    """How a rollout proceeds when its spec does not say."""

    canary_steps: tuple[float, ...] = Field(
        default=(5.0, 25.0, 50.0, 100.0), description="Percent of the sticky keys, rising, the last is 100."
    )
    promotion_window: float = Field(default=3600, gt=0, description="Seconds a step lasts at most.")
    bake_window: float = Field(default=600, ge=0, description="Seconds the old version stays warm at 100%.")
    rollback_on: tuple[RollbackCause, ...] = ("metric_drop", "drift_spike", "violation")
    tick_s: float = Field(default=0.25, gt=0, description="Between two looks of the reconcile loop.")
    pool_models: int = Field(default=500, ge=1, description="Most models with route shared; one more is refused.")

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        steps = list(self.canary_steps)
        if not steps or steps != sorted(set(steps)) or steps[0] <= 0 or steps[-1] != 100:
            raise ValueError(f"canary_steps {steps} must rise and end at 100")
        return self


class MonitoringDefaults(Words):
    """How live traffic is watched."""

    window_rows: int = Field(default=1000, ge=50, description="Rows of one drift test.")
    false_alarms_per_month: float = Field(default=1.0, gt=0, description="Per monitor.")
    flush_s: float = Field(default=0.25, gt=0, description="Between two telemetry batches of a replica.")
    buffer_rows: int = Field(default=20_000, ge=100, description="Telemetry rows a replica holds before it drops.")
    history_flush_s: float = Field(default=10.0, gt=0, description="Rows that a killed monitor loses at most.")
    history_keep_s: float | None = Field(default=7_776_000.0, gt=0, description="Older telemetry files are deleted.")
    history_max_bytes: int | None = Field(default=10 * 2**30, gt=0, description="The oldest files go first.")
    masked: tuple[str, ...] = Field(
        default=(), description="Input columns of which only a keyed hash leaves a replica."
    )
    dropped: tuple[str, ...] = Field(default=(), description="Input columns that never leave a replica.")
    mask_key: str = Field(
        default="", max_length=64, description="Secret of the hashes; short values are guessable without."
    )


class NatsBroker(Words):
    """A stream of NATS JetStream that gets every event; needs ``mldl-ray[nats]``."""

    url: str = Field(pattern=r"^(nats|tls)://[^/\s]+$", description="nats://host:4222, or tls://…")
    stream: str = Field(default="mldl", pattern=r"^[A-Za-z0-9_-]{1,200}$", description="Made when it is not there.")
    subject_prefix: str = Field(default="mldl.events", pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")


class MeshDefaults(Words):
    """Where events go beside webhooks."""

    nats: NatsBroker | None = Field(default=None, description="None: no broker.")


class RemoteBridge(Words):
    """A kernel on another machine; a plain URL is one with the defaults."""

    url: str = Field(pattern=r"^https?://[^\s/]", max_length=2000)
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="Of one attempt, for the whole answer.")
    retries: int = Field(default=2, ge=0, le=10, description="Attempts after the first, each a little later.")
    open_after: int = Field(default=3, ge=1, description="Failed attempts in a row after which it is left alone.")
    rest_s: float = Field(default=30.0, gt=0, description="Seconds that it then is.")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"url": given} if isinstance(given, str) else given


class BridgeUrls(Words):
    """Remote kernels, each ``{url, timeout_s, retries, open_after, rest_s}`` or a plain URL.

    The embedded bridge answers where none is named, or while it is down; governance is the exception.
    """

    intelligence: RemoteBridge | None = Field(default=None, description="Asked by POST <url>/recommend.")
    ingress: RemoteBridge | None = Field(default=None, description="Asked by POST <url>/inspect.")
    mlt: RemoteBridge | None = Field(default=None, description="Exchanges experience by POST <url>/experience.")
    memory: RemoteBridge | None = Field(
        default=None, description="Gets datasets and lineage, gives feature views, by POST <url>/memory."
    )
    governance: RemoteBridge | None = Field(
        default=None, description="Asked by POST <url>/check; must agree, and while it is down nothing moves."
    )
    mesh: MeshDefaults = MeshDefaults()


class SnapshotDefaults(Words):
    """When snapshots are taken by themselves, and how long those are kept; what a person took is always kept."""

    every_s: float | None = Field(default=None, gt=0, description="Seconds between scheduled ones; none: off.")
    keep: int = Field(default=100, ge=1, description="Most scheduled ones, and most taken before a rollback.")
    keep_s: float | None = Field(default=None, gt=0, description="Their greatest age in seconds; none: any.")


class Defaults(Words):
    """The ``mldl`` key of the configuration file."""

    training: TrainingDefaults = TrainingDefaults()
    evaluation: EvaluationDefaults = EvaluationDefaults()
    calibration: CalibrationDefaults = CalibrationDefaults()
    fairness: FairnessDefaults = FairnessDefaults()
    deployment: DeploymentDefaults = DeploymentDefaults()
    monitoring: MonitoringDefaults = MonitoringDefaults()
    snapshots: SnapshotDefaults = SnapshotDefaults()
    bridges: BridgeUrls = BridgeUrls()


class Settings(Words):
    """Where this system lives, and its defaults."""

    home: Path = Field(description="Folder of the embedded journal, artifacts, history and logs.")
    journal_url: str = Field(description="SQLAlchemy URL: sqlite:///… or postgresql+psycopg://…")
    artifact_uri: str = Field(description="Folder or object store (s3://…, gs://…).")
    ray_address: str | None = Field(default=None, description="Of a running cluster; none: ours, on this machine.")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    require_keys: bool = Field(default=False, description="Always true when the host is not loopback.")
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Names that browsers may call the console by; loopback's always, where it listens there.",
    )
    mldl: Defaults = Defaults()

    @property
    def loopback(self) -> bool:
        """Say whether only this machine can reach the service."""
        return self.host in {"127.0.0.1", "localhost", "::1"}

    @property
    def keys_required(self) -> bool:
        """Say whether every call needs a bearer key."""
        return self.require_keys or not self.loopback

    @property
    def url(self) -> str:
        """Give the address of the HTTP surface."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def load_defaults(text: str) -> Defaults:
    """Read a YAML configuration.

    Raises:
        Incompatible: Not YAML, an unknown field, or a value out of range; the message names it.

    >>> load_defaults("mldl: {fairness: {delta_max: 0.05}}").fairness.delta_max
    0.05
    """
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise Incompatible(f"the configuration is not YAML: {error}") from error
    if not isinstance(document, dict) or set(document) - {"mldl"}:
        raise Incompatible("the configuration must have one root key, mldl", {"found": sorted(map(str, document))})
    try:
        return Defaults.model_validate(document.get("mldl") or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["mldl", *map(str, first["loc"])])
        raise Incompatible(f"configuration {where}: {first['msg']}", {"field": where}) from error


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings of this process; keyword arguments win over everything.

    Raises:
        Incompatible: A value out of range or of the wrong type, or a configuration file that cannot be read.

    >>> load_settings({"MLDL_HOME": "/tmp/m"}).journal_url
    'sqlite:////tmp/m/journal.db'
    """
    environment = os.environ if environment is None else environment
    home = Path(overrides.pop("home", None) or environment.get("MLDL_HOME") or "~/.mldl").expanduser().absolute()
    values: dict[str, Any] = {
        "home": home,
        "journal_url": environment.get("MLDL_JOURNAL_URL", f"sqlite:///{home / 'journal.db'}"),
        "artifact_uri": environment.get("MLDL_ARTIFACT_URI", str(home / "artifacts")),
        "ray_address": environment.get("MLDL_RAY_ADDRESS"),
    }
    for name in ("host", "port", "require_keys"):
        if value := environment.get(f"MLDL_{name.upper()}"):
            values[name] = value
    values["hosts"] = tuple(filter(None, map(str.strip, environment.get("MLDL_HOSTS", "").split(","))))
    if path := environment.get("MLDL_CONFIG"):
        try:
            values["mldl"] = load_defaults(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise Incompatible(f"MLDL_CONFIG names {path}, which cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Incompatible(f"MLDL_CONFIG names {path}, which is not UTF-8 text: {error}") from error
    try:
        return Settings.model_validate(values | {k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Incompatible(f"setting {where}: {first['msg']} (got {first['input']!r})", {"field": where}) from error

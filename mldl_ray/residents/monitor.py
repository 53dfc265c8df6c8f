"""Live figures, drift, alerts."""

from __future__ import annotations

from actors.directory import Remote
from actors.journal import RemoteJournal
from actors.monitor import Monitor
from actors.retraining import Retrainer
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.ticking import every
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

TICK_S = 1.0
RETRAIN_S = 5.0


class MonitorResident(Versioned, Monitor):
    """Live figures, drift, alerts; and what is due though no telemetry comes, training again where policy says so."""

    def __init__(self, settings: Settings) -> None:
        journal, blobs, clock = RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock()
        super().__init__(settings, journal, blobs, clock)
        retrainer = Retrainer(journal, blobs, clock, Remote("jobs").submit)
        every(TICK_S, self.tick, "monitor-tick")
        every(RETRAIN_S, retrainer.look, "monitor-retrain")  # apart: taking a job reads and checks its rows

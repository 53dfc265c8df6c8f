"""The six bridges as an actor.

What survives a restart: everything. Datasets, experience, subscriptions and how far each of them is are in the journal;
threads of this process only pump events to their receivers and exchange with remote kernels, and one that starts anew
goes on where the last stopped. Counts of calls begin again at zero.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from actors.exchanges import Rounds
from contracts.advice import FamilyAdvice
from contracts.bridges import BridgeName, BridgeView
from contracts.errors import Incompatible, MldlError
from contracts.features import FeatureView, FeatureViewLineage, FeatureViewSpec, TransformAnswer
from contracts.ports import Blobs, Clock, Journal, Once
from contracts.quality import QualityReport, QualityRules, QualityRulesVersion
from contracts.records import Dataset
from contracts.specs import Constraints, DataRef, Json, Task
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.bridges import ingress, mlt
from mldl_ray.bridges._statistics import kind_of
from mldl_ray.bridges.advising import Advising
from mldl_ray.bridges.brokers import brokers
from mldl_ray.bridges.dead_letters import dead_letters, redeliver
from mldl_ray.bridges.exchange import ACTOR, Exchange
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.bridges.intelligence import EmbeddedIntelligence
from mldl_ray.bridges.kernels import BRIDGES, Kernels, prometheus
from mldl_ray.bridges.memory import EmbeddedMemory, likely_task
from mldl_ray.bridges.mesh import Mesh
from mldl_ray.bridges.quality import EmbeddedQuality
from mldl_ray.bridges.views import KIND as VIEW
from mldl_ray.bridges.views import EmbeddedViews, take_view
from mldl_ray.features.serving import ServedView
from mldl_ray.registry.catalog import Catalog
from mldl_ray.settings import Settings

log = logging.getLogger(__name__)

PUMP_PAUSE_S = 0.5
AFTER_TROUBLE_S = 5.0


class Bridges:
    """Answer for memory, ingress, intelligence, meta-learning and mesh; governance is asked by the registry itself.

    Args:
        settings: The fairness limit where no policy names one, and the remote kernels to ask first.
        journal: The truth.
        blobs: Where the rows of datasets are.
        clock: Time.
        autostart: Start pumping events to their receivers.
    """

    def __init__(
        self, settings: Settings, journal: Journal, blobs: Blobs, clock: Clock, autostart: bool = False
    ) -> None:
        self._journal, self._clock = journal, clock
        self._memory = EmbeddedMemory(journal, blobs, clock)
        self._views = EmbeddedViews(journal, blobs, clock)
        self._quality = EmbeddedQuality(journal, blobs, clock)
        self._governance = EmbeddedGovernance(journal, clock)
        self._intelligence = EmbeddedIntelligence(journal, clock, fairness_delta_max=settings.mldl.fairness.delta_max)
        self.kernels = Kernels(settings.mldl.bridges)
        self._exchanges = self._made_exchanges()
        self._advising = Advising(journal, clock, self.recommend)
        self.rounds = Rounds(self._exchanges, [self.kernels.probe, self._advising.turn])
        self._mesh = Mesh(journal, clock, brokers=brokers(settings.mldl.bridges.mesh, journal))
        self._stop = threading.Event()
        self._trouble: str | None = None
        self._pump: threading.Thread | None = None
        if autostart:
            self._pump = threading.Thread(target=self._pump_forever, name="mesh-pump", daemon=True)
            self._pump.start()
            self.rounds.start()

    def register_dataset(
        self, ref: DataRef, *, dataset_id: str | None = None, by: str, reason: str = "", once: Once | None = None
    ) -> Dataset:
        """Read a file and keep its rows as a dataset; the same rows again are the same dataset."""
        return self.kernels.here(
            "memory",
            lambda: self._memory.register(ref, dataset_id=dataset_id, by=by, reason=reason, once=once),
        )

    def dataset(self, dataset_id: str, version: str | None = None) -> Dataset:
        """Give a dataset; the one registered last when no version is named."""
        return self.kernels.here("memory", lambda: self._memory.dataset(dataset_id, version))

    def datasets(self) -> list[Dataset]:
        """List every version of every dataset."""
        return self._memory.datasets()

    def descendants(self, dataset_id: str, version: str | None = None) -> list[str]:
        """List the model versions that learned from a dataset."""
        return self._memory.descendants(dataset_id, version)

    def register_view(self, spec: FeatureViewSpec, *, by: str, reason: str, once: Once | None = None) -> FeatureView:
        """Keep a feature view; the same view again is the same version."""
        return self.kernels.here("memory", lambda: self._views.register(spec, by=by, reason=reason, once=once))

    def feature_view(self, name: str, version: str | None = None) -> FeatureView:
        """Give a feature view; the one registered last when no version is named."""
        return self.kernels.here("memory", lambda: self._views.view(name, version))

    def feature_views(self) -> list[FeatureView]:
        """List every version of every feature view."""
        return self.kernels.here("memory", self._views.views)

    def view_lineage(self, name: str, version: str | None = None) -> FeatureViewLineage:
        """Say what a feature view comes from, and what came of it."""
        return self.kernels.here("memory", lambda: self._views.lineage(name, version))

    def transform(self, name: str, version: str | None, inputs: list[Json | list[object]]) -> TransformAnswer:
        """Make features of rows as a prediction would, without a model."""
        view = self._views.view(name, version)
        served = ServedView(self._views.transformer(view), InputSchema(columns=()))
        made = served.transformer.apply(served.table(served.rows(inputs)))
        return TransformAnswer(view=view.reference, features=tuple(made.to_pylist()))

    def quality(self, dataset_id: str, version: str | None = None) -> Json:
        """Look at a dataset's rows, held against the version before it: ``status``, ``reference``, ``findings``."""
        dataset = self._memory.dataset(dataset_id, version)
        before = self._before(dataset)

        def question() -> Json:
            reference = before.model_dump(mode="json") if before else None
            return {"dataset": dataset.model_dump(mode="json"), "reference": reference}

        facts = {
            "dataset_id": dataset.dataset_id,
            "version": dataset.version,
            "rows": dataset.rows,
            "reference": before.version if before else None,
        }
        return self.kernels.asked("ingress", "inspect", question, lambda: self._inspected(dataset, before)) | facts

    def quality_rules(self, dataset_id: str) -> QualityRulesVersion:
        """Give the rules that a dataset's rows are held to."""
        return self.kernels.here("ingress", lambda: self._quality.rules(dataset_id))

    def quality_rules_history(self, dataset_id: str, limit: int = 100) -> list[QualityRulesVersion]:
        """List the rules that were set, newest first."""
        return self.kernels.here("ingress", lambda: self._quality.history(dataset_id, limit))

    def inferred_quality_rules(self, dataset_id: str, version: str | None = None) -> QualityRules:
        """Read rules off a dataset; nothing is kept."""
        return self.kernels.here("ingress", lambda: self._quality.inferred(dataset_id, version))

    def set_quality_rules(
        self,
        dataset_id: str,
        rules: QualityRules,
        *,
        expected_number: int | None = None,
        by: str,
        reason: str,
        once: Once | None = None,
    ) -> QualityRulesVersion:
        """Put rules in force."""
        return self.kernels.here(
            "ingress",
            lambda: self._quality.set(
                dataset_id, rules, expected_number=expected_number, by=by, reason=reason, once=once
            ),
        )

    def remove_quality_rules(
        self, dataset_id: str, *, by: str, reason: str, once: Once | None = None
    ) -> QualityRulesVersion:
        """Take rules out of force."""
        return self.kernels.here("ingress", lambda: self._quality.remove(dataset_id, by=by, reason=reason, once=once))

    def check_quality(self, dataset_id: str, version: str | None = None) -> QualityReport:
        """Hold a dataset against its rules."""
        return self.kernels.here("ingress", lambda: self._quality.report(dataset_id, version))

    def recommend(self, model_key: str, version: str) -> Json:
        """Ask the specialists whether to deploy a version: ``verdict``, ``confidence``, ``why``, ``votes``."""
        bundle = Catalog(self._journal).bundle(model_key, version)
        judged = self._journal.read("evaluation", bundle.evaluation_id) if bundle.evaluation_id else None
        facts: Json = {"model_key": model_key, "version": bundle.version}

        def question() -> Json:
            return facts | {"bundle": bundle.model_dump(mode="json"), "evaluation": judged.body if judged else None}

        def here() -> Json:
            return self._intelligence.recommend(model_key, str(bundle.version))

        return self.kernels.asked("intelligence", "recommend", question, here) | facts

    def family(
        self, dataset_id: str, version: str | None = None, *, task: Task | None = None, latency_ms: float | None = None
    ) -> FamilyAdvice:
        """Say which family to train on a dataset, and why; a guess of the task from its target when none is named."""
        from mldl_ray.training.rows import TrainingRows  # noqa: PLC0415  # loads frameworks, which nothing else here needs

        dataset = self._memory.dataset(dataset_id, version)
        table, constraints = self._memory.table(dataset), Constraints(latency_ms=latency_ms)
        purpose = task or likely_task(table, dataset.target)
        if purpose == "reinforcement":
            raise Incompatible("a policy learns from an environment and not from a dataset", {"field": "task"})
        rows = TrainingRows.of(table, self._memory.as_ref(dataset), purpose)
        meta = mlt.meta_of(rows.features, rows.y.tolist(), purpose)
        series = any(kind_of(field.type) == "other" for field in rows.features.schema)
        allowed = self._governance.policy().families
        return self.kernels.here(
            "intelligence",
            lambda: self._intelligence.family(meta, purpose, constraints, series=series, allowed=allowed),
        )

    def experience(self, model_key: str | None = None, limit: int = 100) -> list[Json]:
        """List what searches found, newest first."""
        return self.kernels.here("mlt", lambda: mlt.experience(self._journal, model_key, limit))

    def subscribe(self, url: str, *, types: Sequence[str] = (), secret: str, by: str, once: Once | None = None) -> Json:
        """Have events posted to an address, signed with the secret."""
        return self._mesh.subscribe(url, types=types, secret=secret, by=by, once=once)

    def unsubscribe(self, subscription_id: str, *, by: str, reason: str) -> None:
        """Post no more events to an address."""
        self._mesh.unsubscribe(subscription_id, by=by, reason=reason)

    def replay(self, consumer: str, after: int, *, by: str, reason: str, once: Once | None = None) -> Json:
        """Send all events after a position again."""
        return self._mesh.replay(consumer, after, by=by, reason=reason, once=once)

    def subscriptions(self) -> list[Json]:
        """List who gets which events, how far each is, and what holds it up."""
        return self._mesh.subscriptions()

    def consumers(self) -> list[Json]:
        """List everyone that events are sent to, brokers first, and how far behind each is."""
        return self._mesh.consumers()

    def dead_letters(self, consumer: str | None = None, limit: int = 100) -> list[Json]:
        """List events that could not be delivered, newest first."""
        return dead_letters(self._journal, consumer, limit)

    def redeliver(self, consumer: str, event_id: str | None = None, *, by: str, reason: str) -> Json:
        """Send dead letters again: one, or all of a receiver."""
        return redeliver(self._journal, self._mesh, consumer, event_id, by=by, reason=reason)

    def health(self) -> dict[str, str]:
        """Say of each bridge ``ok``, or why it is not. A receiver that is down is its own trouble, not the mesh's."""
        documents = _state(self._journal.position)
        here = {"governance": _state(self._governance.policy), "mesh": self._mesh_state()}
        return {name: self.kernels.trouble(name) or here.get(name, documents) for name in BRIDGES}

    def views(self) -> list[BridgeView]:
        """Show each bridge: how it is, where it answers, what was asked of it."""
        health, waiting = self.health(), {exchange.bridge: exchange.waiting() for exchange in self._exchanges}
        return [self.kernels.view(name, health[name], waiting.get(name)) for name in BRIDGES]

    def prometheus(self) -> str:
        """Give the same in Prometheus' text format."""
        health = self.health()
        return prometheus(self.kernels.view(name, health[name]) for name in BRIDGES)

    def close(self) -> None:
        """Stop pumping; what is under way is finished."""
        self._stop.set()
        if self._pump is not None:
            self._pump.join()
        self.rounds.close()
        self._mesh.close()
        self.kernels.close()

    def _made_exchanges(self) -> list[Exchange]:
        def experienced(item: Json) -> bool:
            return mlt.take_experience(self._journal, item, by=ACTOR)

        def viewed(item: Json) -> bool:
            return take_view(self._views, item, by=ACTOR)

        made: tuple[tuple[BridgeName, str, tuple[str, ...], Callable[[Json], bool]], ...] = (
            ("mlt", "experience", (mlt.KIND,), experienced),
            ("memory", "memory", ("dataset", "model_version", VIEW), viewed),
        )
        return [
            Exchange(name, verb, self.kernels.remote[name], self._journal, kinds=kinds, take=take)
            for name, verb, kinds, take in made
            if name in self.kernels.remote
        ]

    def _inspected(self, dataset: Dataset, before: Dataset | None) -> Json:
        found = ingress.inspect(
            self._memory.table(dataset),
            before.statistics if before else None,
            now_s=self._clock.now_s(),
            time_column=dataset.time_column,
        )
        return {"status": ingress.worst(found), "findings": [finding.model_dump(mode="json") for finding in found]}

    def _before(self, dataset: Dataset) -> Dataset | None:
        older = [
            other
            for other in self._memory.datasets()
            if other.dataset_id == dataset.dataset_id and other.created_at_s < dataset.created_at_s
        ]
        return older[-1] if older else None

    def _mesh_state(self) -> str:
        if self._pump is None:
            return "its pump was not started"
        return "its pump has ended" if not self._pump.is_alive() else self._trouble or self._mesh.trouble() or "ok"

    def _pump_forever(self) -> None:
        while not self._stop.is_set():
            pause_s = PUMP_PAUSE_S
            try:
                self._mesh.pump()
                self._trouble = None
            except Exception as error:  # the pump outlives any failure: it says so, here and in health
                log.exception("the mesh's pump failed; it tries again in %g s", AFTER_TROUBLE_S)
                self._trouble, pause_s = f"{type(error).__name__}: {error}", AFTER_TROUBLE_S
            self._stop.wait(pause_s)


def _state(ask: Callable[[], object]) -> str:
    try:
        ask()
    except MldlError as error:
        return error.message
    return "ok"

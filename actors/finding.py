"""The registry's answers to searches. Not here: what a search means (``mldl_ray.registry.search``).

What survives a restart: everything. The index in memory is made from the journal; its file only saves time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from contracts.ports import Clock, Journal
from contracts.records import Approval, ModelView, TrainedBundle, VersionView, Waiting
from mldl_ray.bridges.governance import EmbeddedGovernance, missing_approvals, objections
from mldl_ray.registry.catalog import Catalog
from mldl_ray.registry.finder import Finder, Found
from mldl_ray.registry.search import Bound, Query, check_limit
from mldl_ray.registry.standing import Standing

MOST_ASKED = 25
"""Versions whose words are read from the journal for one list of what waits: some milliseconds each."""


class Finding:
    """Search versions."""

    def __init__(self, journal: Journal, governance: EmbeddedGovernance, clock: Clock, folder: Path | None) -> None:
        self._journal, self._governance = journal, governance
        self._finder, self._standing = Finder(journal, folder), Standing(governance, clock)

    def search(
        self,
        *,
        model_key: str | None = None,
        task: str | None = None,
        family: str | None = None,
        tags: Sequence[str] = (),
        min_metrics: Mapping[str, float] | None = None,
        bounds: Sequence[str] = (),
        calibration: str | None = None,
        serving: bool | None = None,
        approved: bool | None = None,
        text: str | None = None,
        sort: str = "model",
        as_of_s: float | None = None,
        after: str = "",
        limit: int = 50,
    ) -> list[VersionView]:
        """List versions; see ``Query`` for what each filter means.

        Args:
            model_key: Of this model only.
            task: Of this task only.
            family: Of this family only.
            tags: With all of these.
            min_metrics: Metric → what its figure is at least as good as.
            bounds: Of any figure, as ``ece<=0.05`` or ``limit.latency_ms<=20``.
            calibration: Calibrated by this method.
            serving: Only those that take traffic, or only others.
            approved: Only those that have, or lack, the approvals of the policy.
            text: Words that all occur.
            sort: ``model``, ``created``, ``version`` or a figure; with ``-`` before it, from the top.
            as_of_s: As it was then, Unix seconds; now when None.
            after: The last version seen, as ``<model_key>@<version>``; the page after it is given.
            limit: Most versions in a page, 1 to 500.

        Raises:
            Incompatible: A limit out of range, an unknown figure, or a bound or ``after`` of another form.
        """
        query = Query(
            task=task,
            family=family,
            tags=tuple(tags),
            min_metrics=min_metrics or {},
            text=text,
            model_key=model_key,
            bounds=tuple(map(Bound.of, bounds)),
            calibration=calibration,
            serving=serving,
            sort=sort,
        )
        check_limit(limit)
        as_of = None if as_of_s is None else self._journal.position(at_s=as_of_s)
        wanted = _Wanted(self._journal, self._governance, self._standing, approved, as_of, as_of_s)
        found = self._finder.find(
            query, after=after, limit=limit, as_of=as_of, spoken_of=wanted.spoken_of, keep=wanted.keeps
        )
        return wanted.views(found)

    def models(
        self, *, model_key: str | None = None, text: str | None = None, after: str = "", limit: int = 50
    ) -> list[ModelView]:
        """List models by key: the newest version, where the aliases lead, how many versions wait for a first word.

        Args:
            model_key: This one only.
            text: What their keys hold, whatever its case.
            after: The last key seen; the page after it is given.
            limit: Most, 1 to 500.

        Raises:
            Incompatible: A limit out of range.
        """
        found = self._finder.models(model_key=model_key, text=text, after=after, limit=check_limit(limit))
        wanted = _Wanted(self._journal, self._governance, self._standing, None, None, None)
        views = {view.bundle.model_key: view for view in wanted.views([one.newest for one in found])}
        return [
            ModelView(
                model_key=key,
                versions=one.versions,
                newest=views[key],
                aliases=one.aliases,
                waiting=0 if wanted.unspoken else one.silent,
            )
            for one in found
            if (key := one.newest.key.partition("@")[0]) in views
        ]

    def waiting(
        self, *, model_key: str | None = None, sort: str = "-created", after: str = "", limit: int = 50
    ) -> Waiting:
        """List versions that lack approvals, as far as that is known at once.

        What people's words on a version come to is read from the journal for ``MOST_ASKED`` versions, in this order,
        and remembered; so whoever asks again gets further, and nobody waits until thousands are read.

        Args:
            model_key: Of this model only.
            sort: See ``Query``.
            after: The last version seen, as ``<model_key>@<version>``.
            limit: Most, 1 to 500.

        Raises:
            Incompatible: A limit out of range, an unknown order, or ``after`` of another form.
        """
        wanted = _Wanted(self._journal, self._governance, self._standing, False, None, None, most_asked=MOST_ASKED)
        found = self._finder.find(
            Query(model_key=model_key, sort=sort),
            after=after,
            limit=check_limit(limit),
            spoken_of=wanted.spoken_of,
            keep=wanted.keeps,
            enough=wanted.asked_enough,
        )
        return Waiting(views=tuple(wanted.views(found)), whole=not wanted.asked_enough())

    def catch_up(self) -> None:
        """Take in what was written since, so that whoever asks next does not wait for that."""
        with self._finder.current():
            pass


class _Wanted:
    """The views of one search, and whether a version's approvals let it in."""

    def __init__(
        self,
        journal: Journal,
        governance: EmbeddedGovernance,
        standing: Standing,
        approved: bool | None,
        as_of: int | None,
        as_of_s: float | None,
        most_asked: int | None = None,
    ) -> None:
        self._asked, self._most_asked = 0, most_asked
        self._journal, self._governance, self._approved = journal, governance, approved
        self._standing = standing
        self._as_of, self._as_of_s = as_of, as_of_s
        self._policy = governance.policy(as_of_s=as_of_s)
        self.unspoken = not any(objections((), self._policy))
        self._aliases = cache(Catalog(journal, as_of=as_of).aliases)

    @property
    def spoken_of(self) -> bool | None:
        """Say whether only versions with words on them can be wanted: without any, all are alike."""
        return True if self._approved is not None and self._approved != self.unspoken else None

    def asked_enough(self) -> bool:
        """Say whether the journal was asked about as many versions as it may be."""
        return self._most_asked is not None and self._asked >= self._most_asked

    def keeps(self, found: Found) -> bool:
        """Say whether a version is as approved as is wanted."""
        if self._approved is None:
            return True
        if not found.spoken_of:
            return self.unspoken == self._approved
        words = None if self._as_of is not None else self._standing.remembered(found.key, found.moment)
        if words is None:
            self._asked += 1
            bundle = self._bundles([found]).get(found.key)
            if bundle is None:
                return False  # it was withdrawn meanwhile
            words = self._words(found, bundle)
        return self._approved != any(objections(words, self._policy))

    def views(self, found: Sequence[Found]) -> list[VersionView]:
        """Give what readers see; a version that was withdrawn meanwhile is left out."""
        bundles = self._bundles(found)
        return [self._view(one, bundles[one.key]) for one in found if one.key in bundles]

    def _view(self, found: Found, bundle: TrainedBundle) -> VersionView:
        words = self._words(found, bundle) if found.spoken_of else ()
        return VersionView(
            bundle=bundle,
            approvals=words,
            approved=not any(objections(words, self._policy)),
            missing_approvals=missing_approvals(words, self._policy),
            aliases=found.aliases if self._as_of is None else self._led_to(bundle),
            registered_by=found.registered_by,
        )

    def _words(self, found: Found, bundle: TrainedBundle) -> tuple[Approval, ...]:
        if self._as_of is None:
            return self._standing.words(bundle, found.moment)
        return self._governance.approvals(bundle, as_of_s=self._as_of_s)

    def _led_to(self, bundle: TrainedBundle) -> tuple[str, ...]:
        leads = self._aliases(bundle.model_key).items()
        return tuple(alias for alias, leads_to in leads if leads_to == bundle.version)

    def _bundles(self, found: Sequence[Found]) -> dict[str, TrainedBundle]:
        keys = [one.key for one in found]
        if self._as_of is None:
            documents = self._journal.pick("model_version", keys)
        else:
            past = (self._journal.read("model_version", key, as_of=self._as_of) for key in keys)
            documents = [document for document in past if document is not None]
        return {document.key: TrainedBundle.model_validate(document.body) for document in documents}

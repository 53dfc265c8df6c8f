"""The registered versions, read from the journal as it is or as it was. Nothing is written here.

Keys are ``<model_key>@<version>``; neither part can hold an ``@``.
"""

from __future__ import annotations

from contracts.errors import NotFound
from contracts.ports import Journal
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.semver import Number

LATEST, STABLE = "latest", "stable"
_MOST_NAMED = 10


def version_key(model_key: str, version: str) -> str:
    """Name the documents of one version.

    >>> version_key("churn", "1.0.0")
    'churn@1.0.0'
    """
    return f"{model_key}@{version}"


class Catalog:
    """Find versions by number or alias.

    Args:
        journal: Where they are recorded.
        as_of: Read the journal as it was after this position; as it is when None.
    """

    def __init__(self, journal: Journal, *, as_of: int | None = None) -> None:
        self._journal, self._as_of = journal, as_of

    def bundle(self, model_key: str, version: str) -> TrainedBundle:
        """Give a version; ``latest`` and ``stable`` are followed.

        Raises:
            NotFound: No such model or version; the message names those that there are.
        """
        number = self._followed(model_key, version)
        document = self._journal.read("model_version", version_key(model_key, number), as_of=self._as_of)
        if document is None:
            raise self._unknown(model_key, version)
        return TrainedBundle.model_validate(document.body)

    def resolve(self, model_key: str, version: str) -> str:
        """Turn ``latest`` (the highest number), ``stable`` (what serves) or a number into a number that exists.

        Raises:
            NotFound: No such model or version, or nothing serves yet.
        """
        return str(self.bundle(model_key, version).version)

    def versions(self, model_key: str) -> list[str]:
        """List the numbers of a model, lowest first; empty when there is no such model."""
        return self._numbers(model_key, withdrawn=False)

    def taken(self, model_key: str) -> list[str]:
        """List the numbers that were ever given, those that a rollback withdrew too."""
        return self._numbers(model_key, withdrawn=True)

    def latest(self, model_key: str) -> TrainedBundle | None:
        """Give the version with the highest number; None when there is none."""
        versions = self.versions(model_key)
        return self.bundle(model_key, versions[-1]) if versions else None

    def stable(self, model_key: str) -> str | None:
        """Give the number that the endpoint serves; None while nothing serves."""
        document = self._journal.read("endpoint", model_key, as_of=self._as_of)
        return Endpoint.model_validate(document.body).stable if document is not None else None

    def bundles(self, model_key: str | None = None) -> list[TrainedBundle]:
        """List versions of one model or of all, by model_key and then by number."""
        prefix = version_key(model_key, "") if model_key else ""
        documents = scan_all(self._journal, "model_version", prefix=prefix, as_of=self._as_of)
        found = [TrainedBundle.model_validate(document.body) for document in documents]
        return sorted(found, key=lambda bundle: (bundle.model_key, Number.of(str(bundle.version))))

    def aliases(self, model_key: str) -> dict[str, str | None]:
        """Say where each alias of a model leads; None where it leads nowhere."""
        return {LATEST: next(reversed(self.versions(model_key)), None), STABLE: self.stable(model_key)}

    def _followed(self, model_key: str, version: str) -> str:
        if version == LATEST:
            versions = self.versions(model_key)
            if not versions:
                raise self._unknown(model_key, version)
            return versions[-1]
        if version == STABLE:
            stable = self.stable(model_key)
            if stable is None:
                raise self._nothing_serves(model_key)
            return stable
        return version

    def _numbers(self, model_key: str, *, withdrawn: bool) -> list[str]:
        prefix = version_key(model_key, "")
        documents = scan_all(self._journal, "model_version", prefix=prefix, as_of=self._as_of, withdrawn=withdrawn)
        return sorted((document.key.removeprefix(prefix) for document in documents), key=Number.of)

    def _nothing_serves(self, model_key: str) -> NotFound:
        versions = self.versions(model_key)
        if not versions:
            return self._unknown(model_key, STABLE)
        return NotFound(
            f"no version of {model_key} serves yet, so it has no stable one; deploy one of: {_named(versions)}",
            {"model_key": model_key, "versions": versions},
        )

    def _unknown(self, model_key: str, version: str) -> NotFound:
        versions = self.versions(model_key)
        facts = {"model_key": model_key, "version": version, "versions": versions}
        if versions:
            return NotFound(f"{model_key} has no version {version}; it has: {_named(versions)}", facts)
        known = self._model_keys()
        there = f"registered models are: {_named(known)}" if known else "nothing is registered yet"
        when = " at that moment" if self._as_of is not None else ""
        return NotFound(f"no model {model_key!r} was registered{when}; {there}", facts | {"model_keys": known})

    def _model_keys(self) -> list[str]:
        documents = scan_all(self._journal, "model_version", as_of=self._as_of)
        return sorted({document.key.partition("@")[0] for document in documents})


def _named(names: list[str]) -> str:
    """List names for a person, the last ones when there are many.

    >>> _named([str(n) for n in range(12)])
    '2, 3, 4, 5, 6, 7, 8, 9, 10, 11 (and 2 more)'
    """
    shown = ", ".join(names[-_MOST_NAMED:])
    return f"{shown} (and {len(names) - _MOST_NAMED} more)" if len(names) > _MOST_NAMED else shown

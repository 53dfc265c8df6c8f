"""The registered versions, read from the journal as it is or as it was. Nothing is written here.

Keys are ``<model_key>@<version>``, of own aliases ``<model_key>@<alias>``; no part can hold an ``@``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from contracts.aliases import ALIAS_PATTERN, CANDIDATE, LATEST, STABLE
from contracts.errors import NotFound
from contracts.ports import Document, Journal
from contracts.records import TrainedBundle
from contracts.rollouts import LIVE_STATES, Deployment, Endpoint
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.semver import Number

__all__ = ["ALIAS", "CANDIDATE", "LATEST", "STABLE", "Catalog", "is_alias", "version_key"]

ALIAS = "alias"
"""Kind of the own aliases."""
_MOST_NAMED = 10


def version_key(model_key: str, version: str) -> str:
    """Name the documents of one version, or of one alias.

    >>> version_key("churn", "1.0.0")
    'churn@1.0.0'
    """
    return f"{model_key}@{version}"


def is_alias(version: str) -> bool:
    """Say whether a word names a version by an alias, and not by its number.

    >>> is_alias("stable"), is_alias("champion"), is_alias("1.0.0")
    (True, True, False)
    """
    return re.fullmatch(ALIAS_PATTERN, version) is not None


class Catalog:
    """Find versions by number or alias.

    Args:
        journal: Where they are recorded.
        as_of: Read the journal as it was after this position; as it is when None.
    """

    def __init__(self, journal: Journal, *, as_of: int | None = None) -> None:
        self._journal, self._as_of = journal, as_of

    def bundle(self, model_key: str, version: str) -> TrainedBundle:
        """Give a version; an alias is followed.

        Raises:
            NotFound: No such model, version or alias, or the alias leads nowhere; the message names those that there
                are.
        """
        number = self._followed(model_key, version)
        document = self._read("model_version", version_key(model_key, number))
        if document is None:
            raise self._unknown(model_key, number)
        return TrainedBundle.model_validate(document.body)

    def resolve(self, model_key: str, version: str) -> str:
        """Turn an alias or a number into a number that exists.

        ``latest`` is the highest number, ``stable`` what serves, ``candidate`` what goes through the newest rollout;
        others lead where people moved them.

        Raises:
            NotFound: No such model, version or alias, or the alias leads nowhere.
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
        endpoint = self._endpoint(model_key)
        return None if endpoint is None else endpoint.stable

    def candidate(self, model_key: str) -> str | None:
        """Give the number that goes through the newest live rollout and is not stable yet; None when none does."""
        endpoint = self._endpoint(model_key)
        if endpoint is None:
            return None
        documents = (self._read("deployment", name) for name in reversed(endpoint.deployment_ids))
        found = (Deployment.model_validate(document.body) for document in documents if document is not None)
        coming = (one.version for one in found if one.status in LIVE_STATES and one.version != endpoint.stable)
        return next(coming, None)

    def own_aliases(self, model_key: str) -> Iterator[Document]:
        """Give the documents of the aliases that people moved, in order of their names."""
        return scan_all(self._journal, ALIAS, prefix=version_key(model_key, ""), as_of=self._as_of)

    def bundles(self, model_key: str | None = None) -> list[TrainedBundle]:
        """List versions of one model or of all, by model_key and then by number."""
        prefix = version_key(model_key, "") if model_key else ""
        documents = scan_all(self._journal, "model_version", prefix=prefix, as_of=self._as_of)
        found = [TrainedBundle.model_validate(document.body) for document in documents]
        return sorted(found, key=lambda bundle: (bundle.model_key, Number.of(str(bundle.version))))

    def derived_aliases(self, model_key: str) -> dict[str, str | None]:
        """Say where the aliases that follow from the state lead; None where one leads nowhere."""
        latest = next(reversed(self.versions(model_key)), None)
        return {LATEST: latest, STABLE: self.stable(model_key), CANDIDATE: self.candidate(model_key)}

    def aliases(self, model_key: str) -> dict[str, str | None]:
        """Say where each alias of a model leads; None where it leads nowhere."""
        return self.derived_aliases(model_key) | self._own(model_key)

    def _own(self, model_key: str) -> dict[str, str]:
        bodies = (document.body or {} for document in self.own_aliases(model_key))
        return {str(body["alias"]): str(body["version"]) for body in bodies}

    def _followed(self, model_key: str, version: str) -> str:
        if not is_alias(version):
            return version
        if version == LATEST:
            leads = next(reversed(self.versions(model_key)), None)
        elif version == STABLE:
            leads = self.stable(model_key)
        elif version == CANDIDATE:
            leads = self.candidate(model_key)
        else:
            document = self._read(ALIAS, version_key(model_key, version))
            leads = None if document is None or document.body is None else str(document.body["version"])
        if leads is None:
            raise self._leads_nowhere(model_key, version)
        return leads

    def _endpoint(self, model_key: str) -> Endpoint | None:
        document = self._read("endpoint", model_key)
        return None if document is None else Endpoint.model_validate(document.body)

    def _read(self, kind: str, key: str) -> Document | None:
        return self._journal.read(kind, key, as_of=self._as_of)

    def _numbers(self, model_key: str, *, withdrawn: bool) -> list[str]:
        prefix = version_key(model_key, "")
        documents = scan_all(self._journal, "model_version", prefix=prefix, as_of=self._as_of, withdrawn=withdrawn)
        return sorted((document.key.removeprefix(prefix) for document in documents), key=Number.of)

    def _leads_nowhere(self, model_key: str, alias: str) -> NotFound:
        versions = self.versions(model_key)
        if not versions or alias not in {STABLE, CANDIDATE}:
            return self._unknown(model_key, alias)
        facts = {"model_key": model_key, "versions": versions}
        if alias == CANDIDATE:
            return NotFound(f"no version of {model_key} goes through a rollout, so it has no candidate", facts)
        return NotFound(
            f"no version of {model_key} serves yet, so it has no stable one; deploy one of: {_named(versions)}", facts
        )

    def _unknown(self, model_key: str, version: str) -> NotFound:
        versions = self.versions(model_key)
        facts = {"model_key": model_key, "version": version, "versions": versions}
        if gone := self._read("deletion", version_key(model_key, version)):
            body = gone.body or {}
            message = f"{model_key} {version} was deleted by {body.get('deleted_by')}: {body.get('reason')}"
            return NotFound(message, facts)
        if versions:
            own = sorted(self._own(model_key))
            named = f", and the aliases: {_named(own)}" if own else ""
            what = "alias" if is_alias(version) else "version"
            message = f"{model_key} has no {what} {version}; it has: {_named(versions)}{named}"
            return NotFound(message, facts | {"aliases": own})
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

"""Own aliases of versions: moved by compare-and-set, removed, listed. Not here: following one (``catalog``)."""

from __future__ import annotations

import re

from contracts.aliases import ALIAS_PATTERN, DERIVED, RESERVED, Alias, AliasRequest, AliasView
from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import Fact
from contracts.ports import Document, Journal, Once, Write
from contracts.records import TrainedBundle
from mldl_ray.journal.documents import first_answer, load, write
from mldl_ray.registry.catalog import ALIAS, Catalog, version_key


class Aliases:
    """The aliases in the journal; holds nothing."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def list(self, model_key: str, *, as_of: int | None = None) -> list[AliasView]:
        """List a model's aliases: those that follow from the state, then own ones by name.

        Args:
            model_key: Which model.
            as_of: After which position of the journal; now when None.

        Raises:
            NotFound: No version of it is registered.
        """
        catalog = Catalog(self._journal, as_of=as_of)
        catalog.resolve(model_key, "latest")
        derived = catalog.derived_aliases(model_key).items()
        views = [AliasView(model_key=model_key, alias=name, version=leads, derived=True) for name, leads in derived]
        return views + [_view(document) for document in catalog.own_aliases(model_key)]

    def move(self, model_key: str, alias: str, asked: AliasRequest, *, by: str, once: Once | None = None) -> AliasView:
        """Have an own alias lead to a version; where it leads there already, nothing is written.

        Args:
            model_key: Which model.
            alias: Its name.
            asked: Where to and from where.
            by: Who moves it.
            once: The same request again gives the same answer.

        Raises:
            NotFound: No such version.
            Conflict: It leads elsewhere than expected, or the version is retired.
            Incompatible: A name that no alias can have.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return _written(earlier.documents)
        check_name(alias)
        key, target = version_key(model_key, alias), Catalog(self._journal).bundle(model_key, asked.version)
        before, at = load(self._journal, ALIAS, key, Alias)
        _check_expected(alias, before, asked.expected_version)
        _check_target(target)
        if before is not None and before.version == target.version:
            return _written([document for document in [self._journal.read(ALIAS, key)] if document is not None])
        goal = Alias(model_key=model_key, alias=alias, version=str(target.version))
        fact = _fact(goal, None if before is None else before.version, goal.version)
        receipt = self._journal.append([write(ALIAS, key, at, goal)], [fact], actor=by, reason=asked.reason, once=once)
        return _written(receipt.documents)

    def remove(
        self, model_key: str, alias: str, *, expected_version: str, reason: str, by: str, once: Once | None = None
    ) -> AliasView:
        """Take an own alias away; the answer leads nowhere.

        Raises:
            NotFound: No such alias.
            Conflict: It leads elsewhere than expected.
            Incompatible: A name that no own alias can have.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return _written(earlier.documents)
        check_name(alias)
        key = version_key(model_key, alias)
        before, at = load(self._journal, ALIAS, key, Alias)
        if before is None:
            raise NotFound(f"{model_key} has no alias {alias}", {"model_key": model_key, "alias": alias})
        _check_expected(alias, before, expected_version)
        gone = Write(kind=ALIAS, key=key, expected_version=at, body=None)
        fact = _fact(before, before.version, None)
        return _written(self._journal.append([gone], [fact], actor=by, reason=reason, once=once).documents)


def check_name(alias: str) -> str:
    """Refuse a name that means something already, or that cannot be told from a number.

    Raises:
        Incompatible: It is one.

    >>> check_name("champion")
    'champion'
    """
    if alias in DERIVED:
        raise Incompatible(f"{alias} follows from the state and is moved by nobody; choose another name")
    if alias in RESERVED or re.fullmatch(ALIAS_PATTERN, alias) is None:
        raise Incompatible(
            f"{alias[:100]!r} cannot be an alias: it must begin with a letter, go on with up to 63 letters, digits, - "
            f"or _, and be none of {', '.join(sorted(RESERVED))}"
        )
    return alias


def _check_expected(alias: str, before: Alias | None, expected: str | None) -> None:
    now = None if before is None else before.version
    if now == expected:
        return
    leads = f"leads to {now}" if now else "does not exist"
    wanted = f"you expected {expected}" if expected else "you expected that it does not exist yet"
    raise Conflict(f"alias {alias} {leads}, and {wanted}; look again and decide anew", {"alias": alias, "version": now})


def _check_target(target: TrainedBundle) -> None:
    if target.status != "registered":
        raise Conflict(f"{target.model_key} {target.version} is {target.status}; no alias can be moved to it")


def _fact(alias: Alias, before: str | None, after: str | None) -> Fact:
    data = {"model_key": alias.model_key, "alias": alias.alias, "before": before, "version": after}
    return Fact(type="MLDL_ALIAS_MOVED", subject=alias.model_key, data=data)


def _written(documents: tuple[Document, ...] | list[Document]) -> AliasView:
    found = next((document for document in documents if document.kind == ALIAS), None)
    if found is None:
        raise Conflict("this idempotency key was used for another kind of request")
    return _view(found)


def _view(document: Document) -> AliasView:
    model_key, _, alias = document.key.partition("@")
    leads = None if document.body is None else str(document.body["version"])
    return AliasView(
        model_key=model_key,
        alias=alias,
        version=leads,
        moved_by=document.actor,
        reason=document.reason,
        at_s=document.at_s,
    )

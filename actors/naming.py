"""What the registry's actor does for aliases. What survives a restart: everything; they are documents."""

from __future__ import annotations

from actors.changes import check_reason, settled
from contracts.aliases import AliasRequest, AliasView
from contracts.ports import Journal, Once
from mldl_ray.registry.aliases import Aliases


class Naming:
    """List, move and remove aliases of versions."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._aliases = Aliases(journal)

    def aliases(self, model_key: str, *, as_of_s: float | None = None) -> list[AliasView]:
        """List a model's aliases and where each leads, now or as it was (Unix seconds).

        Raises:
            NotFound: No such model.
        """
        as_of = None if as_of_s is None else self._journal.position(at_s=as_of_s)
        return self._aliases.list(model_key, as_of=as_of)

    def move_alias(
        self, model_key: str, alias: str, asked: AliasRequest, *, by: str, once: Once | None = None
    ) -> AliasView:
        """Have an own alias lead to a version; see ``Aliases.move``."""
        check_reason(asked.reason)
        return settled(lambda: self._aliases.move(model_key, alias, asked, by=by, once=once))

    def remove_alias(
        self, model_key: str, alias: str, *, expected_version: str, reason: str, by: str, once: Once | None = None
    ) -> AliasView:
        """Take an own alias away; see ``Aliases.remove``."""
        check_reason(reason)
        return settled(
            lambda: self._aliases.remove(
                model_key, alias, expected_version=expected_version, reason=reason, by=by, once=once
            )
        )

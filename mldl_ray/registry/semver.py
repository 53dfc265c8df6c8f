"""Version numbers: how they compare, and which one a new version gets, with the reason. Pure.

A caller reads the number as a promise: within one major version, a request that worked goes on working and its answer
means the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from contracts.errors import Conflict, Incompatible
from contracts.records import Lineage, TrainedBundle
from contracts.specs import NumberWanted
from mldl_ray.adapters.schema import InputSchema

_FORM = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


class Number(NamedTuple):
    """A version number; compares as its three parts do."""

    major: int
    minor: int
    patch: int

    @classmethod
    def of(cls, version: str) -> Number:
        """Read ``major.minor.patch``.

        Raises:
            Incompatible: It is not three whole numbers without leading zeros.

        >>> Number.of("1.10.0") > Number.of("1.9.3")
        True
        """
        found = _FORM.fullmatch(version)
        if found is None:
            raise Incompatible(f"{version!r} is no version number; expected three numbers, as in 1.0.0")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def raised(self, part: str) -> Number:
        """Give the number after a major, minor or patch step.

        >>> str(Number(1, 4, 2).raised("minor"))
        '1.5.0'
        """
        if part == "major":
            return Number(self.major + 1, 0, 0)
        return Number(self.major, self.minor + 1, 0) if part == "minor" else self._replace(patch=self.patch + 1)


FIRST = Number(1, 0, 0)


def next_version(new: TrainedBundle, before: TrainedBundle | None, taken: Collection[str] = ()) -> tuple[str, str]:
    """Number a new version by what changes for those who call the model.

    Args:
        new: What is to be registered.
        before: The latest registered version; None when there is none.
        taken: Numbers that were ever given, withdrawn ones too; a number never names two models.

    Returns:
        The number and the reason: **major** when old requests break or the task or its classes changed, **minor** when
        family, features or data changed, otherwise **patch**.

    >>> first = TrainedBundle(model_key="m", artifact_uri="blobs:", validation_hash="h", created_at="", family="lr")
    >>> next_version(first, None)
    ('1.0.0', 'the first version')
    >>> second = first.model_copy(update={"family": "xgb"})
    >>> next_version(second, first.model_copy(update={"version": "1.0.0"}))
    ('1.1.0', 'minor: the family was lr and is xgb now')
    """
    part, reasons = _step(new, before)
    number = Number.of(before.version).raised(part) if before is not None and before.version else FIRST
    while str(number) in taken:
        number = number.raised(part)
    return str(number), f"{part}: {'; '.join(reasons)}" if before is not None else "the first version"


def wanted_version(
    wanted: NumberWanted, new: TrainedBundle, before: TrainedBundle | None, taken: Collection[str]
) -> tuple[str, str]:
    """Give a new version the number that somebody wants, if that keeps the promise that numbers are.

    Args:
        wanted: The number and why.
        new: What is to be registered.
        before: The registered version with the highest number below the wanted one; None when there is none.
        taken: Numbers that were ever given, withdrawn ones too.

    Returns:
        The number, and the reason: whose words, and what the change demanded.

    Raises:
        Conflict: It was given already, or the change from ``before`` demands a higher one and none lower is allowed.

    >>> new = TrainedBundle(model_key="m", artifact_uri="blobs:", validation_hash="h", created_at="", family="lr")
    >>> wanted_version(NumberWanted(version="3.0.0", reason="as the product"), new, None, ())
    ('3.0.0', 'wanted: as the product (there is no version below it)')
    """
    number, facts = Number.of(wanted.version), {"model_key": new.model_key, "version": wanted.version}
    if str(number) in taken:
        raise Conflict(f"{new.model_key} {number} was given already, and a number never names two models", facts)
    if before is None:
        return str(number), f"wanted: {wanted.reason} (there is no version below it)"
    part, reasons = _step(new, before)
    least, change = Number.of(str(before.version)).raised(part), f"{part}: {'; '.join(reasons)}"
    if number >= least:
        return str(number), f"wanted: {wanted.reason} (what changed since {before.version} is {change})"
    if not wanted.allow_lower:
        raise Conflict(
            f"{new.model_key} {number} would promise too much: what changed since {before.version} demands {least} or "
            f"above ({change}); want a higher number, or allow a lower one",
            facts | {"before": before.version, "demanded": str(least), "changes": reasons},
        )
    return str(number), f"wanted: {wanted.reason} (against {least}, which is due after {before.version}; {change})"


def _step(new: TrainedBundle, before: TrainedBundle | None) -> tuple[str, list[str]]:
    if before is None:
        return "major", []
    if breaking := list(_breaking(new, before)):
        return "major", breaking
    if changed := list(_changed(new, before)):
        return "minor", changed
    return "patch", ["same family, features and data"]


def _breaking(new: TrainedBundle, old: TrainedBundle) -> Iterator[str]:
    if new.task != old.task:
        yield f"the task was {old.task} and is {new.task} now"
    if new.classes and old.classes and new.classes != old.classes:
        yield f"the classes were {_listed(old.classes)} and are {_listed(new.classes)} now"
    if new.input_schema and old.input_schema:
        yield from InputSchema.from_json(new.input_schema).breaks(InputSchema.from_json(old.input_schema))
    elif new.input_schema or old.input_schema:
        yield "one of the two does not state its input columns, so old requests may fail"


def _changed(new: TrainedBundle, old: TrainedBundle) -> Iterator[str]:
    if new.family != old.family:
        yield f"the family was {old.family} and is {new.family} now"
    if new.input_schema != old.input_schema:
        yield "its columns hold other known values"
    if new.lineage.feature_view != old.lineage.feature_view:
        yield f"the feature view was {old.lineage.feature_view} and is {new.lineage.feature_view} now"
    if _data(new.lineage) != _data(old.lineage):
        yield f"it was trained on other data ({_named(new.lineage)} after {_named(old.lineage)})"


def _data(lineage: Lineage) -> tuple[str | None, ...]:
    """Tell data apart by its bytes, or by its name where the bytes are not known."""
    return (lineage.dataset_digest,) if lineage.dataset_digest else (lineage.dataset_id, lineage.version)


def _named(lineage: Lineage) -> str:
    return f"{lineage.dataset_id}@{lineage.version}" if lineage.dataset_id else "unnamed rows"


def _listed(classes: tuple[object, ...]) -> str:
    shown = ", ".join(map(str, classes[:10]))
    return f"[{shown}, … {len(classes)} in all]" if len(classes) > 10 else f"[{shown}]"

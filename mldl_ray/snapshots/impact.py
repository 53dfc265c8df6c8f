"""What a rollback would change, in a person's words, and how risky that is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from contracts.records import Impact
from contracts.rollouts import Deployment
from contracts.specs import Json
from mldl_ray.snapshots.kinds import RESTORABLE
from mldl_ray.snapshots.state import Content

Risk = Literal["none", "low", "medium", "high"]
_ORDER: tuple[Risk, ...] = ("none", "low", "medium", "high")
_KINDS = ("endpoint", "deployment", *(kind for kind in RESTORABLE if kind != "endpoint"))


class _Pair(NamedTuple):
    """A document now and in the snapshot; None where it is absent."""

    key: str
    now: Json | None
    then: Json | None

    @property
    def gone(self) -> bool:
        return self.then is None

    @property
    def body(self) -> Json:
        return self.now or self.then or {}


def impacts(now: Content, then: Content, ended: Iterable[Deployment] = ()) -> tuple[Impact, ...]:
    """List what would change, what users notice first.

    Args:
        now: The state as it is.
        then: The state of the snapshot.
        ended: Live deployments that would not go on.
    """
    found = [
        _impact(kind, _Pair(key, now[kind].get(key), then[kind].get(key)))
        for kind in then
        for key in sorted({*now[kind], *then[kind]})
        if now[kind].get(key) != then[kind].get(key)
    ]
    found += [_ended(deployment) for deployment in ended]
    return tuple(sorted(found, key=lambda impact: (_KINDS.index(impact.kind), impact.key)))


def risk(
    found: Sequence[Impact],
    *,
    unapproved: Collection[str] = (),
    missing: Sequence[str] = (),
    lost_datasets: Sequence[str] = (),
) -> tuple[Risk, tuple[str, ...]]:
    """Weigh the changes: the level of the gravest one, and every reason, gravest first.

    Args:
        found: The changes.
        unapproved: What would be served (``<model_key>@<version>``) and had no approval in the snapshot.
        missing: Stored files of its versions that are gone or damaged.
        lost_datasets: Its datasets (``<dataset_id>@<version>``) whose rows are gone.
    """
    reasons: list[tuple[Risk, str]] = []
    if missing:
        reasons.append(("high", f"{len(missing)} stored files of its versions are gone or damaged; it is refused"))
    for key in lost_datasets:
        reasons.append(("medium", f"the rows of dataset {key} are gone; nothing can be trained or judged on them"))
    for impact in found:
        reasons += [reason for rule in _RULES if (reason := rule(impact, unapproved))]
    withdrawn = sum(impact.kind == "model_version" and impact.effect == "withdrawn" for impact in found)
    if withdrawn:
        reasons.append(("low", f"{_count(withdrawn, 'version')} would leave the registry; the history keeps them"))
    if found and not reasons:
        reasons.append(("low", "only records change; no endpoint would serve anything else"))
    reasons.sort(key=lambda pair: -_ORDER.index(pair[0]))
    return (reasons[0][0] if reasons else "none"), tuple(dict.fromkeys(sentence for _, sentence in reasons))


def _impact(kind: str, pair: _Pair) -> Impact:
    before, after, sentence = _SENTENCES[kind](pair) if kind in _SENTENCES else _other(kind, pair)
    effect: Literal["restored", "withdrawn", "returned"] = "restored"
    if kind != "endpoint" and (pair.now is None or pair.gone):
        effect = "withdrawn" if pair.gone else "returned"
    elif kind == "endpoint" and (before is None or after is None):
        effect = "withdrawn" if after is None else "returned"
    return Impact(kind=kind, key=pair.key, effect=effect, before=before, after=after, sentence=sentence)


Told = tuple[str | None, str | None, str]


def _endpoint(pair: _Pair) -> Told:
    before, after = ((body or {}).get("stable") for body in (pair.now, pair.then))
    if after is None:
        return before, None, f"{pair.key} would serve nothing any more; it serves {before} now"
    if before is None:
        return None, after, f"{pair.key} would serve {after} again; it serves nothing now"
    if before != after:
        return before, after, f"{pair.key} would serve {after} again instead of {before}"
    back_now, back_then = ((body or {}).get("previous") or "none" for body in (pair.now, pair.then))
    words = f"{pair.key} would keep serving {after}; the version to fall back to would be {back_then}, not {back_now}"
    return before, after, words


def _version(pair: _Pair) -> Told:
    model_key, _, version = pair.key.partition("@")
    before, after = ((body or {}).get("status") for body in (pair.now, pair.then))
    if pair.gone:
        words = f"version {version} of {model_key} would be withdrawn from the registry; the history keeps it"
    elif pair.now is None:
        words = f"version {version} of {model_key} would be back in the registry"
    else:
        words = f"version {version} of {model_key} would be as it was: {_changed(pair)}"
    return before, after, words


def _approval(pair: _Pair) -> Told:
    body = pair.body
    noun = "approval" if body.get("decision") == "approved" else "rejection"
    again = "no longer count" if pair.gone else "count again" if pair.now is None else f"be as it was: {_changed(pair)}"
    before, after = ((side or {}).get("decision") for side in (pair.now, pair.then))
    return before, after, f"{body.get('by')}'s {noun} of {body.get('model_key')} {body.get('version')} would {again}"


def _request(pair: _Pair) -> Told:
    model_key, _, version = pair.key.partition("@")
    end = "be withdrawn" if pair.gone else "be open again" if pair.now is None else f"be as it was: {_changed(pair)}"
    before, after = ("requested" if body else None for body in (pair.now, pair.then))
    return before, after, f"the request to approve {model_key} {version} would {end}"


def _policy(pair: _Pair) -> Told:
    before, after = (_shown(body) if body else None for body in (pair.now, pair.then))
    if pair.gone:
        return before, None, f"the policy {pair.key} would be withdrawn and the built-in rules would hold again"
    if pair.now is None:
        return None, after, f"the policy {pair.key} would hold again"
    return before, after, f"the policy for deploying would be as it was: {_changed(pair)}"


def _dataset(pair: _Pair) -> Told:
    name, _, version = pair.key.partition("@")
    before, after = (version if body else None for body in (pair.now, pair.then))
    if pair.gone:
        return before, None, f"dataset {name} version {version} would no longer be listed; its rows stay stored"
    end = "be listed again" if pair.now is None else f"be as it was: {_changed(pair)}"
    return before, after, f"dataset {name} version {version} would {end}"


def _other(kind: str, pair: _Pair) -> Told:
    """Tell of a kind that has no words of its own."""
    before, after = (_shown(body) if body else None for body in (pair.now, pair.then))
    end = "be withdrawn" if pair.gone else "hold again" if pair.now is None else f"be as it was: {_changed(pair)}"
    return before, after, f"the {RESTORABLE[kind]} {pair.key} would {end}"


_SENTENCES: dict[str, Callable[[_Pair], Told]] = {
    "endpoint": _endpoint,
    "model_version": _version,
    "approval": _approval,
    "approval_request": _request,
    "policy": _policy,
    "dataset": _dataset,
}


def _ended(deployment: Deployment) -> Impact:
    what = f"the deployment of {deployment.model_key} {deployment.version} ({deployment.status})"
    return Impact(
        kind="deployment",
        key=deployment.deployment_id,
        effect="withdrawn",
        before=deployment.status,
        after="superseded",
        sentence=f"{what} would end; the stable version would answer everybody",
    )


def _changed(pair: _Pair) -> str:
    now, then = pair.now or {}, pair.then or {}
    names = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
    return ", ".join(f"{name} {_value(then.get(name))} instead of {_value(now.get(name))}" for name in names[:5])


def _value(value: object) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _shown(body: Json) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in sorted(body.items()) if name != "name")


def _stops(impact: Impact, _: Collection[str]) -> tuple[Risk, str] | None:
    if impact.kind == "endpoint" and impact.after is None:
        return "high", f"{impact.key} would stop answering: nothing served at that moment"
    return None


def _breaks(impact: Impact, _: Collection[str]) -> tuple[Risk, str] | None:
    if impact.kind != "endpoint" or impact.before is None or impact.after is None:
        return None
    old, new = impact.before.partition(".")[0], impact.after.partition(".")[0]
    words = f"{impact.key} would go from major version {old} to {new}; callers may have to send other columns"
    return ("high", words) if old != new else None


def _serves_other(impact: Impact, _: Collection[str]) -> tuple[Risk, str] | None:
    if impact.kind == "endpoint" and impact.after is not None and impact.before != impact.after:
        return "medium", f"users of {impact.key} would get another version at once, without a canary"
    return None


def _unapproved(impact: Impact, unapproved: Collection[str]) -> tuple[Risk, str] | None:
    if impact.kind != "endpoint" or f"{impact.key}@{impact.after}" not in unapproved:
        return None
    return "medium", f"{impact.key} {impact.after} had no approval at that moment"


def _rules_change(impact: Impact, _: Collection[str]) -> tuple[Risk, str] | None:
    return ("medium", "the rules for deploying would change") if impact.kind in {"policy", "policy_exception"} else None


def _ends_rollout(impact: Impact, _: Collection[str]) -> tuple[Risk, str] | None:
    return ("low", "a rollout that is under way would end") if impact.kind == "deployment" else None


_RULES = (_stops, _breaks, _serves_other, _unapproved, _rules_change, _ends_rollout)


def _count(number: int, noun: str) -> str:
    """Count in words.

    >>> _count(1, "version"), _count(2, "version")
    ('1 version', '2 versions')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def per_minute(live: Json) -> dict[str, float]:
    """Read from the live figures how many requests a minute each endpoint answers.

    >>> per_minute({"endpoints": {"m": {"versions": {"1.0.0": {"qps": 1.5}, "1.1.0": {"qps": 0.5}}}}})
    {'m': 120.0}
    """
    return {
        key: 60.0 * sum(float(figures.get("qps") or 0.0) for figures in endpoint["versions"].values())
        for key, endpoint in live.get("endpoints", {}).items()
    }


def affected(found: Sequence[Impact], rates: Mapping[str, float]) -> tuple[str, ...]:
    """Say how many requests a minute would be answered by another version, or by none."""
    told = [(i, rates[i.key]) for i in found if i.kind == "endpoint" and i.before != i.after and i.key in rates]
    return tuple(f"{i.key} answers {rate:.0f} requests a minute now; all of them would be affected" for i, rate in told)

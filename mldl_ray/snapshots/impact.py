"""What a rollback would change, in a person's words. Pure; how risky that is, is in ``risk``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from contracts.records import Impact
from contracts.rollouts import Deployment
from contracts.specs import Json
from mldl_ray.snapshots.kinds import RESTORABLE
from mldl_ray.snapshots.state import Content

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

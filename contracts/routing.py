"""The route table: which version answers which share of the sticky keys, as one immutable value.

The deployment manager makes it, every replica of the endpoint applies it by swapping one reference, and says so.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field, model_validator

from contracts.specs import Words


class Arm(Words):
    """One version and its share of the traffic."""

    version: str
    manifest: str = Field(description="sha256:… of the artifact's manifest.")
    share: float = Field(ge=0, le=1)
    app: str | None = Field(default=None, description="Serve application that runs it; none: in the replica itself.")
    deployment_id: str | None = Field(default=None, description="The rollout that brings it; none for stable.")
    spans: tuple[tuple[float, float], ...] = Field(
        default=(), description="Parts [from, to) of the hash space [0, 1) that are its own; stable has the rest."
    )


class RouteTable(Words):
    """Where the requests of one endpoint go. ``arms[0]`` is stable and lives in the replica's own process."""

    model_key: str
    epoch: int = Field(ge=0)
    salt: str
    arms: tuple[Arm, ...] = ()
    shadow: Arm | None = None
    warm: tuple[Arm, ...] = Field(default=(), description="Kept loaded for an instant way back; no traffic.")
    deployment_ids: tuple[str, ...] = Field(default=(), description="The rollouts that are going on.")
    key_roles: dict[str, str] = Field(default_factory=dict, description="sha256 of an API key → its role.")
    key_required: bool = False
    route: Literal["single", "shared"] = Field(default="single", description="Shared: the pool's replicas apply it.")

    @property
    def stable(self) -> Arm:
        """The version that answers unless the hash says otherwise."""
        return self.arms[0]

    def choose(self, sticky_key: str) -> Arm:
        """Choose the arm of a sticky key.

        A candidate owns spans of [0, 1) that only grow while it is one, so a key that is in at 5% is still in at 25%
        whatever becomes of the other candidates, and every replica agrees without a word.

        >>> table = RouteTable(model_key="m", epoch=1, salt="s", arms=(
        ...     Arm(version="1", manifest="sha256:a", share=0.75),
        ...     Arm(version="2", manifest="sha256:b", share=0.25, spans=((0, 0.25),))))
        >>> sum(table.choose(str(i)).version == "2" for i in range(1000))
        231
        """
        if len(self.arms) == 1:
            return self.arms[0]
        digest = hashlib.blake2b(f"{self.salt}\0{sticky_key}".encode(errors="surrogatepass"), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64
        for arm in self.arms[1:]:
            for low, high in arm.spans:
                if low <= point < high:
                    return arm
        return self.arms[0]

    @model_validator(mode="before")
    @classmethod
    def _of_one_rollout(cls, body: Any) -> Any:
        """Read a table that a replica kept on disk before there could be several rollouts."""
        if not isinstance(body, dict) or "deployment_id" not in body:
            return body
        name = body["deployment_id"]
        arms = [dict(arm) for arm in body.get("arms", ())]
        for arm in arms[1:]:
            arm |= {"deployment_id": name, "spans": [[0.0, arm["share"]]]}
        shadow = body.get("shadow") and dict(body["shadow"]) | {"deployment_id": name}
        rest = {field: value for field, value in body.items() if field != "deployment_id"}
        return rest | {"arms": arms, "shadow": shadow, "deployment_ids": [name] if name else []}


class PoolReport(Words):
    """What one replica of the pool says of one model."""

    applied: int = Field(description="Epoch of the table that it serves by; -1: none yet.")
    tried: int = Field(description="Newest epoch that it was given; the same, unless the table could not be applied.")
    drained: bool = Field(description="Nothing is in flight any more to versions that the table no longer names.")


class PoolNews(Words):
    """What a replica of the pool should do now."""

    tables: tuple[RouteTable, ...] = Field(default=(), description="Newer than those it was given.")
    gone: tuple[str, ...] = Field(default=(), description="Model keys that it should let go of.")

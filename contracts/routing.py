"""The route table: which version answers which share of the sticky keys, as one immutable value.

The deployment manager makes it, every replica of the endpoint applies it by swapping one reference, and says so.
"""

from __future__ import annotations

import hashlib

from pydantic import Field

from contracts.specs import Words


class Arm(Words):
    """One version and its share of the traffic."""

    version: str
    manifest: str = Field(description="sha256:… of the artifact's manifest.")
    share: float = Field(ge=0, le=1)
    app: str | None = Field(default=None, description="Serve application that runs it; none: in the replica itself.")


class RouteTable(Words):
    """Where the requests of one endpoint go. ``arms[0]`` is stable and lives in the replica's own process."""

    model_key: str
    epoch: int = Field(ge=0)
    salt: str
    arms: tuple[Arm, ...] = ()
    shadow: Arm | None = None
    warm: tuple[Arm, ...] = Field(default=(), description="Kept loaded for an instant way back; no traffic.")
    deployment_id: str | None = None
    key_roles: dict[str, str] = Field(default_factory=dict, description="sha256 of an API key → its role.")
    key_required: bool = False

    @property
    def stable(self) -> Arm:
        """The version that answers unless the hash says otherwise."""
        return self.arms[0]

    def choose(self, sticky_key: str) -> Arm:
        """Choose the arm of a sticky key.

        Candidates own the low end of [0, 1), so a key that is in at 5% is still in at 25%, and every replica agrees
        without a word.

        >>> table = RouteTable(model_key="m", epoch=1, salt="s", arms=(
        ...     Arm(version="1", manifest="sha256:a", share=0.75), Arm(version="2", manifest="sha256:b", share=0.25)))
        >>> sum(table.choose(str(i)).version == "2" for i in range(1000))
        231
        """
        if len(self.arms) == 1:
            return self.arms[0]
        digest = hashlib.blake2b(f"{self.salt}\0{sticky_key}".encode(errors="surrogatepass"), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64
        edge = 0.0
        for arm in self.arms[1:]:
            edge += arm.share
            if point < edge:
                return arm
        return self.arms[0]

"""Who may do what: five roles, and the acts each may carry out."""

from __future__ import annotations

from typing import Literal

from contracts.specs import Name, Words

Role = Literal["viewer", "trainer", "approver", "deployer", "admin"]
Act = Literal["read", "predict", "train", "register", "approve", "deploy", "administer"]

PERMITTED: dict[Role, frozenset[Act]] = {
    "viewer": frozenset({"read", "predict"}),
    "trainer": frozenset({"read", "predict", "train", "register"}),
    "approver": frozenset({"read", "predict", "approve"}),
    "deployer": frozenset({"read", "predict", "deploy"}),
    "admin": frozenset({"read", "predict", "train", "register", "approve", "deploy", "administer"}),
}


class Principal(Words):
    """Someone who calls: a name for the record, and a role."""

    name: Name
    role: Role

    def may(self, act: Act) -> bool:
        """Say whether the role permits the act.

        >>> Principal(name="ann", role="viewer").may("deploy")
        False
        """
        return act in PERMITTED[self.role]


LOCAL = Principal(name="local", role="admin")
"""The person at this machine, when the service listens on loopback and asks for no key."""

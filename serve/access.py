"""Who calls, and whether they may. What a role permits is in ``contracts.access``, keys in ``mldl_ray.access``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from contracts.access import LOCAL, Act, Principal
from contracts.errors import Forbidden, Unauthenticated
from contracts.specs import MODEL_KEY_PATTERN
from mldl_ray.access import ApiKeys
from mldl_ray.clock import SystemClock

_bearer = HTTPBearer(auto_error=False, description="An API key: mldl_…")


def caller_of(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    x_mldl_actor: Annotated[
        str | None, Header(pattern=MODEL_KEY_PATTERN, description="Who acts; honoured only where no key is required.")
    ] = None,
) -> Principal:
    """Give the principal of a call: the key's owner, or on this machine whoever they say they are.

    Raises:
        Unauthenticated: A key is required and absent, or nobody knows it.
    """
    if credentials is not None:
        return ApiKeys(request.app.state.actors.journal, SystemClock()).principal(credentials.credentials)
    if request.headers.get("authorization"):
        raise Unauthenticated("the Authorization header must read: Bearer <key>")
    if request.app.state.settings.keys_required:
        raise Unauthenticated("this service needs a key; send the header Authorization: Bearer <key>")
    return Principal(name=x_mldl_actor, role="admin") if x_mldl_actor else LOCAL


Caller = Annotated[Principal, Depends(caller_of)]


def needs(act: Act) -> Callable[[Principal], Principal]:
    """Make the dependency of a route that only some roles may call; it gives the principal.

    Raises:
        Forbidden: The role does not permit the act.
    """

    def check(caller: Caller) -> Principal:
        if not caller.may(act):
            raise Forbidden(
                f"{caller.name} has the role {caller.role}, which may not {act}; ask an admin for a key that may",
                {"role": caller.role, "act": act},
            )
        return caller

    return check


Reader = Annotated[Principal, Depends(needs("read"))]
Predictor = Annotated[Principal, Depends(needs("predict"))]
Trainer = Annotated[Principal, Depends(needs("train"))]
Registrar = Annotated[Principal, Depends(needs("register"))]
Approver = Annotated[Principal, Depends(needs("approve"))]
Deployer = Annotated[Principal, Depends(needs("deploy"))]
Admin = Annotated[Principal, Depends(needs("administer"))]

"""How anything finds and calls an actor. Not here: what the actors do.

An actor's class is plain; a ``Remote`` makes its methods callable as if it stood in this process, and turns Ray's
failures into our errors: the actor's own ``MldlError`` comes out as it was raised, a dead or restarting actor is
``Unavailable``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from contracts.errors import Broken, MldlError, Unavailable

NAMESPACE = "mldl"
NAMES = ("journal", "registry", "jobs", "monitor", "snapshots", "bridges", "deployments")
CALL_TIMEOUT_S = 60.0


def handle(name: str) -> Any:
    """Find an actor by its name.

    Raises:
        Unavailable: It is not running; ``mldl up`` starts it.
    """
    try:
        return ray.get_actor(f"mldl.{name}", namespace=NAMESPACE)
    except ValueError as error:
        raise Unavailable(f"the {name} actor is not running; start the system with: mldl up") from error


def unwrap(error: Exception, name: str, timeout_s: float = CALL_TIMEOUT_S) -> MldlError:
    """Turn what ``ray.get`` raised into one of our errors."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, MldlError):
            return cause
        return Broken(f"{name} failed: {type(cause).__name__}: {cause}")
    if isinstance(error, RayActorError):
        return Unavailable(f"the {name} actor is restarting; the call may or may not have run, repeat it")
    if isinstance(error, GetTimeoutError):
        return Unavailable(f"{name} did not answer within {timeout_s:g} s; the call may still run")
    return Broken(f"{name}: {type(error).__name__}: {error}")


class Remote:
    """An actor, called as a plain object. Looks the actor up again after a failure, because it may be a new one."""

    def __init__(self, name: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._name, self._timeout_s = name, timeout_s
        self._handle: Any = None

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._handle is None:
                self._handle = handle(self._name)
            try:
                return ray.get(getattr(self._handle, method).remote(*args, **kwargs), timeout=self._timeout_s)
            except (RayTaskError, RayActorError, GetTimeoutError) as error:
                if isinstance(error, RayActorError):
                    self._handle = None
                raise unwrap(error, self._name, self._timeout_s) from error

        return call

    def __reduce__(self) -> tuple[type[Remote], tuple[str, float]]:
        return Remote, (self._name, self._timeout_s)

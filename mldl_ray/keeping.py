"""The client's verbs for what is not wanted any more: versions."""

from __future__ import annotations

from contracts.http import Why
from contracts.life import Deletion
from contracts.records import TrainedBundle
from mldl_ray.wire import Caller, parsed, read, version_path


class Keeping(Caller):
    """Retire and delete versions."""

    def retire(self, model_key: str, version: str, *, reason: str) -> TrainedBundle:
        """Have a version be deployed no more.

        Raises:
            Conflict: It serves, goes through a rollout, or is retired already.
        """
        return self._post(TrainedBundle, f"{version_path(model_key, version)}/retire", read(Why, {"reason": reason}))

    def reinstate(self, model_key: str, version: str, *, reason: str) -> TrainedBundle:
        """Let a retired version be deployed again."""
        body = read(Why, {"reason": reason})
        return self._post(TrainedBundle, f"{version_path(model_key, version)}/reinstate", body)

    def delete_version(self, model_key: str, version: str, *, reason: str) -> Deletion:
        """Take a version away for good; its number is never given again.

        Raises:
            Conflict: It serves, is gone back to, has an alias, or is in a snapshot; the message says which.
        """
        path = version_path(model_key, version)
        return parsed(Deletion, self._transport.call("DELETE", path, query={"reason": reason}))

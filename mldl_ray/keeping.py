"""The client's verbs for what is not wanted any more: versions, and stored files that nothing needs."""

from __future__ import annotations

from contracts.http import Why
from contracts.life import Collected, CollectRequest, Deletion
from contracts.records import TrainedBundle
from mldl_ray.wire import Caller, parsed, read, version_path


class Keeping(Caller):
    """Retire and delete versions, free files."""

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

    def collect_garbage(self, *, dry_run: bool = True, grace_s: float = 86_400.0, reason: str = "") -> Collected:
        """Free, or unless ``dry_run`` is false only count, the stored files that nothing needs.

        Args:
            dry_run: Free nothing.
            grace_s: Files stored within so many seconds (at least 600) are spared.
            reason: Why; needed unless it is a dry run.
        """
        body = read(CollectRequest, {"dry_run": dry_run, "grace_s": grace_s, "reason": reason})
        return self._post(Collected, "/gc", body)

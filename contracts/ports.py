"""The doors between rules and the world: each fits on a screen, each has a conformance suite in ``tests/conformance``.

All of them are synchronous: a caller on an event loop wraps the call in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from contracts.events import Event, EventType, Fact
from contracts.records import TrialRecord
from contracts.replays import ReplayAnswer
from contracts.specs import Json, Words


class Clock(Protocol):
    """Time, passed in."""

    def now_s(self) -> float:
        """Give the time as Unix seconds."""
        ...


class Write(Words):
    """A new body for one document, and the version that it was decided on."""

    kind: str
    key: str
    expected_version: int = Field(ge=0, description="0: the document must not exist yet.")
    body: Json | None = Field(description="None withdraws the document; its history stays.")


class Document(Words):
    """One version of one document."""

    kind: str
    key: str
    version: int
    body: Json | None
    position: int
    at_s: float
    actor: str
    reason: str


class Once(Words):
    """A caller's promise that calls with this key are the same request; ``digest`` proves it."""

    key: str = Field(min_length=1, max_length=255)
    digest: str


class Receipt(Words):
    """What an append wrote. ``repeated``: the idempotency key was known, nothing was written now."""

    position: int
    at_s: float
    documents: tuple[Document, ...]
    events: tuple[Event, ...]
    repeated: bool = False


class Verification(Words):
    """The outcome of checking the whole chain."""

    ok: bool
    positions: int
    head: str
    problem: str | None = None


class Append(Words):
    """One append as the chain binds it: what was written, by whom, when and why, without the documents' bodies."""

    position: int
    content: str = Field(
        description="JSON: actor, at_s, documents (kind, key, version, sha256 of the body), events, once, reason."
    )
    previous_hash: str
    hash: str = Field(description="sha256 of the previous hash, a line end, and the content; hex.")


class Seal(Words):
    """What the whole journal up to a position is bound by: the chain's hash there."""

    position: int
    head: str = Field(description="sha256 of the chain, hex; it commits to everything up to the position.")
    counts: dict[str, int] = Field(default_factory=dict, description="Live documents of the kinds asked for, now.")


class Journal(Protocol):
    """The one truth: documents by kind, key and version, appended in transactions, chained by hash."""

    def append(
        self,
        writes: Sequence[Write],
        facts: Sequence[Fact] = (),
        *,
        actor: str,
        reason: str,
        once: Once | None = None,
    ) -> Receipt:
        """Write all documents, events and outbox rows together, or nothing.

        Raises:
            Conflict: A document is not at its expected version, or ``once.key`` came with another digest.
            Refused: Nothing to write, or the same document twice.
            Unavailable: The store cannot be reached or is full; nothing was written.
        """
        ...

    def read(self, kind: str, key: str, *, as_of: int | None = None) -> Document | None:
        """Give a document as it is, or as it was after position ``as_of``; None when absent or withdrawn."""
        ...

    def scan(
        self,
        kind: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        as_of: int | None = None,
        withdrawn: bool = False,
    ) -> list[Document]:
        """List documents of a kind in key order, from after the key ``after``; withdrawn ones only when asked for."""
        ...

    def changes(self, kinds: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Document]:
        """List every version of documents of some kinds that was written after a position, in order.

        About ``limit`` of them: the last append of a page is always whole. What is withdrawn has no body.
        """
        ...

    def pick(self, kind: str, keys: Sequence[str], *, as_of: int | None = None) -> list[Document]:
        """Give several documents (at most 1000) as they are, or as they were after a position, in any order.

        Absent and withdrawn ones are left out.
        """
        ...

    def history(self, kind: str, key: str) -> list[Document]:
        """List every version of a document, oldest first, withdrawals included."""
        ...

    def events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        types: Iterable[EventType] = (),
        subject: str | None = None,
        pending: bool = False,
    ) -> list[Event]:
        """List events of appends after a position, in order. ``pending``: only those not yet delivered (the outbox)."""
        ...

    def delivered(self, ids: Sequence[str]) -> None:
        """Take events out of the outbox."""
        ...

    def position(self, *, at_s: float | None = None) -> int:
        """Give the last position, or the last one at or before a moment (Unix seconds); 0 when empty."""
        ...

    def seal(self, kinds: Sequence[str] = (), *, as_of: int | None = None) -> Seal:
        """Give the chain's hash now, or at a position; now with the number of live documents of some kinds.

        Reads no document: what it costs does not grow with their size.
        """
        ...

    def appends(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        actor: str | None = None,
        kind: str | None = None,
        subject: str | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
        before: int | None = None,
    ) -> list[Append]:
        """List appends after a position, in order: by whom, of a kind of document or type of event, about what, when.

        ``subject`` is that of an event or the key of a document; both times are included.
        With ``before``, those before that position, the newest first.
        """
        ...

    def verify(self) -> Verification:
        """Recompute the hash chain and compare every row with it."""
        ...


class Published(Words):
    """How far a sink came with some events, in their order."""

    accepted: int = Field(ge=0, description="So many of them, from the first on, are safe with the receiver.")
    trouble: str | None = Field(default=None, description="Why the next one is not; none: all are.")
    refused: bool = Field(default=False, description="The receiver does not want that one: again changes little.")


class EventSink(Protocol):
    """Where the mesh hands over events: an address, a broker, memory. It never raises for a receiver that is away."""

    def publish(self, events: Sequence[Event], *, again: int = 0) -> Published:
        """Hand over events in their order, none before the one before it is safe.

        Args:
            events: In the journal's order. What was handed over before may come again, with the same id.
            again: How often a person had everything sent anew; a receiver that drops what it has seen counts it in.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Blobs(Protocol):
    """Bytes by their digest (``sha256:<hex>``). What is stored never changes."""

    def put(self, data: bytes) -> str:
        """Store bytes, once, whole or not at all; give their digest. What is there already is young again."""
        ...

    def get(self, digest: str) -> bytes:
        """Give the bytes, checked against their digest.

        Raises:
            NotFound: No such blob.
            Broken: The stored bytes no longer have that digest.
        """
        ...

    def has(self, digest: str) -> bool:
        """Say whether the blob is there (without reading it)."""
        ...

    def digests(self) -> Iterable[str]:
        """List what is stored."""
        ...

    def remove(self, digest: str) -> None:
        """Delete a blob; absent already is fine."""
        ...

    def discard(self, digest: str, *, before_s: float, dry_run: bool = False) -> int | None:
        """Delete a blob that nobody stored, or stored again, since a moment, and give its size in bytes.

        Args:
            digest: Which.
            before_s: Unix seconds by the store's clock.
            dry_run: Only give the size.

        Returns:
            None: it is younger, or absent.
        """
        ...


class SearchOutcome(Words):
    """What a search found."""

    best: TrialRecord | None
    trials: tuple[TrialRecord, ...]
    cpu_seconds: float
    gpu_seconds: float = 0.0
    budget_exhausted: bool = False
    fold_s: float = Field(default=0.0, description="Mean seconds that a fit on one fold took; 0 when none was timed.")


class Trials(Protocol):
    """Run a hyperparameter search: Ray Tune in production, one process in rule tests."""

    def search(self, problem: Any, on_trial: Callable[[TrialRecord], None]) -> SearchOutcome:
        """Try configurations of a ``mldl_ray.training.trial.Problem`` until its limits; report each as it ends."""
        ...


AppState = Literal["absent", "starting", "running", "failed", "deleting"]


class ServingBackend(Protocol):
    """The deployment manager's only way to Ray Serve. Every verb is idempotent and returns at once."""

    def ensure_endpoint(self, model_key: str, replicas: int) -> None:
        """Have the endpoint app of a model_key run with that many replicas.

        Of a running one only the number changes: replicas are added or drained, none is restarted.
        """
        ...

    def ensure_pool(self, replicas: int) -> None:
        """Have the pool, which serves every shared endpoint, run with that many replicas; as ``ensure_endpoint``."""
        ...

    def start_candidate(self, app: str, model_key: str, version: str, manifest: str) -> None:
        """Have one version run on its own under an app name that was never used before."""
        ...

    def delete(self, app: str) -> None:
        """Have the app drain and go; absent already is fine."""
        ...

    def states(self) -> dict[str, AppState]:
        """List our apps and how each is; endpoints as ``endpoint_app(model_key)``."""
        ...

    def failure(self, app: str) -> str | None:
        """Say why an app failed."""
        ...

    def replay(self, app: str, inputs: Sequence[Json]) -> Sequence[ReplayAnswer] | None:
        """Have a candidate asked these rows, once, aside from all traffic.

        None while it goes on; then the answers to the first of them, in their order: fewer where time ran out.
        """
        ...


POOL_APP = "pool"
"""The Serve app whose replicas hold the stable versions of all shared endpoints."""


def endpoint_app(model_key: str) -> str:
    """Name the Serve app of an endpoint.

    >>> endpoint_app("churn")
    'e-churn'
    """
    return f"e-{model_key}"

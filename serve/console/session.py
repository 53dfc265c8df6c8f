"""Who is signed in to the console: opaque sessions in memory. A restart of the control plane ends them all.

A session holds no right of its own: its key is looked up at every request, so a revoked key ends it at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from contracts.access import LOCAL, Principal
from contracts.errors import Forbidden, Unauthenticated
from contracts.ports import Clock, Journal
from mldl_ray.access import ApiKeys

LASTS_S = 12 * 3600.0
MOST = 10_000


@dataclass(frozen=True)
class Session:
    """One browser. ``key_id`` is None where the service asks for no key."""

    key_id: str | None
    expires_s: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def check(self, csrf: str) -> None:
        """Refuse a form that another site made.

        Raises:
            Forbidden: The token is not this session's.
        """
        if not hmac.compare_digest(csrf.encode(), self.csrf.encode()):
            raise Forbidden("this form is of another session or too old; reload the page and try again")


class Sessions:
    """All sessions, the oldest forgotten beyond ``MOST``. Tokens are kept as hashes only."""

    def __init__(self, journal: Journal, clock: Clock, *, keys_required: bool) -> None:
        self._keys, self._clock, self._required = ApiKeys(journal, clock), clock, keys_required
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def sign_in(self, secret: str) -> tuple[str, Session]:
        """Begin a session with a key; give its token for the cookie.

        Raises:
            Unauthenticated: Nobody's key, or a revoked one.
        """
        self._keys.principal(secret)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        return self._begin(next(key.key_id for key in self._keys.list() if key.sha256 == digest))

    def find(self, token: str) -> tuple[Session, Principal] | None:
        """Give the session of a token and who it is now; None when it is over, or its key was revoked."""
        with self._lock:
            session = self._known.get(_hash(token))
        if session is None or session.expires_s <= self._clock.now_s():
            return None
        if session.key_id is None:
            return None if self._required else (session, LOCAL)
        for key in self._keys.list():
            if key.key_id == session.key_id and not key.revoked:
                return session, Principal.model_validate({"name": key.name, "role": key.role})
        return None

    def local(self) -> tuple[str, Session]:
        """Begin a session where no key is needed.

        Raises:
            Unauthenticated: One is.
        """
        if self._required:
            raise Unauthenticated("sign in first")
        return self._begin(None)

    def end(self, token: str) -> None:
        """Forget a session."""
        with self._lock:
            self._known.pop(_hash(token), None)

    def _begin(self, key_id: str | None) -> tuple[str, Session]:
        token, session = secrets.token_urlsafe(32), Session(key_id, self._clock.now_s() + LASTS_S)
        with self._lock:
            self._known[_hash(token)] = session
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return token, session


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

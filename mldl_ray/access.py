"""API keys: made, revoked, recognised. Not here: which act a role permits (``contracts.access``), and HTTP headers.

Only a key's hash is kept. A secret has 256 random bits, so nobody can find it from its sha256.
"""

from __future__ import annotations

import hashlib
import secrets

from pydantic import TypeAdapter, ValidationError

from contracts.access import PERMITTED, Principal
from contracts.errors import Conflict, Incompatible, NotFound, Unauthenticated
from contracts.events import Fact
from contracts.ports import Clock, Journal, Once, Receipt
from contracts.records import ApiKey
from contracts.specs import Name
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, load, scan_all, write

KIND = "api_key"
PREFIX = "mldl_"
ATTEMPTS = 5
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_Keys = list[ApiKey]


def hash_of(secret: str) -> str:
    """Give the hash under which a secret is known.

    >>> hash_of("mldl_x")[:12]
    '51df144c85ce'
    """
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeys:
    """The keys in the journal. Holds nothing, so a revoked key is refused from the next call on."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock

    def create(self, name: str, role: str, *, by: str, once: Once | None = None) -> tuple[ApiKey, str]:
        """Make a key; give its record and its secret, which is shown here and never again.

        Args:
            name: Who will use it: the name in the record of whatever they do. Several keys may have one name.
            role: viewer, trainer, approver, deployer or admin.
            by: Who makes it.
            once: The same request again is refused, because the secret of its first answer is not kept.

        Raises:
            Incompatible: A name that is none, or an unknown role.
            Conflict: This request was made before.
        """
        _check(name, role)
        if (earlier := first_answer(self._journal, once)) is not None:
            raise _made_before(earlier)
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            key_id=new_id("key", once),
            name=name,
            role=role,
            sha256=hash_of(secret),
            created_at_s=self._clock.now_s(),
        )
        receipt = self._change(key, 0, "created", by, f"a key for {name}", once)
        if receipt.repeated:
            raise _made_before(receipt)
        return key, secret

    def revoke(self, key_id: str, *, by: str, reason: str) -> ApiKey:
        """Make a key useless from now on; one that is revoked already stays so.

        Raises:
            NotFound: No such key.
        """
        for _ in range(ATTEMPTS):
            key, version = load(self._journal, KIND, key_id, ApiKey)
            if key is None:
                raise NotFound(f"there is no key {key_id!r}; look at the list of keys", {"key_id": key_id})
            if key.revoked:
                return key
            try:
                self._change(revoked := key.model_copy(update={"revoked": True}), version, "revoked", by, reason)
            except Conflict:
                continue  # somebody changed it meanwhile, most likely by revoking it too
            return revoked
        raise Conflict(f"key {key_id} is being changed by somebody else; try again", {"key_id": key_id})

    def list(self) -> _Keys:
        """List all keys, revoked ones too, in the order of their ids."""
        return [ApiKey.model_validate(document.body) for document in scan_all(self._journal, KIND)]

    def principal(self, secret: str) -> Principal:
        """Say whose key this is.

        Raises:
            Unauthenticated: Nobody's, or it was revoked; the message never repeats it.
        """
        known = {key.sha256: key for key in self.list()}
        key = known.get(hash_of(secret))
        if key is None:
            raise Unauthenticated("this key is not known here; ask an admin for one")
        if key.revoked:
            raise Unauthenticated(f"key {key.key_id} of {key.name} was revoked; ask an admin for another")
        return Principal.model_validate({"name": key.name, "role": key.role})

    def roles(self) -> dict[str, str]:
        """Give the role of each valid key by its hash: what replicas need to authorise a prediction."""
        return {key.sha256: key.role for key in self.list() if not key.revoked}

    def _change(
        self, key: ApiKey, version: int, change: str, by: str, reason: str, once: Once | None = None
    ) -> Receipt:
        data = {"key_id": key.key_id, "name": key.name, "role": key.role, "change": change}
        fact = Fact(type="MLDL_KEY_CHANGED", subject=key.key_id, data=data)
        return self._journal.append([write(KIND, key.key_id, version, key)], [fact], actor=by, reason=reason, once=once)


def _check(name: str, role: str) -> None:
    if role not in PERMITTED:
        raise Incompatible(f"there is no role {role!r}; there are: {', '.join(PERMITTED)}", {"role": role})
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise Incompatible(
            f"{name!r} is no name for a key's owner; use 1 to 128 letters, digits, _ - and ., none of _ - . first"
        ) from error


def _made_before(receipt: Receipt) -> Conflict:
    key_id = receipt.documents[0].key
    return Conflict(
        f"this request already made key {key_id}, and its secret was shown only then; if it is lost, revoke that key "
        "and make another under a new idempotency key",
        {"key_id": key_id},
    )

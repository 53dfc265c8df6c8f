"""Keys: made once, shown once, useless when revoked."""

from __future__ import annotations

import json
import re

import pytest

from contracts.access import PERMITTED
from contracts.errors import Conflict, Incompatible, NotFound, Unauthenticated
from contracts.ports import Once
from mldl_ray.access import ApiKeys, hash_of
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SettableClock())


@pytest.fixture
def keys(journal: MemoryJournal) -> ApiKeys:
    return ApiKeys(journal, SettableClock())


@pytest.mark.parametrize("role", PERMITTED)
def test_secret_leads_to_its_owner_and_role(keys: ApiKeys, role: str) -> None:
    key, secret = keys.create("ana", role, by="local")
    principal = keys.principal(secret)
    assert (principal.name, principal.role) == ("ana", role)
    assert key.role == role


def test_secret_has_a_prefix_and_43_url_safe_characters(keys: ApiKeys) -> None:
    _, secret = keys.create("ana", "viewer", by="local")
    assert re.fullmatch(r"mldl_[A-Za-z0-9_\-]{43}", secret)


def test_secrets_are_never_alike(keys: ApiKeys) -> None:
    assert len({keys.create("ana", "viewer", by="local")[1] for _ in range(20)}) == 20


def test_secret_is_nowhere_in_the_journal(journal: MemoryJournal, keys: ApiKeys) -> None:
    key, secret = keys.create("ana", "viewer", by="local")
    written = json.dumps([d.model_dump() for d in journal.scan("api_key")]) + json.dumps(
        [event.model_dump() for event in journal.events()]
    )
    assert secret not in written
    assert key.sha256 == hash_of(secret)


@pytest.mark.parametrize("secret", ["", "mldl_", "mldl_" + "x" * 43, "Bearer x", "ключ"])
def test_unknown_secret_is_not_authenticated_and_not_repeated(keys: ApiKeys, secret: str) -> None:
    keys.create("ana", "viewer", by="local")
    with pytest.raises(Unauthenticated, match="not known") as caught:
        keys.principal(secret)
    assert len(secret) < 6 or secret not in str(caught.value)


def test_hash_of_a_key_is_no_key(keys: ApiKeys) -> None:
    key, _ = keys.create("ana", "admin", by="local")
    with pytest.raises(Unauthenticated):
        keys.principal(key.sha256)


def test_revoked_key_is_refused_and_leaves_the_roles(keys: ApiKeys) -> None:
    key, secret = keys.create("ana", "viewer", by="local")
    other, _ = keys.create("bo", "deployer", by="local")
    assert keys.roles() == {key.sha256: "viewer", other.sha256: "deployer"}
    assert keys.revoke(key.key_id, by="local", reason="ana left").revoked
    with pytest.raises(Unauthenticated, match="revoked"):
        keys.principal(secret)
    assert keys.roles() == {other.sha256: "deployer"}
    assert {k.key_id: k.revoked for k in keys.list()} == {key.key_id: True, other.key_id: False}


def test_revoking_twice_changes_nothing(journal: MemoryJournal, keys: ApiKeys) -> None:
    key, _ = keys.create("ana", "viewer", by="local")
    keys.revoke(key.key_id, by="local", reason="leaked")
    position = journal.position()
    assert keys.revoke(key.key_id, by="local", reason="leaked").revoked
    assert journal.position() == position


def test_revoking_an_unknown_key_is_not_found(keys: ApiKeys) -> None:
    with pytest.raises(NotFound, match="key-nothing"):
        keys.revoke("key-nothing", by="local", reason="leaked")


def test_every_change_of_a_key_is_an_event_without_its_hash(journal: MemoryJournal, keys: ApiKeys) -> None:
    key, _ = keys.create("ana", "viewer", by="local")
    keys.revoke(key.key_id, by="cy", reason="leaked")
    made, revoked = journal.events()
    assert (made.type, made.subject, made.actor, made.data["change"]) == (
        "MLDL_KEY_CHANGED",
        key.key_id,
        "local",
        "created",
    )
    assert (revoked.actor, revoked.reason, revoked.data["change"]) == ("cy", "leaked", "revoked")
    assert "sha256" not in made.data


def test_repeated_request_makes_no_second_key_and_says_which_one_was_made(keys: ApiKeys) -> None:
    once = Once(key="k", digest="d")
    key, _ = keys.create("ana", "viewer", by="local", once=once)
    with pytest.raises(Conflict, match=key.key_id):
        keys.create("ana", "viewer", by="local", once=once)
    assert [found.key_id for found in keys.list()] == [key.key_id]


def test_idempotency_key_of_another_request_is_a_conflict(keys: ApiKeys) -> None:
    keys.create("ana", "viewer", by="local", once=Once(key="k", digest="d"))
    with pytest.raises(Conflict, match="different request"):
        keys.create("bo", "viewer", by="local", once=Once(key="k", digest="other"))


def test_unknown_role_is_refused_and_the_known_ones_are_named(keys: ApiKeys) -> None:
    with pytest.raises(Incompatible, match=r"'root'.*viewer, trainer, approver, deployer, admin"):
        keys.create("ana", "root", by="local")


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 129, "a\n", "<b>"])
def test_name_that_is_none_is_refused(journal: MemoryJournal, keys: ApiKeys, name: str) -> None:
    with pytest.raises(Incompatible, match="no name"):
        keys.create(name, "viewer", by="local")
    assert journal.position() == 0

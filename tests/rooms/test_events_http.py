"""Events and their consumers over HTTP, in Python and as typed; on actors in this process."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from contracts.errors import Forbidden, Incompatible, NotFound
from contracts.events import Fact
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings
from serve.api import BASE
from tests.conftest import unused_port
from tests.plain import PlainSystem
from tests.receivers import Receiver

SECRET = "a shared secret"


class Scene:
    """A system, a client of it, and one webhook's other end."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.system = PlainSystem(load_settings({}, home=home, port=unused_port(), **options))
        self.system.serve()
        self.client = self.client_of(None)
        self.receiver = Receiver()

    def client_of(self, key: str | None) -> MLDLClient:
        return MLDLClient(self.system.settings.url, key=key, acting_as="ann")

    def happen(self, times: int = 1) -> None:
        for number in range(times):
            fact = Fact(
                type="MLDL_EVALUATED", subject="eval-1", data={"model_key": "income", "metrics": {"f1": number}}
            )
            self.system.journal.append([], [fact], actor="jobs", reason="it happened")

    def close(self) -> None:
        self.receiver.close()
        self.system.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_a_consumer_shows_its_offset_and_is_sent_everything_again_from_a_position(scene: Scene) -> None:
    scene.happen(2)
    name = scene.client.subscribe(scene.receiver.url, secret=SECRET).subscription_id
    scene.happen(2)
    [shown] = scene.client.consumers()
    assert (shown.consumer, shown.kind, shown.to, shown.waiting) == (name, "webhook", scene.receiver.url, 2)
    scene.system.deliver()
    [shown] = scene.client.consumers()
    assert (shown.position, shown.waiting, shown.error) == (5, 0, None)
    assert scene.client.replay_events(name, after=1, reason="it lost some").position == 1
    scene.system.deliver()
    assert [event["id"] for event in scene.receiver.taken] == ["4.0", "5.0", "2.0", "4.0", "5.0"]


def test_dead_letters_are_listed_and_redelivered(scene: Scene) -> None:
    name = scene.client.subscribe(scene.receiver.url, secret=SECRET).subscription_id
    scene.receiver.refused = {"2.0"}
    scene.happen()
    for _ in range(3):
        scene.system.deliver()
        for courier in scene.system.bridges._mesh._couriers.values():
            courier._not_before_s = 0.0  # the pause is over
    [letter] = scene.client.dead_letters(consumer=name)
    assert (letter.consumer, letter.to, letter.event["id"], letter.tries) == (name, scene.receiver.url, "2.0", 3)
    assert scene.client.redeliver(name, reason="try").error == "answered 400"
    scene.receiver.refused = set()
    found = scene.client.redeliver(name, "2.0", reason="mended")
    assert (found.delivered, found.left, found.error) == (("2.0",), 0, None)
    assert scene.client.dead_letters() == []


def test_unknown_consumers_positions_and_letters_are_refused(scene: Scene) -> None:
    with pytest.raises(NotFound, match="no subscription nobody"):
        scene.client.replay_events("nobody", after=0, reason="why")
    name = scene.client.subscribe(scene.receiver.url, secret=SECRET).subscription_id
    with pytest.raises(Incompatible, match="give 0 to 1"):
        scene.client.replay_events(name, after=7, reason="why")
    with pytest.raises(NotFound, match="no dead letter"):
        scene.client.redeliver(name, "2.0", reason="why")
    with pytest.raises(Incompatible, match="event_id"):
        scene.client.redeliver(name, "second", reason="why")


def test_only_admins_see_and_change_consumers(tmp_path: Path) -> None:
    scene = Scene(tmp_path, require_keys=True)
    from mldl_ray.access import ApiKeys
    from mldl_ray.clock import SystemClock

    keys = ApiKeys(scene.system.journal, SystemClock())
    _, admin = keys.create("ann", "admin", by="root")
    _, deployer = keys.create("bo", "deployer", by="root")
    assert scene.client_of(admin).consumers() == []
    for act in (
        lambda c: c.consumers(),
        lambda c: c.dead_letters(),
        lambda c: c.replay_events("x", after=0, reason="why"),
        lambda c: c.redeliver("x", reason="why"),
    ):
        with pytest.raises(Forbidden):
            act(scene.client_of(deployer))
    scene.close()


def test_a_broken_stream_goes_on_after_the_last_event_id(scene: Scene) -> None:
    scene.happen(3)
    headers = {"accept": "text/event-stream", "last-event-id": "1"}
    with httpx.stream("GET", f"{scene.system.settings.url}{BASE}/events", headers=headers) as answer:
        lines = answer.iter_lines()
        found = [next(line for line in lines if line.startswith("id: ")) for _ in range(2)]
    assert found == ["id: 2", "id: 3"]
    refused = httpx.get(f"{scene.system.settings.url}{BASE}/events", headers=headers | {"last-event-id": "x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "incompatible")


def test_the_commands_list_replay_and_redeliver(scene: Scene) -> None:
    name = scene.client.subscribe(scene.receiver.url, secret=SECRET).subscription_id
    scene.happen()

    def types(line: str, exit_code: int = 0) -> str:
        done = CliRunner(env={"MLDL_URL": scene.system.settings.url}).invoke(app, shlex.split(line))
        assert done.exit_code == exit_code, done.output
        return done.output

    assert "MLDL_EVALUATED" in types("events --after 1")
    assert json.loads(types("events list --json"))[0]["subject"] == "eval-1"
    assert name in types("events consumers")
    assert "after position 0 again" in types(f"events replay {name} --after 0 --reason mended")
    assert "consumer" in types("events dead-letters")
    assert f"0 delivered to {name}" in types(f"events redeliver {name} --reason mended")
    assert "no dead letter" in types(f"events redeliver {name} --event 9.0 --reason mended", exit_code=3)
    assert scene.receiver.url in types("webhooks")

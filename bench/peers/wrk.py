"""The load: ``wrk`` over kept connections, one-row requests in turn. Not here: whom it is sent to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CONNECTIONS = 16
TIMEOUT_S = 10

_SCRIPT = """
local bodies = {{
{bodies}
}}
{headers}
local requests, at = {{}}, 0

function init(args)
  for i, body in ipairs(bodies) do requests[i] = wrk.format("POST", nil, nil, body) end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, each)
  local e = summary.errors
  io.write(string.format(
    '{{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


class Target(NamedTuple):
    """A running system as the load sees it."""

    name: str
    url: str
    bodies: Sequence[str]
    headers: Mapping[str, str] = {}


class Measured(NamedTuple):
    """What came of some seconds of load; errors are answers of 400 and above, and connections that failed."""

    req_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int


def version() -> str:
    """Give the version of ``wrk``.

    Raises:
        SystemExit: It is not installed.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("this bench needs the load generator wrk, which is not on PATH; on Debian: apt install wrk")
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout  # it exits 1 after -v
    found = re.search(r"wrk (\S+)", said)
    return found[1] if found else "unknown"


def script(target: Target) -> str:
    """Write the Lua that sends a target's requests in turn."""
    headers = {"content-type": "application/json", **target.headers}
    return _SCRIPT.format(
        bodies=",\n".join(f"[===[{body}]===]" for body in target.bodies),
        headers="\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()),
    )


def load(target: Target, folder: Path, seconds: float, connections: int = CONNECTIONS) -> Measured:
    """Send as much as the target answers, over kept connections, from one thread.

    Args:
        target: Whom to ask.
        folder: For the script.
        seconds: How long, in whole seconds.
        connections: How many requests are under way at once.

    Raises:
        RuntimeError: wrk itself failed.
    """
    file = folder / f"{target.name}.lua"
    file.write_text(script(target), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", f"--timeout={TIMEOUT_S}s", f"-s{file}"]
    done = subprocess.run([*command, target.url], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"wrk failed on {target.name}: {done.stderr.strip() or done.stdout.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Measured(
        round(found["requests"] / found["seconds"], 1),
        round(found["p50_ms"], 2),
        round(found["p99_ms"], 2),
        found["requests"],
        found["errors"],
    )

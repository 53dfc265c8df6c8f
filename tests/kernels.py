"""A kernel in a second process: a real HTTP server that answers, hangs, fails or recovers as a test tells it to."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


class Kernel:
    """The process, seen from a test. What it says next is a file, and what it was asked is another."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._says, self._seen = folder / "says", folder / "seen"
        self._seen.touch()
        self._folder, self._port = folder, 0
        self.say("ok")
        self.start()

    @property
    def url(self) -> str:
        """Give its address; the same after it was started again."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, or start it again."""
        command = [sys.executable, __file__, str(self._folder), str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def say(self, mode: str, **answers: Any) -> None:
        """Tell it how to answer: ok (with the answer of each verb), hang, drip, fail (503), refuse (400), garbage."""
        aside = self._says.with_suffix(".new")
        aside.write_text(json.dumps({"mode": mode, "answers": answers}))
        aside.replace(self._says)

    def asked(self, verb: str | None = None) -> list[Any]:
        """List what it was asked so far, oldest first."""
        lines = [json.loads(line) for line in self._seen.read_text().splitlines()]
        return [line["question"] for line in lines if verb in {None, line["verb"]}]

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _serve(folder: Path, port: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        verb = request.path_params["verb"]
        with (folder / "seen").open("a") as seen:
            seen.write(json.dumps({"verb": verb, "question": json.loads(await request.body() or b"{}")}) + "\n")
        told = json.loads((folder / "says").read_text())
        if told["mode"] == "hang":
            await asyncio.sleep(3600)
        if told["mode"] == "drip":
            return StreamingResponse(_drops())
        if told["mode"] == "garbage":
            return Response(b"<html>hello</html>")
        status = {"ok": 200, "fail": 503, "refuse": 400}[told["mode"]]
        return JSONResponse(told["answers"].get(verb, {}), status_code=status)

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    app = Starlette(routes=[Route("/{verb}", answer, methods=["GET", "POST"])])
    uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off")).run(sockets=[listening])


async def _drops() -> Any:
    while True:
        yield b" "
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))

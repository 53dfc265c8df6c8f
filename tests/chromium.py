"""A real Chromium, driven by its own DevTools protocol: what a person's browser does with our pages."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

BINARY = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Tab:
    """One page that is open."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.told: list[str] = []  # violations of the content policy, errors of scripts
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=30))
            if said.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.told.append(json.dumps(said["params"]))
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]

    def js(self, expression: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def until(self, expression: str, timeout_s: float = 20.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not self.js(expression):
            assert time.monotonic() < end_s, (expression, self.js("document.body.innerText"))
            time.sleep(0.05)  # between two questions to another process

    def looks(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own; end it and nothing else."""
    assert BINARY is not None
    command = [BINARY, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_address(folder), max_size=None, open_timeout=30) as socket:
                yield Tab(socket)
        finally:
            process.terminate()


def _address(folder: Path) -> str:
    written, end_s = folder / "DevToolsActivePort", time.monotonic() + 40
    while not (written.exists() and len(written.read_text().split()) == 2):
        assert time.monotonic() < end_s, "Chromium did not start"
        time.sleep(0.05)  # until another process has written its port
    port = written.read_text().split()[0]
    pages = httpx.get(f"http://127.0.0.1:{port}/json", timeout=20).json()
    return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))

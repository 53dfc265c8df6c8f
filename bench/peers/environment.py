"""A peer's own Python environment, made once with pinned versions under ``build/peers``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.peers.processes import ROOT, clean_environment


def environment(name: str, pins: Sequence[str]) -> Path:
    """Make it, unless it is there with these pins; give its folder.

    Raises:
        RuntimeError: pip could not; the message ends with its last words.
    """
    folder = ROOT / "build" / "peers" / name
    made = folder / "pins.txt"
    if made.exists() and made.read_text(encoding="utf-8").split() == list(pins):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    checked([sys.executable, "-m", "venv", str(folder)], f"making {name}'s environment")
    python = str(folder / "bin" / "python")
    checked(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins],
        f"installing {name}",
    )
    made.write_text("\n".join(pins) + "\n", encoding="utf-8")
    return folder


def checked(command: list[str], what: str) -> str:
    """Run a command in the checkout; give what it printed.

    Raises:
        RuntimeError: It failed; the message ends with its last words.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise RuntimeError(f"{what} failed: {' | '.join(last)}")
    return done.stdout

"""What a piece of work uses, all processes that it starts included: cpu seconds, memory, files."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

EVERY_S = 0.1


class Usage:
    """Watches this process and all below it for as long as a ``with`` block lasts.

    Processes are looked at ten times a second, so of one that ends, its last tenth at most is missed.
    """

    def __init__(self, *, memory: bool = False) -> None:
        self._me, self._memory = psutil.Process(), memory
        self._before: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_private = self.peak_shared = self._shared_before = 0

    def __enter__(self) -> Self:
        self._before = dict(self._cpu())
        if self._memory:
            self._shared_before = held_bytes(self._me)[1]  # Tune keeps a search's data for as long as its driver lives
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    @property
    def cpu_s(self) -> float:
        """Give the cpu seconds of the block so far."""
        return sum(spent - self._before.get(pid, 0.0) for pid, spent in self._last.items())

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        self._last.update(self._cpu())
        if self._memory:
            private, shared = held_bytes(self._me)
            self.peak_private, self.peak_shared = (
                max(self.peak_private, private),
                max(self.peak_shared, shared - self._shared_before),
            )

    def _cpu(self) -> dict[int, float]:
        found = {}
        for process in (self._me, *self._me.children(recursive=True)):
            try:
                spent = process.cpu_times()
            except psutil.Error:
                continue  # it ended while we looked
            found[process.pid] = spent.user + spent.system
        return found


def held_bytes(root: psutil.Process) -> tuple[int, int]:
    """Give what a process and all below it hold: private memory, and shared memory, where a page counts once.

    Shared memory is where Ray's object store is; Linux tells each process its part of it.
    """
    private = shared = 0
    for process in (root, *root.children(recursive=True)):
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue  # as above
        parts = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        private, shared = private + parts["Pss_Anon"], shared + parts["Pss_Shmem"]
    return private, shared


def own_bytes() -> int:
    """Give this process's resident memory."""
    return int(psutil.Process(os.getpid()).memory_info().rss)


def files_below(folder: Path) -> int:
    """Count the files below a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))

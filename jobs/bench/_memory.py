"""Peak memory of a process and everything below it."""

from __future__ import annotations

import threading
import time

import psutil

GIB = 2**30


class PeakMemory:
    """Samples a process tree until `stop`; shared pages count once (proportional set size).

    Args:
        pid: root of the tree.
        every_s: seconds between samples.
    """

    def __init__(self, pid: int, every_s: float = 2.0) -> None:
        self._root = psutil.Process(pid)
        self._every_s = every_s
        self._over = threading.Event()
        self.gib = 0.0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The peak, GiB."""
        self._over.set()
        self._thread.join()
        return self.gib

    def _sample(self) -> None:
        while not self._over.is_set():
            self.gib = max(self.gib, self._now() / GIB)
            time.sleep(self._every_s)

    def _now(self) -> int:
        total = 0
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        for process in tree:
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return total

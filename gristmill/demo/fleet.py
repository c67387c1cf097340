"""The demonstration's processes: real ones, forked from one that has torch loaded.

Every process is a child that this module started; it ends those and no others.
"""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

STOP_S = 10
"""How long processes may take to end by themselves once they are asked to."""


def _run(target: Callable[..., int | None], log: Path, args: tuple[Any, ...]) -> None:
    """In the child: its output goes to `log`, Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    raise SystemExit(target(*args))


class Fleet:
    """Named processes."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        assert isinstance(context, ForkServerContext)
        context.set_forkserver_preload(["gristmill.demo.preload"])
        self._context = context
        self._processes: dict[str, BaseProcess] = {}

    def start(self, name: str, log: Path, target: Callable[..., int | None], *args: object) -> None:
        """Start `target(*args)` as `name`; its standard output and error are appended to `log`."""
        assert not self.alive(name), f"{name} runs already"
        process = self._context.Process(
            target=_run, args=(target, log, args), name=f"gristmill-{name}", daemon=False
        )
        process.start()
        self._processes[name] = process

    def alive(self, name: str) -> bool:
        """Whether the process runs."""
        process = self._processes.get(name)
        return process is not None and process.is_alive()

    def pid(self, name: str) -> int:
        """Process id of the newest process of that name."""
        pid = self._processes[name].pid
        assert pid is not None
        return pid

    def ended(self) -> dict[str, int]:
        """Processes that are over, with their exit codes (negative: the signal)."""
        return {
            name: process.exitcode
            for name, process in self._processes.items()
            if process.exitcode is not None
        }

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self._processes[name]
        process.kill()
        process.join()

    def stop(self, prefix: str = "") -> list[str]:
        """Ask the processes whose name starts so to end; kill those that do not.

        Returns:
            The names of those that had to be killed.
        """
        chosen = {n: p for n, p in self._processes.items() if n.startswith(prefix)}
        for process in chosen.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        killed = []
        for name, process in chosen.items():
            process.join(STOP_S)
            if process.is_alive():
                process.kill()
                process.join()
                killed.append(name)
        return killed

    def close(self) -> list[str]:
        """`stop`, then end the process that forked them too, and wait for it.

        Python ends that one only after this process, so a look at the process list would still
        find it.  It offers no public way to end it earlier.
        """
        killed = self.stop()
        multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
        multiprocessing.resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
        return killed

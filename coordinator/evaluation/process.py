"""One worker process behind a pipe: started when needed, killed when late.

Started through multiprocessing's fork server, which loads torch once for all workers.
"""

import multiprocessing
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from coordinator.evaluation.worker import MESSAGE_BYTES_MAX, serve

PRELOADED = ["coordinator.evaluation.worker"]


class WorkerProcess:
    """A worker that may or may not run.  `call` in one thread at a time; `kill` from any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # around start and kill
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.is_alive() else None

    def call(self, task: bytes, timeout_s: float) -> bytes:
        """The worker's answer.

        Raises:
            EOFError, OSError: the worker died, or was killed because `timeout_s` were over.
        """
        connection = self._started()
        # A worker that hangs may not even take the task, so the watch covers sending too.
        watch = threading.Timer(timeout_s, self.kill)
        watch.daemon = True
        watch.start()
        try:
            connection.send_bytes(task)
            return connection.recv_bytes(MESSAGE_BYTES_MAX)
        finally:
            watch.cancel()

    def kill(self) -> None:
        """End the process, whatever it does; the next call starts another."""
        with self._lock:
            process, self._process, self._connection = self._process, None, None
        if process is not None:
            process.kill()
            process.join()

    def _started(self) -> Connection:
        with self._lock:
            if self._connection is None or self._process is None:
                ours, theirs = multiprocessing.Pipe()
                _prepare_server()
                context = multiprocessing.get_context("forkserver")
                self._process = context.Process(target=serve, args=(theirs,), daemon=True)
                self._process.start()
                theirs.close()
                self._connection = ours
            return self._connection


def _prepare_server() -> None:
    """Load torch once: preload it, or use the server that forked this process.

    CPython's child inherits its server's address, and `ensure_running` says that it reuses it, but
    looks only for a server that the process itself has started, so each replica would load torch
    once more.  From 3.14 on a server asks for a key that its children do not have.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_address is None:
        forkserver.set_forkserver_preload(PRELOADED)
    elif server._forkserver_pid is None and sys.version_info < (3, 14):
        server.ensure_running = resource_tracker.ensure_running

"""What a process tells the service manager that started it: ready, alive, stopping.

systemd names a socket in NOTIFY_SOCKET and, for units with WatchdogSec=, a period in WATCHDOG_USEC;
without them nothing is said.  A manager that does not listen stops nobody.
Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping

from bft.errors import ConfigError

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
READY, ALIVE, STOPPING = b"READY=1", b"WATCHDOG=1", b"STOPPING=1"
BEATS = 2  # signs of life within a period; half of it is what sd_watchdog_enabled(3) advises

log = logging.getLogger("gristmill.service_manager")


class ServiceManager:
    """The one who started this process, or nobody."""

    def __init__(self, environ: Mapping[str, str], process: int) -> None:
        """Args:
            process: this process's id: the period may be meant for another one.

        Raises:
            ConfigError: a socket or a period that systemd would not give.
        """
        self._address = _address(environ.get(SOCKET, ""))
        meant = environ.get(WATCHDOG_PID) in (None, "", str(process))
        self.period_s = _period_s(environ.get(WATCHDOG, "")) if meant else None
        """Seconds within which a sign of life is due; None: never."""

    def tell(self, state: bytes) -> None:
        """One datagram; a manager that is not there or too busy is not waited for."""
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state, self._address)
            except OSError as error:
                log.warning("the service manager did not take %s: %s", state.decode(), error)

    async def reassure(self) -> None:
        """Signs of life for as long as the event loop turns; returns at once if none are due."""
        while self._address is not None and self.period_s is not None:
            self.tell(ALIVE)
            await asyncio.sleep(self.period_s / BEATS)


@contextlib.asynccontextmanager
async def at_work(environ: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    """Ready on entering, alive inside, stopping on leaving.  Raises ConfigError."""
    manager = ServiceManager(os.environ if environ is None else environ, os.getpid())
    manager.tell(READY)
    beating = asyncio.create_task(manager.reassure(), name="watchdog")
    try:
        yield
    finally:
        manager.tell(STOPPING)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


def _address(text: str) -> str | None:
    if not text:
        return None
    if text[0] not in "/@" or len(text) == 1:
        raise ConfigError(f"{SOCKET} is {text!r}; a path, or @ and an abstract name, expected")
    return "\0" + text[1:] if text[0] == "@" else text


def _period_s(text: str) -> float | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"{WATCHDOG} is {text!r}; microseconds above 0 expected")
    return int(text) / 1_000_000

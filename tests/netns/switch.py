"""What lies between the hosts: every pair has its delay, jitter, loss, and may be cut, either way.

    python -m tests.netns.switch HOSTS SEED

The process makes the hosts (tests/netns/namespace.py) and carries their frames.  On stdin it takes
one JSON object a line and answers each with a line; when stdin ends, because whoever started it has
ended in whatever way, it kills the processes that it was given to watch and ends too.  Chance comes
from SEED alone.
"""

import contextlib
import heapq
import json
import os
import random
import selectors
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tests.netns.namespace import Host, make_host

FRAME_BYTES_MAX = 2_048
READS_A_TURN_MAX = 32  # frames of one host before the next is looked at
WAITING_MAX = 50_000  # frames under way on all lines; more are lost, as on any line
NICENESS = -10  # its delays are to be the ones asked for, also on a busy machine


@dataclass(slots=True)
class Line:
    """One direction between two hosts."""

    delay_s: float = 0.0
    jitter_s: float = 0.0  # either way, uniform
    loss: float = 0.0  # 0 to 1
    open: bool = True
    _last_due: float = field(default=0.0)

    def due(self, now: float, chance: random.Random) -> float | None:
        """When a frame that enters now comes out; None when it is lost.

        Frames of one line never overtake each other: a path keeps their order far more often than
        it does not, and TCP would take the disorder for loss.
        """
        if not self.open or chance.random() < self.loss:
            return None
        wanted = now + self.delay_s + self.jitter_s * chance.uniform(-1.0, 1.0)
        self._last_due = max(self._last_due, wanted)
        return self._last_due


class Switch:
    """Carries frames between hosts."""

    def __init__(self, hosts: int, seed: int) -> None:
        """Raises OSError: hosts cannot be made here."""
        self.hosts: list[Host] = [make_host(host, hosts) for host in range(hosts)]
        self._lines = {
            (one, other): Line() for one in range(hosts) for other in range(hosts) if one != other
        }
        self._chance = random.Random(seed)
        self._under_way: list[tuple[float, int, int, bytes]] = []  # due, order, to, frame
        self._order = 0
        self.carried = 0
        self.lost = 0

    def set_line(self, one: int, other: int, **what: Any) -> None:
        """Change the direction `one` -> `other`; what is under way arrives as before."""
        line = self._lines[one, other]
        for name, value in what.items():
            assert name in ("delay_s", "jitter_s", "loss", "open"), name
            setattr(line, name, value)

    def take(self, host: int) -> None:
        """Read frames that `host` sends."""
        for _ in range(READS_A_TURN_MAX):
            try:
                frame = os.read(self.hosts[host].tap, FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            self._put(host, frame)

    def _put(self, host: int, frame: bytes) -> None:
        line = self._lines.get((host, frame[5] - 1)) if frame[0] == 2 else None
        if line is None:
            return  # broadcast and multicast: every host knows its peers
        due = line.due(time.monotonic(), self._chance)
        if due is None or len(self._under_way) >= WAITING_MAX:
            self.lost += 1
            return
        self._order += 1
        heapq.heappush(self._under_way, (due, self._order, frame[5] - 1, frame))

    def deliver(self) -> float | None:
        """Hand out what is due; seconds until the next frame is, or None."""
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, host, frame = heapq.heappop(self._under_way)
            with contextlib.suppress(BlockingIOError):
                os.write(self.hosts[host].tap, frame)
                self.carried += 1
        return max(0.0, self._under_way[0][0] - now) if self._under_way else None


class Desk:
    """Takes orders from stdin."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._watched: dict[int, int] = {}  # process id -> its descriptor
        self._read = b""

    def read(self) -> bool:
        """Carry out what came; False at the end."""
        data = os.read(0, 65_536)
        *lines, self._read = (self._read + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, order: dict[str, Any]) -> None:
        match order.pop("do"):
            case "line":
                self._switch.set_line(order.pop("one"), order.pop("other"), **order)
            case "watch":
                with contextlib.suppress(ProcessLookupError):
                    self._watched[order["pid"]] = os.pidfd_open(order["pid"])
            case "count":
                pass
            case unknown:
                raise ValueError(f"order {unknown!r}")
        say({"carried": self._switch.carried, "lost": self._switch.lost})

    def close(self) -> None:
        """Kill what is left of the watched processes.  A descriptor never means a later process."""
        for descriptor in self._watched.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def say(what: dict[str, Any]) -> None:
    """One line on stdout; nobody may be there to read it."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(what).encode() + b"\n")


def main(hosts: int, seed: int) -> None:
    """Until stdin ends."""
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it takes care of it
    switch = Switch(hosts, seed)
    desk = Desk(switch)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ, None)
    for number, host in enumerate(switch.hosts):
        selector.register(host.tap, selectors.EVENT_READ, number)
    say({"namespaces": [f"/proc/{os.getpid()}/fd/{host.namespace}" for host in switch.hosts]})
    try:
        while True:
            for key, _ in selector.select(switch.deliver()):
                if key.data is not None:
                    switch.take(key.data)
                elif not desk.read():
                    return
    finally:
        desk.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

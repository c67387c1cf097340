"""What lies between the hosts does what it is told, and leaves nothing behind."""

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.netns import namespace
from tests.netns.network import ROOT, Network
from tests.netns.switch import Line
from tests.patience import PATIENCE_S

PORT = 7400


def test_a_line_delays_within_its_jitter_and_keeps_the_order() -> None:
    line, chance = Line(delay_s=0.025, jitter_s=0.002), random.Random(1)
    entered = [step / 10_000 for step in range(1_000)]
    left = [line.due(now, chance) for now in entered]
    assert left == sorted(left)
    assert all(0.023 <= out - now <= 0.027 for now, out in zip(entered, left, strict=True))


def test_a_line_loses_its_share_and_one_seed_loses_the_same() -> None:
    lost = []
    for _ in range(2):
        line, chance = Line(loss=0.01), random.Random(7)
        lost.append([step for step in range(10_000) if line.due(float(step), chance) is None])
    assert lost[0] == lost[1]
    assert 50 < len(lost[0]) < 150


def test_nothing_passes_a_cut_line() -> None:
    assert Line(open=False).due(1.0, random.Random(1)) is None


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network(2)
    yield made
    made.close()


def socket_on(network: Network, host: int) -> socket.socket:
    """A UDP socket of that host, usable from here."""
    made: list[socket.socket] = []

    def make() -> None:
        namespace.enter(network.namespaces[host])
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((namespace.address(host), PORT))
        one.settimeout(PATIENCE_S)
        made.append(one)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


@pytest.mark.netns
def test_frames_come_later_by_the_delay_and_not_at_all_through_a_cut(network: Network) -> None:
    with socket_on(network, 0) as here, socket_on(network, 1) as there:
        network.spread(0.025, 0.002, 0.0)
        sent = time.monotonic()
        here.sendto(b"one", (namespace.address(1), PORT))
        assert there.recvfrom(16) == (b"one", (namespace.address(0), PORT))
        assert time.monotonic() - sent >= 0.023
        network.cut_one_way(0, 1)
        here.sendto(b"two", (namespace.address(1), PORT))
        there.sendto(b"back", (namespace.address(0), PORT))
        assert here.recv(16) == b"back"
        network.heal()
        here.sendto(b"three", (namespace.address(1), PORT))
        assert there.recv(16) == b"three"
        assert network.order("count") == {"carried": 3, "lost": 1}


@pytest.mark.netns
def test_a_host_reaches_nothing_but_its_peers(network: Network) -> None:
    with socket_on(network, 0) as here, pytest.raises(OSError, match="unreachable"):
        here.sendto(b"out", ("192.0.2.1", PORT))


FORSAKEN = """
import os, subprocess, sys, time
from tests.netns import namespace
from tests.netns.network import Network
network = Network(2)
sleeper = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL,
                           preexec_fn=lambda: namespace.enter(network.namespaces[0]))
network.order("watch", pid=sleeper.pid)
print(network.pid, sleeper.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.netns
def test_a_killed_test_leaves_neither_processes_nor_hosts() -> None:
    """kill -9 gives no chance to clean up, and none is needed."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORSAKEN], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    left = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for descriptor in left:
        ended, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        assert ended
        os.close(descriptor)

"""What can be wrong with a replica, looked at from outside: files, disk, ports, clock, peers."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bft.crypto.hashing import sha256
from bft.errors import ConfigError
from coordinator import ask
from coordinator.config import Setup, load_setup, split_address
from coordinator.guard.store import peek
from coordinator.service.app import lock_home
from coordinator.service.blobs import blob_path
from coordinator.service.journal import Journal
from coordinator.service.tls import certificate_der
from miner.training.data import load

DISK_FREE_MIN = 1024**3
SKEW_MS_MAX = 2_000


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str


def examine(home: Path) -> list[Finding]:
    """All checks, in the order in which one would repair things."""
    try:
        setup = load_setup(home)
    except ConfigError as error:
        return [Finding("files", False, str(error))]
    chain = setup.genesis.chain_id.hex()[:16]
    name = setup.member.operator.decode("utf-8", "replace")
    who = "no founder" if setup.index is None else f"replica {setup.index}"
    found = [Finding("files", True, f"{who} ({name}) of chain {chain}")]
    running = _is_running(setup)
    found.append(Finding("process", True, "running" if running else "not running"))
    checks: list[tuple[str, Callable[[], str]]] = [
        ("keys", lambda: _keys(setup)),
        ("guard", lambda: _guard(setup)),
        ("certificate", lambda: _certificate(setup)),
        ("model", lambda: _genesis_model(setup)),
        ("data set", lambda: _data_set(setup)),
        ("disk", lambda: _disk(setup)),
    ]
    if not running:
        checks += [("journal", lambda: _journal(setup)), ("ports", lambda: _ports(setup))]
    found += [_finding(name, check) for name, check in checks]
    return [*found, *_peers(setup)]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (ConfigError, OSError) as error:
        return Finding(name, False, str(error))


def _is_running(setup: Setup) -> bool:
    try:
        descriptor = lock_home(setup.home.lock)
    except ConfigError:
        return True
    os.close(descriptor)
    return False


def _keys(setup: Setup) -> str:
    return "encrypted" if setup.keystore.encrypted else "PLAIN, as somebody chose"


def _guard(setup: Setup) -> str:
    seen = peek(setup.guard, setup.identity.public_key)
    if seen.closed is not None:
        raise ConfigError(f"closed: {seen.closed}")
    if seen.refusals[0]:
        raise ConfigError(f"{seen.refusals[0]} signatures were refused; see operator guard status")
    return f"raised {seen.reservation.number} times, nothing was refused"


def _certificate(setup: Setup) -> str:
    if certificate_der(setup.home.tls_certificate) != setup.member.tls_certificate:
        raise ConfigError(f"{setup.home.tls_certificate} is not the one in the genesis record")
    return "is the one in the genesis record"


def _genesis_model(setup: Setup) -> str:
    digest = setup.genesis.job.genesis_model
    path = setup.home.blobs / blob_path(digest)
    if not path.is_file():
        return "the first model is not here; peers will be asked for it"
    if sha256(path.read_bytes()) != digest:
        raise ConfigError(f"{path} is damaged; delete it, peers have it")
    return "the first model is here"


def _data_set(setup: Setup) -> str:
    job = setup.genesis.job
    return f"{len(load(job).records)} records of {job.dataset.decode(errors='replace')} are here"


def _disk(setup: Setup) -> str:
    free = shutil.disk_usage(setup.home.path).free
    if free < DISK_FREE_MIN:
        raise ConfigError(f"{free} bytes are free; at least {DISK_FREE_MIN} should be")
    return f"{free // 1024**3} GiB are free"


def _journal(setup: Setup) -> str:
    if not setup.home.journal.exists():
        return "none yet; the first start makes it"
    journal = Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)
    try:
        recovery = journal.recover()
    finally:
        journal.close()
    return f"{recovery.log_size} log entries, {len(recovery.consensus.records)} promises, all whole"


def _ports(setup: Setup) -> str:
    listen, member = setup.config.listen, setup.member
    addresses = (listen.link or member.link.decode(), listen.api or member.api.decode())
    for address in addresses:
        host, port = split_address(address)
        with socket.create_server((host, port)):
            pass
    return f"{' and '.join(addresses)} are free"


def _peers(setup: Setup) -> Iterator[Finding]:
    """Whether the others answer, are of this chain, and have the same time."""
    for index, status in enumerate(ask.statuses(ask.urls_of(setup.genesis))):
        if index == setup.index:
            continue
        name = f"peer {index}"
        if "error" in status:
            yield Finding(name, False, str(status["error"]))
            continue
        if status.get("chain_id") != setup.genesis.chain_id.hex():
            yield Finding(name, False, f"{status['url']} is of another chain")
            continue
        skew_ms = time.time_ns() // 1_000_000 - int(status.get("wall_ms", 0))
        ok = abs(skew_ms) <= SKEW_MS_MAX
        yield Finding(name, ok, f"{status['url']} answers; its clock differs by {skew_ms} ms")
